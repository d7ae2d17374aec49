//! The text of a running summary: it arrives while the model writes, contains nothing that the model
//! thinks aloud, and is in no store after its run.

use std::{path::Path, sync::Arc, time::Duration};

use futures_util::StreamExt;
use serde_json::{Value, json};
use shiori_sdk::{
    Client, PartialText, Summary, SummaryHandle, SummaryId, SummaryStatus, SummaryStep,
    SummaryWatch,
};
use shiori_server::WorkerMode;
use shiori_worker::{
    ManualClock, Pipeline,
    summarize::{OpenAiConfig, OpenAiSummarizer},
};
use tokio::time::timeout;

use crate::{
    cluster_dump,
    fake_llm::{Behavior, FakeLlm},
    fixtures::{PASSWORD, fresh_email, new_client, wait_until, week, write_week},
    process::Process,
    raw_client::RawClient,
    test_cluster::{TestCluster, sign_up_on},
    test_server::TestServer,
};

/// What the model writes.
const RESPONSE: &str =
    "<think>속생각을 길게 한다. </think>조용해서 좋은 한 주였어요. 많이 걸었네요.";
const REFLECTION: &str = "조용해서 좋은 한 주였어요. 많이 걸었네요.";

/// Its thinking, and a word of its text that is nowhere else.
const THINKING: &str = "속생각";
const WORD: &str = "조용해서";

const LONG: Duration = Duration::from_secs(60);

async fn requested(client: &Client) -> SummaryHandle {
    write_week(client, "강가를 걸었다").await;
    client.summaries().request(week()).await.unwrap().into_handle().unwrap()
}

async fn next(watch: &mut SummaryWatch) -> Option<SummaryStep> {
    timeout(LONG, watch.next()).await.expect("a step").map(|step| step.unwrap())
}

/// The next text; other steps are skipped.
async fn next_text(watch: &mut SummaryWatch) -> PartialText {
    loop {
        if let SummaryStep::Text(text) = next(watch).await.expect("a text") {
            return text;
        }
    }
}

/// The next summary with another revision.
async fn next_revision(watch: &mut SummaryWatch, known: u64) -> Summary {
    loop {
        let step = next(watch).await.expect("a summary");
        if let Some(summary) = step.into_summary().filter(|one| one.revision.get() > known) {
            return summary;
        }
    }
}

/// The texts until the end, and the last summary.
async fn texts_until_the_end(watch: &mut SummaryWatch) -> (Vec<String>, Summary) {
    let (mut texts, mut last) = (Vec::new(), None);
    while let Some(step) = next(watch).await {
        match step {
            SummaryStep::Summary(summary) => last = Some(summary),
            SummaryStep::Text(text) => texts.push(text.text),
            other => panic!("{other:?}"),
        }
    }
    (texts, last.expect("a summary"))
}

/// Whether a file below the directory contains the text.
fn is_in_a_file(dir: &Path, text: &str) -> bool {
    let contains = |bytes: &[u8]| bytes.windows(text.len()).any(|at| at == text.as_bytes());
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            is_in_a_file(&path, text)
        } else {
            contains(&std::fs::read(path).unwrap())
        }
    })
}

