//! The contract of [`AccountStore`].

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use shiori_sdk::{Email, SessionId, Timestamp, UserId};
use uuid::Uuid;

use crate::{
    auth::PasswordHash,
    store::{Account, AccountStore, AccountTask, AccountWork, CreateOutcome},
};

pub async fn an_account_is_found_by_its_email(store: Arc<dyn AccountStore>) {
    let (account, other) = (new_account(), new_account());
    assert_eq!(store.find_by_email(&account.email).await.expect("read"), None);
    for account in [&account, &other] {
        assert_eq!(store.create(account).await.expect("written"), CreateOutcome::Created);
    }
    for account in [account, other] {
        assert_eq!(store.find_by_email(&account.email).await.expect("read"), Some(account));
    }
}

pub async fn a_taken_email_stays_with_its_first_account(store: Arc<dyn AccountStore>) {
    let first = new_account();
    let second = Account { email: first.email.clone(), ..new_account() };
    assert_eq!(store.create(&first).await.expect("written"), CreateOutcome::Created);
    assert_eq!(
        store.create(&second).await.expect("the store is available"),
        CreateOutcome::EmailTaken
    );
    assert_eq!(store.find_by_email(&first.email).await.expect("read"), Some(first));
}

pub async fn of_concurrent_creates_one_succeeds(store: Arc<dyn AccountStore>) {
    let email = new_account().email;
    let rivals: Vec<_> =
        (0..32).map(|_| Account { email: email.clone(), ..new_account() }).collect();
    let tasks = rivals.iter().cloned().map(|account| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.create(&account).await.expect("a response") })
    });
    let outcomes: Vec<_> =
        join_all(tasks).await.into_iter().map(|outcome| outcome.expect("ran")).collect();
    let winners: Vec<_> = rivals
        .iter()
        .zip(&outcomes)
        .filter(|(_, outcome)| **outcome == CreateOutcome::Created)
        .map(|(account, _)| account)
        .collect();
    let [winner] = winners[..] else { panic!("{} of 32 succeeded", winners.len()) };
    assert_eq!(store.find_by_email(&email).await.expect("read").as_ref(), Some(winner));
}

pub async fn a_password_hash_is_replaced_by_compare_and_swap(store: Arc<dyn AccountStore>) {
    let (account, other) = (new_account(), new_account());
    let [first, second] = ["Zmlyc3RmaXJzdGZpcnN0Zmly", "c2Vjb25kc2Vjb25kc2Vjb25k"].map(|output| {
        let text = format!("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0${output}");
        PasswordHash::parse(text).expect("a hash")
    });
    for account in [&account, &other] {
        assert_eq!(store.create(account).await.expect("written"), CreateOutcome::Created);
    }
    let replace = |expected, new| store.replace_password_hash(account.id, expected, new);
    assert!(replace(&account.password_hash, &first).await.expect("written"));
    assert!(
        !replace(&account.password_hash, &second).await.expect("the store is available"),
        "it has changed"
    );
    assert!(replace(&first, &second).await.expect("written"));
    let changed = Account { password_hash: second.clone(), ..account.clone() };
    for account in [&changed, &other] {
        let found = store.find_by_email(&account.email).await.expect("read");
        assert_eq!(found.as_ref(), Some(account));
    }
    let unknown_user = store.replace_password_hash(UserId::new(), &second, &first).await;
    assert!(!unknown_user.expect("the store is available"));
}

pub async fn an_account_is_found_by_its_user_and_renamed(store: Arc<dyn AccountStore>) {
    let account = created(&*store).await;
    assert_eq!(store.find(account.id).await.expect("read"), Some(account.clone()));
    // The same name is not a missing account.
    for nickname in [&account.nickname, "하루"] {
        assert!(store.rename(account.id, nickname).await.expect("written"));
    }
    let renamed = Account { nickname: "하루".to_owned(), ..account };
    assert_eq!(store.find(renamed.id).await.expect("read"), Some(renamed));
    assert_eq!(store.find(UserId::new()).await.expect("read"), None);
    assert!(!store.rename(UserId::new(), "아무도").await.expect("the store is available"));
}

/// Other tests may create accounts meanwhile.
pub async fn a_walk_over_the_accounts_finds_each_once(store: Arc<dyn AccountStore>) {
    let mut expected = Vec::new();
    for _ in 0..5 {
        expected.push(created(&*store).await.id);
    }
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(after, 2).await.expect("read");
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        found.extend(page.iter().map(|account| account.id));
    }
    assert!(found.is_sorted_by(|a, b| a < b));
    assert!(expected.iter().all(|user| found.contains(user)));
}

