//! Real workers with the real server: leases, lost responses, failing models.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use shiori_sdk::{
    Client, FailureKind, Outcome, Precondition, SummaryHandle, SummaryStatus, Timestamp, Week,
};
use shiori_server::WorkerMode;
use shiori_worker::{
    JobQueue, Pipeline, ServerApi, SystemClock, Worker, WorkerConfig, WorkerError,
    queue::InProcessQueue,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    fake_model::{Behavior, FakeModel},
    fixtures::{PASSWORD, day, draft, new_client, wait_until, week, write_week},
    proxy::Proxy,
    test_server::TestServer,
};

/// A worker with its own queue.
struct TestWorker {
    queue: Arc<InProcessQueue>,
    shutdown: CancellationToken,
    running: JoinHandle<Result<(), WorkerError>>,
}

impl TestWorker {
    fn start(url: &str, server: &TestServer, pipeline: Pipeline, concurrency: usize) -> Self {
        let queue = Arc::new(InProcessQueue::new(1000, Arc::new(SystemClock)));
        let api = ServerApi::new(url, &server.internal_token()).unwrap();
        let config = WorkerConfig { concurrency, ..WorkerConfig::default() };
        let shutdown = CancellationToken::new();
        let worker = Worker::new(config, queue.clone(), api, pipeline);
        let running = tokio::spawn(worker.run(shutdown.clone()));
        Self { queue, shutdown, running }
    }

    async fn offer(&self, handle: &SummaryHandle) {
        self.queue.offer(handle.id(), Timestamp::now()).await.unwrap();
    }

    /// Stops the worker. Its queue must be empty.
    async fn stop(self) {
        self.shutdown.cancel();
        self.running.await.unwrap().unwrap();
        assert_eq!(self.queue.depth().await.unwrap(), 0);
    }
}

async fn server(lease: Duration) -> TestServer {
    TestServer::with_config(|config| {
        config.worker = WorkerMode::None;
        config.summaries.lease = lease;
        config.summaries.max_attempts = 2;
        config.summaries.required_days = 1;
        config.summaries.first_backoff = Duration::from_millis(1);
    })
    .await
}