fn summarizer(llm: &FakeLlm) -> Arc<OpenAiSummarizer> {
    let config = OpenAiConfig { base_url: llm.url().to_owned(), ..OpenAiConfig::default() };
    Arc::new(OpenAiSummarizer::new(config).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_words_arrive_while_the_model_writes() {
    let llm = FakeLlm::start(Behavior::StreamsGated(RESPONSE)).await;
    let summarizer = summarizer(&llm);
    let server = TestServer::with_config(|config| {
        config.pipeline = Pipeline { summarizer, ..Pipeline::builtin() };
    })
    .await;
    let email = fresh_email();
    let raw = RawClient::anonymous(&server.url());
    let account = json!({"email": email, "password": PASSWORD, "nickname": "손"});
    assert_eq!(raw.post("/api/user/signup", &account).await.status, 201);
    let client = new_client(&server.url());
    client.auth().login(&email, PASSWORD).await.unwrap();
    let handle = requested(&client).await;
    let mut watch = handle.watch();
    let text = next_text(&mut watch).await;
    assert_eq!(text.text, "조용해서 좋은 한 주였어요. 많이", "all complete words");
    assert_eq!(llm.open(), 1, "the model still writes");

    // A long-poll returns it only on request, and only to its user.
    let mine = RawClient::log_in(&server.url(), &email).await;
    let path = format!("/api/diary/summary/{}", handle.id());
    let revision = text.revision;
    let asked = format!("{path}?wait=30&after={revision}&text_after=");
    let polled = mine.get(&format!("{asked}0")).await.json()["data"].clone();
    assert_eq!(polled["partial_text"], json!(text));
    assert_eq!((&polled["status"], &polled["reflection"]), (&json!("running"), &Value::Null));
    for query in ["", "?wait=0.1&after=9"] {
        let polled = mine.get(&format!("{path}{query}")).await.json()["data"].clone();
        assert_eq!(polled.get("partial_text"), None, "{query}");
    }
    let theirs = RawClient::sign_up(&server.url()).await;
    assert_eq!(theirs.get(&format!("{asked}0")).await.status, 404);
    assert_eq!(theirs.get(&format!("{path}/events")).await.status, 404);

    let known = format!("{asked}{}", text.number);
    let (polled, ()) = tokio::join!(mine.get(&known), async { llm.release(1) });
    let polled = polled.json()["data"].clone();
    assert_eq!((&polled["status"], polled.get("partial_text")), (&json!("completed"), None));
    let (texts, summary) = texts_until_the_end(&mut watch).await;
    assert!(texts.is_empty(), "{texts:?}");
    assert_eq!(summary.reflection.as_deref(), Some(REFLECTION));
    let dir = server.stop_and_keep().await;
    assert!(!is_in_a_file(dir.path(), THINKING));
}

/// Each text that arrives while the model writes is a beginning of the reflection.
#[tokio::test(flavor = "multi_thread")]
async fn each_text_is_a_beginning_of_the_reflection() {
    let pause = Duration::from_millis(250);
    let llm = FakeLlm::start(Behavior::Streams(RESPONSE, pause)).await;
    let summarizer = summarizer(&llm);
    let server = TestServer::with_config(|config| {
        config.pipeline = Pipeline { summarizer, ..Pipeline::builtin() };
    })
    .await;
    let client = server.client().await;
    let handle = requested(&client).await;
    let (texts, summary) = texts_until_the_end(&mut handle.watch()).await;
    assert_eq!(summary.reflection.as_deref(), Some(REFLECTION));
    assert!(!texts.is_empty());
    assert!(texts.iter().all(|text| REFLECTION.starts_with(text.as_str())), "{texts:?}");
    server.stop().await;
}

/// A worker that uses the internal API directly.
struct Worker {
    raw: RawClient,
    id: SummaryId,
}

impl Worker {
    async fn post(&self, step: &str, body: Value) -> u16 {
        let path = format!("/api/internal/summaries/{}/{step}", self.id);
        self.raw.post(&path, &body).await.status
    }

    /// Claims the summary. Returns the lease token.
    async fn claim(&self) -> Value {
        let path = format!("/api/internal/summaries/{}/claim", self.id);
        let claim = self.raw.post(&path, &json!({"worker_id": "시험"})).await;
        assert_eq!(claim.status, 200, "{}", claim.text);
        claim.json()["data"]["lease_token"].clone()
    }

    async fn write(&self, token: &Value, number: u32, text: &str) -> u16 {
        let text = json!({"number": number, "text": text});
        self.post("heartbeat", json!({"lease_token": token, "text": text})).await
    }

    async fn fail(&self, token: &Value, retryable: bool) -> u16 {
        let failure = json!({"lease_token": token, "kind": "model_unavailable", "message": "",
            "retryable": retryable});
        self.post("failure", failure).await
    }
}

/// A cancelled, failed, requeued or abandoned run leaves nothing in the files, and watchers see that
/// its text is replaced. A stale worker cannot write.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ends_early_leaves_no_text() {
    let clock = ManualClock::at(shiori_sdk::Timestamp::now());
    let injected = Arc::new(clock.clone());
    let server = TestServer::with_config(|config| {
        config.worker = WorkerMode::None;
        config.clock = injected;
        config.sessions.access_ttl = Duration::from_secs(1_000_000);
    })
    .await;
    for (ending, status) in [
        ("cancelled", SummaryStatus::Cancelled),
        ("failed", SummaryStatus::Failed),
        ("requeued", SummaryStatus::Queued),
        ("abandoned", SummaryStatus::Queued),
        ("taken over", SummaryStatus::Running),
    ] {
        let client = server.client().await;
        let handle = requested(&client).await;
        let raw = RawClient::with_token(&server.url(), &server.internal_token());
        let worker = Worker { raw, id: handle.id() };
        let token = worker.claim().await;
        let mut watch = handle.watch();
        assert_eq!(worker.write(&token, 1, WORD).await, 200);
        let text = next_text(&mut watch).await;
        assert_eq!((text.number, text.text.as_str()), (1, WORD), "{ending}");
        match ending {
            "cancelled" => handle.cancel().await.unwrap(),
            "failed" => assert_eq!(worker.fail(&token, false).await, 200),
            "requeued" => assert_eq!(worker.fail(&token, true).await, 200),
            "abandoned" => clock.advance(Duration::from_secs(31)),
            _ => {
                clock.advance(Duration::from_secs(31));
                // The dispatcher may be faster.
                wait_until("it is claimed again", async || {
                    worker.post("claim", json!({"worker_id": "다른 시험"})).await == 200
                })
                .await;
            }
        }
        let mut known = text.revision.get();
        loop {
            let summary = next_revision(&mut watch, known).await;
            if summary.status == status {
                break;
            }
            known = summary.revision.get();
        }
        assert_eq!(worker.write(&token, 2, "조용해서 좋은").await, 409, "{ending}");
        if status.is_final() {
            assert!(next(&mut watch).await.is_none(), "{ending}");
        } else {
            handle.cancel().await.unwrap();
            let (texts, _) = texts_until_the_end(&mut watch).await;
            assert!(texts.is_empty(), "{ending}: {texts:?}");
        }
    }
    let dir = server.stop_and_keep().await;
    assert!(!is_in_a_file(dir.path(), WORD));
    assert!(is_in_a_file(dir.path(), "강가를"), "the search finds diaries");
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_bounded_and_delayed_ones_are_ignored() {
    let server = TestServer::without_worker().await;
    let client = server.client().await;
    let handle = requested(&client).await;
    let raw = RawClient::with_token(&server.url(), &server.internal_token());
    let worker = Worker { raw, id: handle.id() };
    let token = worker.claim().await;
    assert_eq!(worker.write(&token, 1, &"글".repeat(4001)).await, 422);
    assert_eq!(worker.write(&token, 2, &"글".repeat(4000)).await, 200);
    assert_eq!(worker.write(&token, 1, "늦은 글").await, 200, "the lease is extended");
    let mut watch = handle.watch();
    assert_eq!(next_text(&mut watch).await.number, 2);
    assert_eq!(worker.write(&token, 3, "").await, 200);
    let withdrawn = next_text(&mut watch).await;
    assert_eq!((withdrawn.number, withdrawn.text.as_str()), (3, ""));
    // A deleted account leaves no text either.
    assert_eq!(worker.write(&token, 4, WORD).await, 200);
    assert_eq!(next_text(&mut watch).await.text, WORD);
    client.account().delete(PASSWORD).await.unwrap();
    wait_until("the summary is erased", async || worker.write(&token, 5, WORD).await == 409).await;
    let dir = server.stop_and_keep().await;
    assert!(!is_in_a_file(dir.path(), WORD));
}

/// The server is killed while a text is stored. The next one requeues the summary, and deletes the
/// text with that.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_leaves_no_text() {
    let dir = tempfile::tempdir().unwrap();
    let start = async || {
        let settings = [
            ("SHIORI_DATA_DIR", dir.path().to_str().unwrap()),
            ("SHIORI_WORKER", "none"),
            ("SHIORI_LEASE_SECONDS", "2"),
        ];
        Process::server(&settings).await
    };
    let email = fresh_email();
    let first = start().await;
    let client = new_client(first.url());
    client.auth().signup(&email, PASSWORD, "손").await.unwrap();
    client.auth().login(&email, PASSWORD).await.unwrap();
    let handle = requested(&client).await;
    let token = std::fs::read_to_string(dir.path().join("internal.secret")).unwrap();
    let worker = Worker { raw: RawClient::with_token(first.url(), &token), id: handle.id() };
    let lease = worker.claim().await;
    assert_eq!(worker.write(&lease, 1, WORD).await, 200);
    assert_eq!(next_text(&mut handle.watch()).await.text, WORD);
    first.kill().await;
    assert!(is_in_a_file(dir.path(), WORD), "it was stored");

    let second = start().await;
    let client = new_client(second.url());
    client.auth().login(&email, PASSWORD).await.unwrap();
    let handle = client.summaries().handle(handle.id());
    wait_until("the run is abandoned", async || {
        handle.poll().await.unwrap().status == SummaryStatus::Queued
    })
    .await;
    let worker = Worker { raw: RawClient::with_token(second.url(), &token), id: handle.id() };
    assert_eq!(worker.write(&lease, 2, WORD).await, 409);
    second.terminate().await;
    assert!(!is_in_a_file(dir.path(), WORD));
}

/// The text reaches a watcher on another server. Redis contains and relays none of it. The worker is
/// killed, and another one takes over.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn a_text_is_watched_on_another_server_and_replaced_after_a_kill() {
    let cluster = TestCluster::create().await;
    let llm = FakeLlm::start(Behavior::StreamsGated(RESPONSE)).await;
    let (one, two) = (cluster.server_process(2).await, cluster.server_process(2).await);
    let redis = redis::Client::open(cluster.redis.as_str()).unwrap();
    let mut relayed = redis.get_async_pubsub().await.unwrap();
    relayed.psubscribe(format!("{}:*", cluster.prefix())).await.unwrap();
    let worker = cluster.worker(one.url(), &llm).await;
    let devices = sign_up_on(&[one.url(), two.url()]).await;
    let handle = requested(&devices[0]).await;
    let mut watch = devices[1].summaries().handle(handle.id()).watch();
    let text = next_text(&mut watch).await;
    assert_eq!(text.text, "조용해서 좋은 한 주였어요. 많이");
    assert_eq!(cluster.count("SELECT COUNT(*) FROM partial_text").await, 1);
    let mut messages = relayed.on_message();
    // The text was relayed before this message, because Redis keeps the order.
    let _: i64 = redis::cmd("PUBLISH")
        .arg(format!("{}:end", cluster.prefix()))
        .arg("end")
        .query_async(&mut redis.get_multiplexed_async_connection().await.unwrap())
        .await
        .unwrap();
    let mut count = 0;
    loop {
        let message = timeout(LONG, messages.next()).await.expect("a message").unwrap();
        let payload = String::from_utf8_lossy(message.get_payload_bytes()).into_owned();
        if payload == "end" {
            break;
        }
        assert!(!payload.contains(WORD) && !payload.contains(THINKING), "{payload}");
        count += 1;
    }
    assert!(count > 0, "wake-ups are relayed");
    let stored = String::from_utf8_lossy(&cluster_dump::redis(&cluster).await).into_owned();
    assert!(stored.contains(cluster.prefix()), "the search finds what is stored");
    assert!(!stored.contains(WORD) && !stored.contains(THINKING));
    let is_stored = async |text: &str| cluster_dump::contains(&cluster, text.as_bytes()).await;
    assert!(is_stored(WORD).await);

    worker.kill().await;
    let queued = next_revision(&mut watch, text.revision.get()).await;
    assert_eq!(queued.status, SummaryStatus::Queued);
    assert!(!is_stored(WORD).await && !is_stored(THINKING).await);
    assert!(is_stored("강가를").await, "the search finds diaries");
    let worker = cluster.worker(two.url(), &llm).await;
    let again = next_text(&mut watch).await;
    assert!(again.revision > queued.revision);
    assert_eq!(again.text, text.text);
    llm.release(2);
    let (_, summary) = texts_until_the_end(&mut watch).await;
    assert_eq!(summary.reflection.as_deref(), Some(REFLECTION));
    assert_eq!(cluster.count("SELECT COUNT(*) FROM partial_text").await, 0);
    worker.terminate().await;
    one.terminate().await;
    two.terminate().await;
    cluster.drop_databases().await;
}
