//! Accepted summaries are completed even if the server is killed. Uses the real binary and real
//! signals.

use std::{path::Path, time::Duration};

use rand::RngExt;
use serde_json::json;
use shiori_sdk::{Client, Document, Draft, Precondition, SummaryStatus, Week};

use crate::{
    fixtures::{PASSWORD, day, fresh_email, new_client, wait_until},
    process::Process,
    raw_client::RawClient,
};

async fn start_server(dir: &Path, worker: &str) -> Process {
    let dir = dir.to_str().unwrap();
    Process::server(&[
        ("SHIORI_DATA_DIR", dir),
        ("SHIORI_WORKER", worker),
        ("SHIORI_LEASE_SECONDS", "1"),
        ("SHIORI_MAX_ATTEMPTS", "50"),
    ])
    .await
}

async fn sign_in(url: &str, email: &str, new: bool) -> Client {
    let client = new_client(url);
    if new {
        client.auth().signup(email, PASSWORD, "시오리").await.unwrap();
    }
    client.auth().login(email, PASSWORD).await.unwrap();
    client
}

fn weeks(count: u8) -> Vec<Week> {
    (0..count).map(|n| Week::starting(day(1).plus_days(n.into()).unwrap()).unwrap()).collect()
}

async fn write_days(client: &Client, days: i64) {
    for n in 0..days {
        let date = day(1).plus_days(n).unwrap();
        let draft =
            Draft::new("하루", Document::from_text(&format!("{date}에는 산책을 했다. 즐거웠다.")));
        client.diaries().save(date, draft, Precondition::IfAbsent).send().await.unwrap();
    }
}

/// The server is killed with twenty unfinished summaries; eight of them have the lease of a worker
/// that no longer exists. The next server completes all of them.
#[tokio::test(flavor = "multi_thread")]
async fn queued_and_running_summaries_are_completed_after_the_server_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let email = fresh_email();
    let server = start_server(dir.path(), "none").await;
    let client = sign_in(server.url(), &email, true).await;
    write_days(&client, 26).await;
    let mut ids = Vec::new();
    for week in weeks(20) {
        ids.push(client.summaries().request(week).await.unwrap().into_handle().unwrap().id());
    }
    let token = std::fs::read_to_string(dir.path().join("internal.secret")).unwrap();
    let worker = RawClient::with_token(server.url(), &token);
    for id in &ids[..8] {
        let path = format!("/api/internal/summaries/{id}/claim");
        assert_eq!(worker.post(&path, &json!({"worker_id": "사라질 사람"})).await.status, 200);
    }
    server.kill().await;

    let server = start_server(dir.path(), "in-process").await;
    let client = sign_in(server.url(), &email, false).await;
    for (index, id) in ids.iter().enumerate() {
        let summary = client.summaries().handle(*id).wait().await.unwrap();
        assert_eq!(summary.status, SummaryStatus::Completed, "{summary:?}");
        // A lease of 1 s may expire once more on a busy machine.
        assert!(summary.attempts >= if index < 8 { 2 } else { 1 }, "{summary:?}");
    }
    server.terminate().await;
}

/// The server is killed repeatedly at random moments while its worker runs. Every accepted request
/// is completed, and every acknowledged save is kept.
#[tokio::test(flavor = "multi_thread")]
async fn accepted_requests_and_saves_survive_random_kills() {
    let dir = tempfile::tempdir().unwrap();
    let email = fresh_email();
    let server = start_server(dir.path(), "in-process").await;
    let client = sign_in(server.url(), &email, true).await;
    write_days(&client, 30).await;
    let mut server = Some(server);
    let mut accepted = Vec::new();
    let mut acknowledged = 0;
    for round in 0..6 {
        let running = match server.take() {
            Some(running) => running,
            None => start_server(dir.path(), "in-process").await,
        };
        let client = sign_in(running.url(), &email, false).await;
        let busy = {
            let client = client.clone();
            tokio::spawn(async move {
                let (mut ids, mut saved) = (Vec::new(), 0_u64);
                // Until the server is killed.
                for week in weeks(24).into_iter().cycle() {
                    let diaries = client.diaries();
                    match client.summaries().request_with(week, true).await {
                        Ok(requested) => ids.push(requested.into_handle().unwrap().id()),
                        Err(error) if error.status_code() == Some(429) => {}
                        Err(_) => break,
                    }
                    let Ok(Some(diary)) = diaries.get(day(28)).await else { break };
                    let mut draft = diary.to_draft();
                    draft.content.push_paragraph(&format!("{round} 회의 줄"));
                    let over = Precondition::IfVersion(diary.version);
                    let Ok(done) = diaries.save(day(28), draft, over).send().await else { break };
                    saved = done.version.get();
                }
                (ids, saved)
            })
        };
        let moment = rand::rng().random_range(50..400);
        tokio::time::sleep(Duration::from_millis(moment)).await;
        running.kill().await;
        let (ids, saved) = busy.await.unwrap();
        accepted.extend(ids);
        acknowledged = acknowledged.max(saved);
    }
    assert!(!accepted.is_empty());
    accepted.sort();
    accepted.dedup();

    let server = start_server(dir.path(), "in-process").await;
    let client = sign_in(server.url(), &email, false).await;
    for id in &accepted {
        match client.summaries().handle(*id).wait().await {
            Ok(summary) => {
                assert_eq!(summary.status, SummaryStatus::Completed, "{summary:?}");
                assert!(summary.reflection.is_some());
            }
            // It was finished, and deleted when newer ones of its week were.
            Err(error) => assert_eq!(error.status_code(), Some(404), "{error:?}"),
        }
    }
    let last = client.diaries().get(day(28)).await.unwrap().unwrap();
    assert!(last.version.get() >= acknowledged, "an acknowledged save was lost");
    let file = rusqlite::Connection::open(dir.path().join("shiori.db")).unwrap();
    let is_any = |rows: &str| -> bool {
        let statement = format!("SELECT EXISTS (SELECT * FROM summary WHERE {rows})");
        file.query_row(&statement, [], |row| row.get(0)).unwrap()
    };
    // Also those whose responses were lost.
    wait_until("all are completed", async || !is_any("status <> 'completed'")).await;
    assert!(is_any("status = 'completed'"));
    server.terminate().await;
}

/// SIGTERM during a long-poll: the poll returns, and the process exits with success.
#[tokio::test(flavor = "multi_thread")]
async fn long_polls_return_when_the_server_is_terminated() {
    let dir = tempfile::tempdir().unwrap();
    let email = fresh_email();
    let server = start_server(dir.path(), "none").await;
    let client = sign_in(server.url(), &email, true).await;
    write_days(&client, 7).await;
    let handle = client.summaries().request(weeks(1)[0]).await.unwrap().into_handle().unwrap();
    let raw = RawClient::anonymous(server.url());
    let login = raw.post("/api/user/login", &json!({"email": email, "password": PASSWORD})).await;
    let token = login.json()["data"]["token"].as_str().unwrap().to_owned();
    let waiting = RawClient::with_token(server.url(), &token);
    let path = format!("/api/diary/summary/{}?wait=30&after=1", handle.id());
    let poll = tokio::spawn(async move { waiting.get(&path).await });
    let metrics = RawClient::anonymous(server.url());
    wait_until("the server is up and the poll has been sent", async || {
        metrics.get("/healthz").await.status == 200
    })
    .await;
    server.terminate().await;
    // The poll may arrive after the signal. It must not hang.
    match poll.await {
        Ok(response) => assert_eq!(response.status, 200),
        Err(error) => assert!(error.is_panic(), "the connection was refused"),
    }
}
