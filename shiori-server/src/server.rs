use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::Semaphore, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    api,
    app::{App, Parts},
    auth::{PasswordHasher, TokenKeys, UserHash},
    config::Config,
    dispatcher, in_process_worker, listener,
    metrics::{Engines, Metrics},
    overload::Overload,
    profile::{Profile, ProfileError},
    slots::Slots,
    summary::{MAX_OFFERS, Summaries, SummariesParts},
};

/// The timeout of closing the stores. Acknowledged writes are already durable.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A running server. Dropping this does not stop it; the shutdown token does.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    internal_addr: SocketAddr,
    running: JoinHandle<Result<(), ServeError>>,
}

/// The server could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A store could not be opened.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// An address could not be bound.
    #[error("could not listen")]
    Listen(#[source] io::Error),
    /// Passwords cannot be hashed at the configured cost.
    #[error("could not hash passwords")]
    Hash(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The in-process worker could not be created.
    #[error("could not create the worker")]
    Worker(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The configuration requires an in-process worker, and this build has none.
    #[error(
        "SHIORI_WORKER=in-process needs a build with the feature embedded; \
         set SHIORI_WORKER=none and run shiori-worker, or enable the feature"
    )]
    NoInProcessWorker,
}

/// The server did not stop cleanly.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A listener failed.
    #[error("the listener failed")]
    Listen(#[source] io::Error),
    /// Requests were still in progress after the drain timeout and were aborted.
    #[error("requests were aborted after {0:?}")]
    CutOff(Duration),
    /// A task of the server panicked.
    #[error("a task of the server panicked")]
    Panicked,
}

impl Server {
    /// Starts the server on a listener, with its dispatcher and, if configured, its worker.
    ///
    /// When `shutdown` is cancelled, the server stops in this order: long-polls and event streams
    /// end, the worker finishes or requeues its jobs, other requests finish, and the stores are
    /// closed. Worker and requests each have [`Config::drain_timeout`].
    ///
    /// # Errors
    ///
    /// [`StartError`] if a store cannot be opened or an address cannot be bound.
    pub async fn start(
        config: Config,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> Result<Self, StartError> {
        in_process_worker::check(config.worker, in_process_worker::EXISTS)?;
        let addr = listener.local_addr().map_err(StartError::Listen)?;
        let internal = match config.internal_listen {
            None => None,
            Some(addr) => Some(TcpListener::bind(addr).await.map_err(StartError::Listen)?),
        };
        let internal_addr = match &internal {
            None => addr,
            Some(listener) => listener.local_addr().map_err(StartError::Listen)?,
        };
        // In a box, so that the futures of programs that start a server are not deeply nested types.
        let profile = Box::pin(Profile::open_for_server(&config)).await?;
        let app = assemble(&config, &profile)?;
        let worker_stop = shutdown.clone();
        let worker = in_process_worker::start(
            &config,
            &profile.queue,
            internal_addr,
            &app.metrics,
            worker_stop,
        )?;

        let closing = CancellationToken::new();
        let serve = |listener, routes| {
            let body_bytes = config.limits.body_bytes;
            listener::serve(listener, routes, config.connections, body_bytes, closing.clone())
        };
        let mut public = serve(listener, api::public(&app, internal.is_none()));
        let mut internal = internal.map(|listener| serve(listener, api::internal_only(&app)));
        let dispatcher = tokio::spawn(dispatcher::run(app.clone(), closing.clone()));
        tracing::info!(%addr, %internal_addr, in_process_worker = worker.is_some(), "listening");

        let drain = config.drain_timeout;
        let running = tokio::spawn(async move {
            shutdown.cancelled().await;
            tracing::info!("stopping");
            app.stopping.cancel();
            // The worker submits its results to this listener, so the worker stops first.
            let worker = match worker {
                None => Ok(()),
                Some(worker) => worker.await,
            };
            closing.cancel();
            let listeners = async {
                public.ended().await?;
                match &mut internal {
                    None => Ok(()),
                    Some(internal) => internal.ended().await,
                }
            };
            let outcome = match timeout(drain, listeners).await {
                Err(_) => Err(ServeError::CutOff(drain)),
                Ok(ended) => ended.map_err(|_| ServeError::Panicked),
            };
            public.abort();
            if let Some(internal) = internal {
                internal.abort();
            }
            let dispatcher = dispatcher.await;
            drop(app);
            if timeout(CLOSE_TIMEOUT, profile.close()).await.is_err() {
                tracing::warn!("closing the stores timed out");
            }
            tracing::info!("stopped");
            if worker.is_err() || dispatcher.is_err() {
                return Err(ServeError::Panicked);
            }
            outcome
        });
        Ok(Self { addr, internal_addr, running })
    }

    /// The address of the public listener.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address of the internal API.
    pub fn internal_addr(&self) -> SocketAddr {
        self.internal_addr
    }

    /// The base URL for clients on this machine.
    pub fn url(&self) -> String {
        local_url(self.addr)
    }

    /// Waits until the server has stopped.
    ///
    /// # Errors
    ///
    /// [`ServeError`] if requests were aborted or a task failed.
    pub async fn stopped(self) -> Result<(), ServeError> {
        self.running.await.map_err(|_| ServeError::Panicked)?
    }
}

fn assemble(config: &Config, profile: &Profile) -> Result<App, StartError> {
    let stopping = CancellationToken::new();
    let metrics = Metrics::new(Engines {
        observed: profile.observed.clone(),
        clocks: profile.measured_clocks.clone(),
    });
    let summaries = Summaries::new(SummariesParts {
        store: profile.summaries.clone(),
        diaries: profile.diaries.clone(),
        queue: profile.queue.clone(),
        wakeups: profile.wakeups.clone(),
        changes: profile.changes.clone(),
        policy: config.summaries,
        clock: profile.summary_clock.clone(),
        metrics: metrics.clone(),
        offers: Arc::new(Semaphore::new(MAX_OFFERS)),
        jitter: rand::random,
        stopping: stopping.clone(),
    });
    let passwords =
        PasswordHasher::new(config.hash_cost).map_err(|error| StartError::Hash(error.into()))?;
    Ok(App::from(Parts {
        accounts: profile.accounts.clone(),
        sessions: profile.sessions.clone(),
        diaries: profile.diaries.clone(),
        days: profile.days.clone(),
        summaries,
        changes: profile.changes.clone(),
        passwords,
        tokens: TokenKeys::new(&config.jwt_secret, config.jwt_secret_previous.as_ref()),
        user_hash: UserHash::new(&config.jwt_secret),
        limits: config.limits,
        session_policy: config.sessions,
        sign_ups: config.sign_ups.clone(),
        trusted_proxies: config.trusted_proxies.clone(),
        cors_origins: config.cors_origins.clone(),
        internal_tokens: [Some(&config.internal_token), config.internal_token_previous.as_ref()]
            .into_iter()
            .flatten()
            .cloned()
            .collect(),
        clock: profile.clock.clone(),
        overload: Overload::new(&config.overload, &metrics),
        exports: api::export_slots(),
        waits_of_users: Slots::new(usize::MAX, config.overload.max_waits_per_user),
        metrics,
        stopping,
    }))
}

/// The URL of an address on this machine. A wildcard address is replaced by the loopback address.
pub(crate) fn local_url(addr: SocketAddr) -> String {
    let mut addr = addr;
    if addr.ip().is_unspecified() {
        addr.set_ip(match addr {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    format!("http://{addr}")
}
