//! The worker in this process. A build without the feature `embedded` has neither a worker nor
//! models.

use std::{net::SocketAddr, sync::Arc};

use shiori_worker::JobQueue;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    config::{Config, WorkerMode},
    metrics::Metrics,
    server::StartError,
};

/// Checks that this build has a worker if the configuration requires one.
pub(crate) fn check(config: &Config) -> Result<(), StartError> {
    if config.worker == WorkerMode::InProcess && !cfg!(feature = "embedded") {
        return Err(StartError::NoInProcessWorker);
    }
    Ok(())
}

/// Starts the worker if the configuration requires one. It calls the internal API over the loopback
/// interface, like any other worker, and stops after `shutdown` is cancelled.
#[cfg(feature = "embedded")]
pub(crate) fn start(
    config: &Config,
    queue: &Arc<dyn JobQueue>,
    internal_addr: SocketAddr,
    metrics: &Metrics,
    shutdown: CancellationToken,
) -> Result<Option<JoinHandle<()>>, StartError> {
    use shiori_worker::{ServerApi, Worker, WorkerConfig};

    if config.worker == WorkerMode::None {
        return Ok(None);
    }
    let url = crate::server::local_url(internal_addr);
    let api = ServerApi::new(&url, config.internal_token.reveal())
        .map_err(|error| StartError::Worker(error.into()))?;
    let worker_config = WorkerConfig {
        worker_id: format!("in-process-{}", std::process::id()),
        concurrency: config.worker_concurrency,
        drain_timeout: config.drain_timeout,
        patience: None,
    };
    let worker = Worker::new(worker_config, queue.clone(), api, config.pipeline.clone());
    metrics.include(Box::new(worker.metrics()));
    Ok(Some(tokio::spawn(async move {
        if let Err(error) = worker.run(shutdown).await {
            tracing::error!(%error, "the worker has stopped");
        }
    })))
}

#[cfg(feature = "embedded")]
impl crate::metrics::Source for shiori_worker::WorkerMetrics {
    fn write(&self, text: &mut String) -> std::fmt::Result {
        Self::write(self, text)
    }
}

/// This build has no worker; [`check`] rejects configurations that require one.
#[cfg(not(feature = "embedded"))]
#[allow(clippy::unnecessary_wraps)] // same signature as with the feature
pub(crate) fn start(
    _: &Config,
    _: &Arc<dyn JobQueue>,
    _: SocketAddr,
    _: &Metrics,
    _: CancellationToken,
) -> Result<Option<JoinHandle<()>>, StartError> {
    Ok(None)
}

#[cfg(all(test, not(feature = "embedded")))]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::{Server, Settings};

    fn settings(worker: Option<WorkerMode>) -> Settings {
        Settings {
            worker,
            jwt_secret: Some("a secret of thirty-two characters".into()),
            internal_token: Some("sixteen letters!".into()),
            data_dir: Some("/nonexistent/and-not-created".into()),
            ..Settings::default()
        }
    }

    /// The check comes first: no store of this configuration can be opened.
    #[tokio::test]
    async fn a_build_without_a_worker_rejects_worker_in_process() {
        let config = settings(Some(WorkerMode::InProcess)).into_config().expect("valid");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let error = Server::start(config, listener, CancellationToken::new()).await;
        let error = error.expect_err("an error");
        assert!(matches!(error, StartError::NoInProcessWorker), "{error:?}");
        assert_eq!(
            error.to_string(),
            "SHIORI_WORKER=in-process needs a build with the feature embedded; \
             set SHIORI_WORKER=none and run shiori-worker, or enable the feature"
        );
    }

    #[test]
    fn the_default_of_a_build_without_a_worker_is_no_worker() {
        let config = settings(None).into_config().expect("valid");
        assert_eq!(config.worker, WorkerMode::None);
        assert!(check(&config).is_ok());
    }
}
