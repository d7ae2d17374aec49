//! Graceful shutdown: waiting requests return, and running summaries are finished or requeued.

use std::time::Duration;

use futures_util::StreamExt;
use shiori_sdk::SummaryStatus;

use crate::fixtures::{wait_until, week, write_week};
use crate::raw_client::RawClient;
use crate::test_server::TestServer;

#[tokio::test(flavor = "multi_thread")]
async fn waiting_requests_return_on_shutdown() {
    let server = TestServer::without_worker().await;
    let client = server.client().await;
    write_week(&client, "기다림").await;
    let handle = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
    let mut watch = Box::pin(handle.watch());
    let first = watch.next().await.unwrap().unwrap().into_summary().unwrap();
    assert_eq!(first.status, SummaryStatus::Queued);
    // `stop` fails if a request is aborted, such as the open stream.
    server.stop().await;
    drop(watch);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_server_finishes_or_requeues_running_summaries() {
    let dir = tempfile::tempdir().unwrap();
    let config = |worker| {
        let mut config = shiori_server::Config::embedded(dir.path()).unwrap();
        config.hash_cost = shiori_server::HashCost::MINIMAL;
        config.drain_timeout = Duration::from_millis(200);
        if let Some(pipeline) = worker {
            config.pipeline = pipeline;
        }
        config
    };
    let hung = crate::fake_model::hanging_pipeline();
    let shutdown = tokio_util::sync::CancellationToken::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server =
        shiori_server::Server::start(config(Some(hung)), listener, shutdown.clone()).await.unwrap();
    let email = crate::fixtures::fresh_email();
    let client = crate::fixtures::new_client(&server.url());
    client.auth().signup(&email, crate::fixtures::PASSWORD, "시오리").await.unwrap();
    client.auth().login(&email, crate::fixtures::PASSWORD).await.unwrap();
    write_week(&client, "넘겨줄 주").await;
    let handle = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
    wait_until("the summary runs", async || {
        handle.poll().await.unwrap().status == SummaryStatus::Running
    })
    .await;
    shutdown.cancel();
    server.stopped().await.unwrap();

    let shutdown = tokio_util::sync::CancellationToken::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server =
        shiori_server::Server::start(config(None), listener, shutdown.clone()).await.unwrap();
    let client = crate::fixtures::new_client(&server.url());
    client.auth().login(&email, crate::fixtures::PASSWORD).await.unwrap();
    let summary = client.summaries().handle(handle.id()).wait().await.unwrap();
    assert_eq!(summary.status, SummaryStatus::Completed);
    assert_eq!(summary.attempts, 1, "the interrupted attempt is not counted");
    shutdown.cancel();
    server.stopped().await.unwrap();
}

#[tokio::test]
async fn a_data_directory_is_private_to_its_owner_and_survives_a_restart() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("not/there/yet");
    let mut config = shiori_server::Config::embedded(&home).unwrap();
    config.hash_cost = shiori_server::HashCost::MINIMAL;
    let again = shiori_server::Config::embedded(&home).unwrap();
    assert!(config.jwt_secret.reveal() == again.jwt_secret.reveal());
    let mode = |name: &str| home.join(name).metadata().unwrap().permissions().mode() & 0o777;
    let shutdown = tokio_util::sync::CancellationToken::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = shiori_server::Server::start(config, listener, shutdown.clone()).await.unwrap();
    assert_eq!(RawClient::anonymous(&server.url()).get("/readyz").await.status, 200);
    assert_eq!(mode(""), 0o700);
    for file in std::fs::read_dir(&home).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert_eq!(mode(&name), 0o600, "{name}");
    }
    shutdown.cancel();
    server.stopped().await.unwrap();
}

#[tokio::test]
async fn a_second_server_with_the_same_data_directory_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let start = async || {
        let mut config = shiori_server::Config::embedded(dir.path()).unwrap();
        config.hash_cost = shiori_server::HashCost::MINIMAL;
        let shutdown = tokio_util::sync::CancellationToken::new();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = shiori_server::Server::start(config, listener, shutdown.clone()).await;
        server.map(|server| (server, shutdown))
    };
    let (first, shutdown) = start().await.unwrap();
    let error = start().await.map(drop).expect_err("rejected").to_string();
    let file = dir.path().join("shiori.db");
    assert_eq!(
        error,
        format!("another server uses {}; stop it, or set another SHIORI_DATA_DIR", file.display())
    );
    assert_eq!(RawClient::anonymous(&first.url()).get("/readyz").await.status, 200);

    shutdown.cancel();
    first.stopped().await.unwrap();
    let (second, shutdown) = start().await.expect("the directory is free again");
    shutdown.cancel();
    second.stopped().await.unwrap();
}
