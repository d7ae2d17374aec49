//! Of all concurrent saves of one version, exactly one succeeds; no acknowledged text is lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use rand::RngExt;
use shiori_sdk::{
    Client, ConflictPolicy, ConflictResolver as _, Date, Diary, Document, Draft, MergeBlocks,
    Outcome, Precondition, RetryPolicy, SaveId, Version, WasSent, merge::OnOverlap, resolve_with,
};

use crate::{
    fixtures::{day, draft, new_client},
    proxy::Proxy,
    test_server::TestServer,
};

/// Concurrent savers.
const SAVERS: usize = 128;

/// Rounds of concurrent saves; also the number of reads and saves of each writer in a chain.
const ROUNDS: usize = 100;

/// Concurrent saves on `SAVERS` connections: exactly one succeeds, and all others receive 409 with
/// the current diary.
async fn race(clients: &[Client], date: Date, precondition: Precondition, round: usize) -> Version {
    let tasks: Vec<_> = (0..SAVERS)
        .map(|saver| {
            let diaries = clients[saver % clients.len()].diaries();
            let text = format!("{round} 회, {saver} 번");
            let draft = Draft::new(text.as_str(), Document::from_text(&text));
            tokio::spawn(async move { diaries.save(date, draft, precondition).send().await })
        })
        .collect();
    let mut saved_version = None;
    let mut seen: Vec<Diary> = Vec::new();
    for task in tasks {
        match task.await.unwrap() {
            Ok(saved) => {
                assert!(saved_version.replace(saved.version).is_none(), "two saves succeeded");
            }
            Err(error) => {
                assert_eq!(error.status_code(), Some(409), "{error:?}");
                let conflict = error.as_conflict().expect("a conflict");
                seen.push(conflict.current.clone().expect("the current diary"));
            }
        }
    }
    let saved_version = saved_version.expect("one save succeeds");
    let current = clients[0].diaries().get(date).await.unwrap().expect("there");
    assert_eq!(current.version, saved_version);
    assert_eq!(current.content.block_texts().join("\n"), current.title);
    assert_eq!(seen.len(), SAVERS - 1);
    for diary in seen {
        assert_eq!(without_annotations(diary), without_annotations(current.clone()));
    }
    saved_version
}