/// Requests the summaries of `count` weeks that contain the same day.
async fn requests(client: &Client, count: i64) -> Vec<SummaryHandle> {
    let diary = draft("여러 주에 드는 하루");
    client.diaries().save(day(16), diary, Precondition::IfAbsent).send().await.unwrap();
    let mut handles = Vec::new();
    for back in 0..count {
        let week = Week::starting(day(16).plus_days(-back).unwrap()).unwrap();
        handles.push(client.summaries().request(week).await.unwrap().into_handle().unwrap());
    }
    handles
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_whose_response_was_lost_is_stored_once() {
    let server = server(Duration::from_secs(30)).await;
    let client = server.client().await;
    let proxy = Proxy::start(&server.url()).await;
    let model = FakeModel::new(Behavior::Slow(Duration::ZERO));
    let worker = TestWorker::start(proxy.url(), &server, model.pipeline(), 4);
    proxy.drop_response_to("POST /api/internal/summarize/result");
    let handle = requests(&client, 1).await.remove(0);
    worker.offer(&handle).await;
    let summary = handle.wait().await.unwrap();
    assert_eq!((summary.status, summary.attempts), (SummaryStatus::Completed, 1));
    worker.stop().await;
    assert!(proxy.has_dropped());
    assert_eq!(model.calls.load(Ordering::SeqCst), 1);
    assert_eq!(handle.poll().await.unwrap(), summary, "the result is stored once");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_takes_two_leases_is_run_once_while_its_worker_sends_heartbeats() {
    let lease = Duration::from_secs(3);
    let server = server(lease).await;
    let client = server.client().await;
    let model = FakeModel::new(Behavior::Slow(lease * 2));
    let worker = TestWorker::start(&server.url(), &server, model.pipeline(), 4);
    let handle = requests(&client, 1).await.remove(0);
    worker.offer(&handle).await;
    let summary = handle.wait().await.unwrap();
    assert_eq!((summary.status, summary.attempts), (SummaryStatus::Completed, 1));
    assert_eq!(model.calls.load(Ordering::SeqCst), 1);
    worker.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_lease_ends_only_its_own_job() {
    let server = server(Duration::from_secs(6)).await;
    let client = server.client().await;
    let model = FakeModel::new(Behavior::Hang);
    let worker = TestWorker::start(&server.url(), &server, model.pipeline(), 4);
    let handles = requests(&client, 2).await;
    for handle in &handles {
        worker.offer(handle).await;
    }
    wait_until("both run", async || model.open.load(Ordering::SeqCst) == 2).await;
    handles[0].cancel().await.unwrap();
    wait_until("the cancelled job ends", async || model.open.load(Ordering::SeqCst) == 1).await;
    let other = handles[1].poll().await.unwrap();
    assert_eq!((other.status, other.attempts), (SummaryStatus::Running, 1));
    handles[1].cancel().await.unwrap();
    wait_until("no job is running", async || model.open.load(Ordering::SeqCst) == 0).await;
    worker.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_respects_its_concurrency_and_reports_progress() {
    let server = server(Duration::from_secs(30)).await;
    let client = server.client().await;
    let model = FakeModel::new(Behavior::Slow(Duration::from_millis(50)));
    let worker = TestWorker::start(&server.url(), &server, model.pipeline(), 2);
    let handles = requests(&client, 7).await;
    for handle in &handles {
        worker.offer(handle).await;
    }
    for handle in &handles {
        assert_eq!(handle.wait().await.unwrap().status, SummaryStatus::Completed);
    }
    assert_eq!(model.max_open.load(Ordering::SeqCst), 2);
    assert_eq!(model.calls.load(Ordering::SeqCst), 7);
    worker.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_the_model_fails_only_its_summary() {
    let server = server(Duration::from_secs(30)).await;
    let client = server.client().await;
    let panicking = FakeModel::new(Behavior::Panic);
    let worker = TestWorker::start(&server.url(), &server, panicking.pipeline(), 1);
    let handle = requests(&client, 1).await.remove(0);
    worker.offer(&handle).await;
    wait_until("the first attempt has failed", async || {
        handle.poll().await.unwrap().failure.is_some()
    })
    .await;
    wait_until("the second attempt has failed", async || {
        worker.offer(&handle).await;
        handle.poll().await.unwrap().status == SummaryStatus::Failed
    })
    .await;
    let summary = handle.poll().await.unwrap();
    assert_eq!(summary.failure.map(|failure| failure.kind), Some(FailureKind::Internal));
    wait_until("no hint is left", async || worker.queue.depth().await.unwrap() == 0).await;
    worker.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_retried_until_the_server_is_reachable() {
    let server = server(Duration::from_secs(30)).await;
    let client = server.client().await;
    let proxy = Proxy::start(&server.url()).await;
    let model = FakeModel::new(Behavior::Slow(Duration::from_millis(300)));
    let worker = TestWorker::start(proxy.url(), &server, model.pipeline(), 1);
    let handle = requests(&client, 1).await.remove(0);
    worker.offer(&handle).await;
    wait_until("the model writes", async || model.open.load(Ordering::SeqCst) == 1).await;
    proxy.set_down(true);
    wait_until("the model has written", async || model.open.load(Ordering::SeqCst) == 0).await;
    assert_eq!(handle.poll().await.unwrap().status, SummaryStatus::Running);
    proxy.set_down(false);
    let summary = handle.wait().await.unwrap();
    assert_eq!((summary.status, summary.attempts), (SummaryStatus::Completed, 1));
    assert_eq!(model.calls.load(Ordering::SeqCst), 1);
    worker.stop().await;
    server.stop().await;
}

/// A save is applied, its response is lost, and the retry is recognised as a replay.
#[tokio::test(flavor = "multi_thread")]
async fn a_save_whose_response_was_lost_is_applied_once() {
    let server = TestServer::start().await;
    let (_, email) = server.sign_up().await;
    let proxy = Proxy::start(&server.url()).await;
    let client = new_client(proxy.url());
    client.auth().login(&email, PASSWORD).await.unwrap();
    for line in 0..5 {
        proxy.drop_response_to("POST /api/diary/20260216");
        let saved = client
            .diaries()
            .update(day(16), move |mut draft| async move {
                draft.content.push_paragraph(&format!("{line} 번째 줄"));
                draft
            })
            .await
            .unwrap();
        assert!(proxy.has_dropped());
        assert_eq!((saved.outcome, saved.report.conflicts), (Outcome::Replayed, 0));
    }
    let diary = client.diaries().get(day(16)).await.unwrap().unwrap();
    assert_eq!((diary.version.get(), diary.content.block_texts().len()), (5, 5));

    proxy.drop_response_to("POST /api/diary/20260216/archive");
    let version = client.diaries().archive(day(16), diary.version, true).await.unwrap();
    assert_eq!(version, diary.version.next());
    proxy.drop_response_to("DELETE /api/diary/20260216");
    client.diaries().delete(day(16), version).await.unwrap();
    write_week(&client, "요약할 주").await;
    proxy.drop_response_to("POST /api/diary/summary");
    let handle = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
    assert_eq!(handle.wait().await.unwrap().attempts, 1);
    server.stop().await;
}
