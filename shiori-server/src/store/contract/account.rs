//! The contract of [`AccountStore`].

use std::sync::Arc;

use futures_util::future::join_all;
use shiori_sdk::{Email, Timestamp, UserId};
use uuid::Uuid;

use crate::{
    auth::PasswordHash,
    store::{Account, AccountStore, CreateOutcome},
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

pub async fn the_store_answers(store: Arc<dyn AccountStore>) {
    store.ping().await.expect("a response");
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
