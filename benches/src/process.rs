//! Servers and workers in processes of their own, so that their CPU time can be read, they can be
//! killed, and they share no thread with the clients. They are started from this executable.

use std::{
    env,
    error::Error,
    fmt,
    io::{self, BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use shiori_server::{Server, WorkerMode};
use shiori_worker::{
    Pipeline, ServerApi, Worker, WorkerConfig,
    queue::{QUEUE_NAME, RedisQueue},
    redis::Redis,
    summarize::{OpenAiConfig, OpenAiSummarizer, openai::UnmarkedThinking},
};
use tokio::{net::TcpListener, task::spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::{DistinctModel, EngineUrls, Model, Pace, Surroundings, configuration};

/// Any failure of a process.
type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// The first argument of a process that is a server.
pub const SERVER: &str = "run-server";

/// The first argument of a process that is a worker.
pub const WORKER: &str = "run-worker";

/// A server to start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServerSetup {
    /// The directory of its data.
    pub dir: PathBuf,
    /// Its port on the loopback; 0 for any.
    pub port: u16,
    /// The engines of the distributed profile; `None` for the embedded one.
    pub engines: Option<EngineUrls>,
    /// Its worker; `None` for a server without one.
    pub worker: Option<WorkerSetup>,
    /// The lease of a summary, in milliseconds; `None` for the default.
    pub lease_ms: Option<u64>,
}

/// The work of a worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkerSetup {
    /// The language model.
    pub model: LanguageModel,
    /// Summaries in flight.
    pub in_flight: usize,
}

/// A worker process to start.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct WorkerProcess {
    server: String,
    engines: EngineUrls,
    setup: WorkerSetup,
}

/// A language model.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum LanguageModel {
    /// One in the worker's process, with this speed.
    Paced(Pace),
    /// One in the worker's process that writes another text each time, for a random time of at most
    /// this many milliseconds.
    Distinct(u64),
    /// An OpenAI-compatible endpoint at this base URL.
    Endpoint(String),
}

impl WorkerSetup {
    fn pipeline(&self) -> Result<Pipeline> {
        Ok(match &self.model {
            LanguageModel::Paced(pace) => Model::pipeline(*pace),
            LanguageModel::Distinct(max_ms) => {
                let summarizer = Arc::new(DistinctModel::new(Duration::from_millis(*max_ms)));
                Pipeline { summarizer, ..Pipeline::builtin() }
            }
            LanguageModel::Endpoint(url) => {
                let config = OpenAiConfig {
                    base_url: url.clone(),
                    model: "bench".to_owned(),
                    max_in_flight: self.in_flight,
                    // A text is shown from the first summary.
                    unmarked_thinking: UnmarkedThinking::Never,
                    ..OpenAiConfig::default()
                };
                let summarizer = Arc::new(OpenAiSummarizer::new(config)?);
                Pipeline { summarizer, ..Pipeline::builtin() }
            }
        })
    }
}

/// A server or worker process. It is killed when this is dropped, and ends by itself when the parent
/// does, because its standard input is then closed.
pub struct Process {
    child: Child,
    _stdin: ChildStdin,
    ready: String,
    surroundings: Surroundings,
}

impl Process {
    /// Starts a server and waits until it listens.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub async fn server(setup: &ServerSetup) -> Result<Self> {
        Self::server_in(&Surroundings::default(), setup).await
    }

    /// As [`Self::server`], in other surroundings.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub async fn server_in(surroundings: &Surroundings, setup: &ServerSetup) -> Result<Self> {
        Self::start(surroundings, SERVER, setup).await
    }

    /// Starts a worker of the server at this URL.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub async fn worker_in(
        surroundings: &Surroundings,
        server: &str,
        engines: &EngineUrls,
        setup: &WorkerSetup,
    ) -> Result<Self> {
        let (server, engines, setup) = (server.to_owned(), engines.clone(), setup.clone());
        Self::start(surroundings, WORKER, &WorkerProcess { server, engines, setup }).await
    }

    async fn start(
        surroundings: &Surroundings,
        role: &'static str,
        setup: &impl Serialize,
    ) -> Result<Self> {
        let setup = serde_json::to_string(setup)? + "\n";
        let surroundings = surroundings.clone();
        spawn_blocking(move || {
            let mut child = surroundings
                .command(env::current_exe()?)
                .arg(role)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
                return Err("a process without pipes".into());
            };
            // The setup contains passwords, so it is not an argument.
            stdin.write_all(setup.as_bytes())?;
            let mut ready = String::new();
            BufReader::new(stdout).read_line(&mut ready)?;
            let ready = ready.trim().to_owned();
            if ready.is_empty() {
                return Err(format!("{role} did not start: {}", child.wait()?).into());
            }
            Ok(Self { child, _stdin: stdin, ready, surroundings })
        })
        .await?
    }

    /// The base URL of a server.
    pub fn url(&self) -> &str {
        &self.ready
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Stops the process (SIGSTOP), or continues it (SIGCONT).
    ///
    /// # Errors
    ///
    /// If it cannot receive signals.
    pub fn set_stopped(&self, stopped: bool) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        let signal = if stopped { Signal::STOP } else { Signal::CONT };
        Ok(kill_process(pid, signal)?)
    }

    /// Kills the process without notice (SIGKILL).
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.surroundings.clean_up(self.child.id());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("id", &self.id()).finish_non_exhaustive()
    }
}

/// Runs a server until standard input is closed. The setup is its first line.
///
/// # Errors
///
/// If the server cannot be started.
pub async fn run_server() -> Result<()> {
    let setup: ServerSetup = read_setup().await?;
    let mut config = configuration(&setup.dir);
    config.worker = WorkerMode::None;
    if let Some(engines) = &setup.engines {
        engines.configure(&mut config);
    } else if let Some(worker) = &setup.worker {
        config.worker = WorkerMode::InProcess;
        config.worker_concurrency = worker.in_flight;
        config.pipeline = worker.pipeline()?;
    }
    if let Some(lease_ms) = setup.lease_ms {
        config.summaries.lease = Duration::from_millis(lease_ms);
    }
    let listener = TcpListener::bind(("127.0.0.1", setup.port)).await?;
    let server = Server::start(config, listener, CancellationToken::new()).await?;
    report_ready(&server.url())?;
    wait_for_parent().await
}

/// Runs a worker until standard input is closed. The setup is its first line.
///
/// # Errors
///
/// If the worker fails.
pub async fn run_worker() -> Result<()> {
    let WorkerProcess { server, engines, setup } = read_setup().await?;
    let redis = Redis::new(&engines.redis, &engines.redis_prefix)?;
    let queue = Arc::new(RedisQueue::with_redis_clock(redis, QUEUE_NAME));
    let api = ServerApi::new(&server, EngineUrls::INTERNAL_TOKEN)?;
    let config = WorkerConfig { concurrency: setup.in_flight, ..WorkerConfig::default() };
    let worker = Worker::new(config, queue, api, setup.pipeline()?);
    report_ready("ready")?;
    tokio::select! {
        ended = worker.run(CancellationToken::new()) => Ok(ended?),
        parent = wait_for_parent() => parent,
    }
}

async fn read_setup<T: DeserializeOwned>() -> Result<T> {
    let line = spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map(|_| line)
    });
    Ok(serde_json::from_str(&line.await??)?)
}

/// Prints the line that the parent waits for.
fn report_ready(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

/// Returns when standard input is closed, which also happens if the parent is killed.
async fn wait_for_parent() -> Result<()> {
    let closed = spawn_blocking(|| io::copy(&mut io::stdin().lock(), &mut io::sink()));
    closed.await??;
    Ok(())
}