/// Under load, a response may be without summary status and emotion.
fn without_annotations(diary: Diary) -> Diary {
    Diary { summary_status: None, emotion: None, etag: None, ..diary }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_128_saves_over_one_version_one_succeeds() {
    let server = TestServer::start().await;
    race_over_versions(&[server.client().await], ROUNDS).await;
    server.stop().await;
}

/// The clients belong to one user, on one server or on several.
pub async fn race_over_versions(clients: &[Client], rounds: usize) {
    let first =
        clients[0].diaries().save(day(16), draft("처음"), Precondition::IfAbsent).send().await;
    let mut version = first.unwrap().version;
    for round in 0..rounds {
        let next = race(clients, day(16), Precondition::IfVersion(version), round).await;
        assert_eq!(next, version.next());
        version = next;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_128_first_saves_one_succeeds() {
    let server = TestServer::start().await;
    race_to_be_first(&[server.client().await], ROUNDS).await;
    server.stop().await;
}

/// The clients belong to one user, on one server or on several.
pub async fn race_to_be_first(clients: &[Client], rounds: usize) {
    for round in 0..rounds {
        let date = day(1).plus_days(i64::try_from(round).unwrap()).unwrap();
        assert_eq!(race(clients, date, Precondition::IfAbsent, round).await, Version::new(1));
    }
}

/// Writers read and save at random moments. Versions have no gaps and no duplicates, and every
/// title is stored with its own content.
#[tokio::test(flavor = "multi_thread")]
async fn overlapping_reads_and_saves_lose_no_acknowledged_save() {
    let server = TestServer::start().await;
    race_in_chains(&[server.client().await], 2 * ROUNDS).await;
    server.stop().await;
}

/// The clients belong to one user, on one server or on several.
pub async fn race_in_chains(clients: &[Client], rounds: usize) {
    // Acknowledged texts by version.
    let acknowledged: Arc<Mutex<BTreeMap<u64, String>>> = Arc::default();
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let client = clients[writer % clients.len()].clone();
            let acknowledged = acknowledged.clone();
            tokio::spawn(async move {
                for round in 0..rounds {
                    let pause = rand::rng().random_range(0..=30);
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    let seen = client.diaries().get(day(16)).await.unwrap();
                    if let Some(seen) = &seen {
                        assert_eq!(
                            seen.content.block_texts().join("\n"),
                            seen.title,
                            "title and content of one save"
                        );
                    }
                    let precondition = seen.map_or(Precondition::IfAbsent, |seen| {
                        Precondition::IfVersion(seen.version)
                    });
                    let text = format!("글 {writer}-{round}");
                    let draft = Draft::new(text.as_str(), Document::from_text(&text));
                    match client.diaries().save(day(16), draft, precondition).send().await {
                        Ok(saved) => {
                            let twice =
                                acknowledged.lock().unwrap().insert(saved.version.get(), text);
                            assert_eq!(twice, None, "two texts have the same version");
                        }
                        Err(error) => {
                            assert!(error.is_conflict(), "{error:?}");
                            let conflict = error.as_conflict().unwrap();
                            let current = conflict.current.as_ref().unwrap();
                            assert_eq!(current.content.block_texts().join("\n"), current.title);
                        }
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let acknowledged = acknowledged.lock().unwrap().clone();
    let chain: Vec<u64> = acknowledged.keys().copied().collect();
    assert_eq!(chain, (1..=chain.len() as u64).collect::<Vec<_>>(), "a gap in the versions");
    let last = clients[0].diaries().get(day(16)).await.unwrap().unwrap();
    assert_eq!(last.version.get(), chain.len() as u64);
    assert_eq!(Some(&last.title), acknowledged.values().last());
}

/// 32 devices each append a line to the same day: every line is stored once.
#[tokio::test(flavor = "multi_thread")]
async fn thirty_two_devices_append_a_line_each() {
    let server = TestServer::start().await;
    let (first, email) = server.sign_up().await;
    let mut devices = vec![first];
    for _ in 1..32 {
        let device = new_client(&server.url());
        device.auth().login(&email, crate::fixtures::PASSWORD).await.unwrap();
        devices.push(device);
    }
    append_a_line_each(&devices).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_and_twenty_eight_writers_append_a_line_each() {
    let server = TestServer::start().await;
    append_a_line_each(&vec![server.client().await; SAVERS]).await;
    server.stop().await;
}

/// One response in ten is lost after its save was applied. Every line is stored once, and the
/// writers receive `Replayed`.
#[tokio::test(flavor = "multi_thread")]
async fn lost_responses_neither_lose_nor_repeat_lines() {
    let server = TestServer::start().await;
    let (_, email) = server.sign_up().await;
    let proxy = Proxy::start(&server.url()).await;
    // For one save in a thousand, three consecutive responses are lost.
    let retries = RetryPolicy::default().with_attempts(10);
    let client = Client::builder(proxy.url())
        .retry_policy(retries)
        .conflict_policy(patient())
        .build()
        .unwrap();
    client.auth().login(&email, crate::fixtures::PASSWORD).await.unwrap();
    proxy.drop_one_response_in(10, "POST /api/diary/2026");

    let writers: Vec<_> = (0..16)
        .map(|writer| {
            let diaries = client.diaries();
            tokio::spawn(async move {
                let mut replayed = 0;
                for line in 0..8 {
                    let append = move |mut draft: Draft| async move {
                        draft.content.push_paragraph(&format!("{writer} 번의 {line} 번 줄"));
                        draft
                    };
                    let saved = diaries.update(day(16), append).await.unwrap();
                    replayed += usize::from(saved.outcome == Outcome::Replayed);
                }
                replayed
            })
        })
        .collect();
    let mut replayed = 0;
    for writer in writers {
        replayed += writer.await.unwrap();
    }
    let lines = client.diaries().get(day(16)).await.unwrap().unwrap().content.block_texts();
    assert_eq!(lines.len(), 16 * 8, "{lines:?}");
    assert_eq!(lines.iter().collect::<BTreeSet<_>>().len(), 16 * 8);

    let applied: BTreeSet<String> = proxy
        .dropped()
        .iter()
        .filter(|dropped| dropped.response.starts_with("HTTP/1.1 2"))
        .map(|dropped| dropped.request.split("save_id").nth(1).unwrap()[3..39].to_owned())
        .collect();
    assert!(!applied.is_empty());
    assert_eq!(replayed, applied.len());
    server.stop().await;
}

/// Neither the time nor the number of saves that a writer needs is asserted here, because both
/// depend on how the machine schedules the writers.
fn patient() -> ConflictPolicy {
    ConflictPolicy::default().with_attempts(1000).with_deadline(Duration::from_secs(300))
}

/// The devices belong to one user.
pub async fn append_a_line_each(devices: &[Client]) {
    let (count, policy) = (devices.len(), patient());
    let appends: Vec<_> = devices
        .iter()
        .enumerate()
        .map(|(number, device)| {
            let options = device.options().clone().with_conflict_policy(policy);
            let diaries = device.with_options(options).diaries();
            tokio::spawn(async move {
                let append = move |mut draft: Draft| async move {
                    draft.content.push_paragraph(&format!("{number} 번 기기"));
                    draft
                };
                diaries.update(day(16), append).await
            })
        })
        .collect();
    for append in appends {
        let saved = append.await.unwrap().unwrap();
        assert!(saved.report.attempts >= 1);
    }
    let diary = devices[0].diaries().get(day(16)).await.unwrap().unwrap();
    let lines = diary.content.block_texts();
    let distinct: BTreeSet<_> = lines.iter().cloned().collect();
    let expected: BTreeSet<_> = (0..count).map(|number| format!("{number} 번 기기")).collect();
    assert_eq!(lines.len(), count, "{lines:?}");
    assert_eq!(distinct, expected);
    assert_eq!(diary.version, Version::new(count as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_and_archiving_require_the_current_version() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let diaries = client.diaries();
    let saved = diaries.save(day(16), draft("하나"), Precondition::IfAbsent).send().await.unwrap();
    assert_eq!(saved.outcome, Outcome::Created);
    let archived = diaries.archive(day(16), saved.version, true).await.unwrap();
    assert!(diaries.get(day(16)).await.unwrap().unwrap().is_archived);
    let error = diaries.delete(day(16), saved.version).await.unwrap_err();
    assert!(error.is_conflict(), "{error:?}");
    diaries.delete(day(16), archived).await.unwrap();
    assert_eq!(diaries.get(day(16)).await.unwrap(), None);
    let error = diaries.delete(day(16), archived).await.unwrap_err();
    assert_eq!(error.status_code(), Some(404));
    let error = diaries
        .save(day(16), draft("모르는 글 위에"), Precondition::IfVersion(saved.version))
        .send()
        .await
        .unwrap_err();
    assert!(error.as_conflict().is_some_and(|conflict| conflict.current.is_none()), "{error:?}");
    let again = diaries.save(day(16), draft("다시"), Precondition::IfAbsent).send().await.unwrap();
    assert!(again.version > archived, "two texts never have the same version");
    server.stop().await;
}

/// A merge is saved and its response is lost. After a restart, the same save is recognised by its
/// id, and its result is the stored merge.
#[tokio::test(flavor = "multi_thread")]
async fn a_merge_whose_response_was_lost_is_recognised_after_a_restart() {
    let server = TestServer::start().await;
    let (_, email) = server.sign_up().await;
    let proxy = Arc::new(Proxy::start(&server.url()).await);
    let laptop = new_client(&server.url());
    laptop.auth().login(&email, crate::fixtures::PASSWORD).await.unwrap();
    let phone = Client::builder(proxy.url()).retry_policy(RetryPolicy::never()).build().unwrap();
    phone.auth().login(&email, crate::fixtures::PASSWORD).await.unwrap();

    let write = |text: &str| Draft::new("월요일", Document::from_text(text));
    laptop.diaries().save(day(16), write("점심은 국수"), Precondition::IfAbsent).await.unwrap();
    let base = phone.diaries().get(day(16)).await.unwrap().unwrap();
    let version = Precondition::IfVersion(base.version);
    laptop.diaries().save(day(16), write("점심은 국수 그리고 커피"), version).await.unwrap();

    let merge = MergeBlocks { on_overlap: OnOverlap::KeepBoth };
    let id = SaveId::new();
    let save = |client: &Client| {
        let save = client.diaries().save(day(16), write("점심은 냉면"), version);
        save.with_base(&base).with_save_id(id)
    };
    let dropping = proxy.clone();
    let merge_and_drop = resolve_with(move |conflict| {
        dropping.drop_response_to("POST /api/diary/20260216");
        merge.resolve(conflict)
    });
    let error = save(&phone).on_conflict(merge_and_drop).await.unwrap_err();
    assert!(proxy.has_dropped());
    assert_eq!(error.was_sent(), WasSent::Maybe);

    let restarted = new_client(&server.url());
    restarted.auth().login(&email, crate::fixtures::PASSWORD).await.unwrap();
    let saved = save(&restarted).on_conflict(merge).await.unwrap();
    assert_eq!((saved.outcome, saved.report.conflicts), (Outcome::Replayed, 0));
    assert_eq!(saved.draft.content.block_texts(), ["점심은 냉면 그리고 커피"]);
    let diary = laptop.diaries().get(day(16)).await.unwrap().unwrap();
    assert_eq!((diary.version, &diary.content), (saved.version, &saved.draft.content));
    assert_eq!(diary.version.get(), 3);
    server.stop().await;
}