pub async fn a_new_password_and_its_task_are_stored_together(store: Arc<dyn AccountStore>) {
    let account = created(&*store).await;
    let work = AccountWork::EndSessions { except: Some(SessionId::new()) };
    let first = task(account.id, work, 1);
    let new = other_hash();
    let stale = store.change_password(&new, &new, &first).await;
    assert!(!stale.expect("the store is available"), "the hash is another one");
    assert_eq!(due(&*store, account.id, Timestamp::now()).await, []);
    assert!(store.change_password(&account.password_hash, &new, &first).await.expect("written"));
    let changed = Account { password_hash: new.clone(), ..account.clone() };
    assert_eq!(store.find(account.id).await.expect("read"), Some(changed));
    assert_eq!(due(&*store, account.id, first.due_at).await, std::slice::from_ref(&first));
    // A newer task replaces it.
    let second = task(account.id, AccountWork::EndSessions { except: None }, 2);
    assert!(store.change_password(&new, &account.password_hash, &second).await.expect("written"));
    assert_eq!(due(&*store, account.id, second.due_at).await, std::slice::from_ref(&second));
    store.finish_task(&first).await.expect("the store is available");
    assert_eq!(
        due(&*store, account.id, second.due_at).await,
        std::slice::from_ref(&second),
        "it was replaced"
    );
    store.finish_task(&second).await.expect("written");
    assert_eq!(due(&*store, account.id, second.due_at).await, []);
}

pub async fn a_deletion_and_its_task_are_stored_together(store: Arc<dyn AccountStore>) {
    let (account, other) = (created(&*store).await, created(&*store).await);
    let erase = task(account.id, AccountWork::Erase { attempts_key: [7; 32] }, 1);
    let stale = store.delete(&other_hash(), &erase).await;
    assert!(!stale.expect("the store is available"), "the hash is another one");
    assert_eq!(store.find(account.id).await.expect("read"), Some(account.clone()));
    assert!(store.delete(&account.password_hash, &erase).await.expect("written"));
    let again = store.delete(&account.password_hash, &erase).await;
    assert!(!again.expect("the store is available"));
    assert_eq!(store.find(account.id).await.expect("read"), None);
    assert_eq!(store.find_by_email(&account.email).await.expect("read"), None);
    assert_eq!(due(&*store, account.id, erase.due_at).await, [erase]);
    assert_eq!(store.find(other.id).await.expect("read"), Some(other));
    let same_address = Account { id: UserId::new(), ..account };
    let outcome = store.create(&same_address).await.expect("written");
    assert_eq!(outcome, CreateOutcome::Created, "the address is free");
}

pub async fn a_task_is_due_at_its_time_and_postponed_once(store: Arc<dyn AccountStore>) {
    let account = created(&*store).await;
    let user = account.id;
    let first = task(user, AccountWork::Erase { attempts_key: [7; 32] }, 5);
    assert!(store.delete(&account.password_hash, &first).await.expect("written"));
    let before = Timestamp::from_millis(first.due_at.as_millis() - 1);
    assert_eq!(due(&*store, user, before).await, []);
    let later = first.due_at + Duration::from_secs(60);
    // Of servers that have read the same task, one postpones it.
    assert!(store.postpone_task(&first, later).await.expect("written"));
    assert!(!store.postpone_task(&first, later).await.expect("the store is available"));
    assert_eq!(due(&*store, user, first.due_at).await, []);
    let postponed = AccountTask { due_at: later, ..first.clone() };
    assert_eq!(due(&*store, user, later).await, [postponed]);
    store.finish_task(&first).await.expect("written");
    assert_eq!(due(&*store, user, later).await, []);
}

pub async fn the_store_answers(store: Arc<dyn AccountStore>) {
    store.ping().await.expect("a response");
}

async fn created(store: &dyn AccountStore) -> Account {
    let account = new_account();
    assert_eq!(store.create(&account).await.expect("written"), CreateOutcome::Created);
    account
}

/// A task at this millisecond of the epoch.
fn task(user: UserId, work: AccountWork, millis: i64) -> AccountTask {
    let at = Timestamp::from_millis(millis);
    AccountTask { user, work, created_at: at, due_at: at }
}

/// The user's tasks that are due. Other tests add tasks, too.
async fn due(store: &dyn AccountStore, user: UserId, now: Timestamp) -> Vec<AccountTask> {
    let due = store.due_tasks(now, 10_000).await.expect("read");
    due.into_iter().filter(|task| task.user == user).collect()
}

fn other_hash() -> PasswordHash {
    let text = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0$Zmlyc3RmaXJzdGZpcnN0Zmly";
    PasswordHash::parse(text.to_owned()).expect("a hash")
}

fn new_account() -> Account {
    Account {
        id: UserId::new(),
        email: random_email(),
        nickname: "미나 🌙".to_owned(),
        password_hash: PasswordHash::parse(
            // A hash that matches no password.
            "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0$bWFkZXVwbWFkZXVwbWFkZXVw".to_owned(),
        )
        .expect("a hash"),
        created_at: Timestamp::now(),
    }
}

fn random_email() -> Email {
    format!("{}@example.com", Uuid::new_v4().simple()).parse().expect("an address")
}
