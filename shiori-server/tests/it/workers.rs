//! Real workers against the real server: leases kept and lost, answers cut off, models gone mad.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use shiori_sdk::{
    Client, FailureKind, Outcome, Precondition, SummaryHandle, SummaryStatus, Timestamp, Week,
};
use shiori_server::WorkerMode;
use shiori_worker::{
    JobQueue, Pipeline, ServerApi, SystemClock, Worker, WorkerConfig, queue::InProcessQueue,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    house::{House, PASSWORD, day, device, draft, until, week, write_week},
    models::{Model, Mood},
    proxy::Proxy,
};

/// A worker with a queue of its own, as a process of its own would be.
struct Hand {
    queue: Arc<InProcessQueue>,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
}

impl Hand {
    fn hire(url: &str, house: &House, pipeline: Pipeline, concurrency: usize) -> Self {
        let queue = Arc::new(InProcessQueue::new(1000, Arc::new(SystemClock)));
        let api = ServerApi::new(url, &house.internal_token()).unwrap();
        let config = WorkerConfig { concurrency, ..WorkerConfig::default() };
        let shutdown = CancellationToken::new();
        let worker = Worker::new(config, queue.clone(), api, pipeline);
        let running = tokio::spawn(worker.run(shutdown.clone()));
        Self { queue, shutdown, running }
    }

    async fn give(&self, handle: &SummaryHandle) {
        self.queue.offer(handle.id(), Timestamp::now()).await.unwrap();
    }

    /// The worker must end, and leave no hint untaken.
    async fn dismiss(self) {
        self.shutdown.cancel();
        self.running.await.unwrap();
        assert_eq!(self.queue.depth().await.unwrap(), 0);
    }
}

async fn house(lease: Duration) -> House {
    House::with(|config| {
        config.worker = WorkerMode::None;
        config.summaries.lease = lease;
        config.summaries.max_attempts = 2;
        config.summaries.required_days = 1;
        config.summaries.first_backoff = Duration::from_millis(1);
    })
    .await
}

