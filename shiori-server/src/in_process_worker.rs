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

/// Whether this build has a worker.
pub(crate) const EXISTS: bool = cfg!(feature = "embedded");

/// Checks that there is a worker, if this mode requires one.
pub(crate) fn check(mode: WorkerMode, exists: bool) -> Result<(), StartError> {
    if mode == WorkerMode::InProcess && !exists {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_worker_its_mode_is_rejected() {
        assert!(check(WorkerMode::InProcess, true).is_ok());
        assert!(check(WorkerMode::None, false).is_ok());
        let error = check(WorkerMode::InProcess, false).expect_err("an error");
        assert!(matches!(error, StartError::NoInProcessWorker), "{error:?}");
        assert_eq!(
            error.to_string(),
            "SHIORI_WORKER=in-process needs a build with the feature embedded; \
             set SHIORI_WORKER=none and run shiori-worker, or enable the feature"
        );
    }

    #[test]
    fn the_default_mode_is_possible() {
        for exists in [true, false] {
            assert!(check(WorkerMode::default_if(exists), exists).is_ok());
        }
        assert_eq!(WorkerMode::default_if(true), WorkerMode::InProcess);
    }
}