/// Asks for the summaries of `count` weeks that all hold the same day.
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
async fn a_result_whose_answer_was_cut_off_is_stored_once() {
    let house = house(Duration::from_secs(30)).await;
    let client = house.client().await;
    let proxy = Proxy::before(&house.url()).await;
    let model = Model::new(Mood::Slow(Duration::ZERO));
    let hand = Hand::hire(proxy.url(), &house, model.pipeline(), 4);
    proxy.swallow_answer_to("POST /api/internal/summarize/result");
    let handle = requests(&client, 1).await.remove(0);
    hand.give(&handle).await;
    let summary = handle.wait().await.unwrap();
    assert_eq!((summary.status, summary.attempts), (SummaryStatus::Completed, 1));
    hand.dismiss().await;
    assert!(proxy.has_swallowed());
    assert_eq!(model.calls.load(Ordering::SeqCst), 1);
    assert_eq!(handle.poll().await.unwrap(), summary, "nothing was stored a second time");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_three_leases_under_a_living_worker_is_run_once() {
    let lease = Duration::from_millis(600);
    let house = house(lease).await;
    let client = house.client().await;
    let model = Model::new(Mood::Slow(lease * 3));
    let hand = Hand::hire(&house.url(), &house, model.pipeline(), 4);
    let handle = requests(&client, 1).await.remove(0);
    hand.give(&handle).await;
    let summary = handle.wait().await.unwrap();
    assert_eq!((summary.status, summary.attempts), (SummaryStatus::Completed, 1));
    assert_eq!(model.calls.load(Ordering::SeqCst), 1);
    hand.dismiss().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_lease_ends_its_own_job_and_no_other() {
    let house = house(Duration::from_millis(600)).await;
    let client = house.client().await;
    let model = Model::new(Mood::Hung);
    let hand = Hand::hire(&house.url(), &house, model.pipeline(), 4);
    let handles = requests(&client, 2).await;
    for handle in &handles {
        hand.give(handle).await;
    }
    until("both run", async || model.open.load(Ordering::SeqCst) == 2).await;
    handles[0].cancel().await.unwrap();
    until("the cancelled one is given up", async || model.open.load(Ordering::SeqCst) == 1).await;
    let other = handles[1].poll().await.unwrap();
    assert_eq!((other.status, other.attempts), (SummaryStatus::Running, 1));
    handles[1].cancel().await.unwrap();
    until("nothing runs", async || model.open.load(Ordering::SeqCst) == 0).await;
    hand.dismiss().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_takes_no_more_than_it_may_and_tells_progress() {
    let house = house(Duration::from_secs(30)).await;
    let client = house.client().await;
    let model = Model::new(Mood::Slow(Duration::from_millis(50)));
    let hand = Hand::hire(&house.url(), &house, model.pipeline(), 2);
    let handles = requests(&client, 7).await;
    for handle in &handles {
        hand.give(handle).await;
    }
    for handle in &handles {
        assert_eq!(handle.wait().await.unwrap().status, SummaryStatus::Completed);
    }
    assert_eq!(model.most.load(Ordering::SeqCst), 2);
    assert_eq!(model.calls.load(Ordering::SeqCst), 7);
    hand.dismiss().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_panics_fails_its_summary_and_nothing_else() {
    let house = house(Duration::from_secs(30)).await;
    let client = house.client().await;
    let mad = Model::new(Mood::Mad);
    let hand = Hand::hire(&house.url(), &house, mad.pipeline(), 1);
    let handle = requests(&client, 1).await.remove(0);
    hand.give(&handle).await;
    until("the first attempt has failed", async || handle.poll().await.unwrap().failure.is_some())
        .await;
    until("the second attempt has failed", async || {
        hand.give(&handle).await;
        handle.poll().await.unwrap().status == SummaryStatus::Failed
    })
    .await;
    let summary = handle.poll().await.unwrap();
    assert_eq!(summary.failure.map(|failure| failure.kind), Some(FailureKind::Internal));
    until("no hint is left", async || hand.queue.depth().await.unwrap() == 0).await;
    hand.dismiss().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_out_of_reach_is_waited_for_with_the_result_in_hand() {
    let house = house(Duration::from_secs(30)).await;
    let client = house.client().await;
    let proxy = Proxy::before(&house.url()).await;
    let model = Model::new(Mood::Slow(Duration::from_millis(300)));
    let hand = Hand::hire(proxy.url(), &house, model.pipeline(), 1);
    let handle = requests(&client, 1).await.remove(0);
    hand.give(&handle).await;
    until("the model writes", async || model.open.load(Ordering::SeqCst) == 1).await;
    proxy.set_down(true);
    until("the model has written", async || model.open.load(Ordering::SeqCst) == 0).await;
    assert_eq!(handle.poll().await.unwrap().status, SummaryStatus::Running);
    proxy.set_down(false);
    let summary = handle.wait().await.unwrap();
    assert_eq!((summary.status, summary.attempts), (SummaryStatus::Completed, 1));
    assert_eq!(model.calls.load(Ordering::SeqCst), 1);
    hand.dismiss().await;
    house.stop().await;
}

/// The server has applied a save, and its answer is lost: sending it again is recognised.
#[tokio::test(flavor = "multi_thread")]
async fn a_save_whose_answer_was_cut_off_is_neither_lost_nor_doubled() {
    let house = House::start().await;
    let (_, email) = house.person().await;
    let proxy = Proxy::before(&house.url()).await;
    let client = device(proxy.url());
    client.auth().login(&email, PASSWORD).await.unwrap();
    for line in 0..5 {
        proxy.swallow_answer_to("POST /api/diary/20260216");
        let saved = client
            .diaries()
            .update(day(16), move |mut draft| async move {
                draft.content.push_paragraph(&format!("{line} 번째 줄"));
                draft
            })
            .await
            .unwrap();
        assert!(proxy.has_swallowed());
        assert_eq!((saved.outcome, saved.report.conflicts), (Outcome::Replayed, 0));
    }
    let diary = client.diaries().get(day(16)).await.unwrap().unwrap();
    assert_eq!((diary.version.get(), diary.content.block_texts().len()), (5, 5));

    proxy.swallow_answer_to("POST /api/diary/20260216/archive");
    let version = client.diaries().archive(day(16), diary.version, true).await.unwrap();
    assert_eq!(version, diary.version.next());
    proxy.swallow_answer_to("DELETE /api/diary/20260216");
    client.diaries().delete(day(16), version).await.unwrap();
    write_week(&client, "요약할 주").await;
    proxy.swallow_answer_to("POST /api/diary/summary");
    let handle = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
    assert_eq!(handle.wait().await.unwrap().attempts, 1);
    house.stop().await;
}
