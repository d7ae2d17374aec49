//! The real binaries as processes, and real signals.

use std::{
    path::PathBuf,
    process::{Output, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use crate::test_log::{PROCESS_FILTER, test_log};

/// A server or worker process. It is killed when this is dropped.
pub struct Process {
    child: Child,
    url: String,
    /// Only of a worker.
    metrics_url: String,
    /// Reads the log until the process closes it. Returns its lines.
    log: JoinHandle<Vec<String>>,
}

impl Process {
    /// A server with these settings on a free port.
    pub async fn server(settings: &[(&str, &str)]) -> Self {
        Self::started(Command::new(env!("CARGO_BIN_EXE_shiori-server")), settings).await
    }

    /// A server whose data directory is a separate file system of 4 MiB.
    pub async fn server_on_a_small_disk(settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new("unshare");
        let script = "mount -t tmpfs -o size=4m none \"$SHIORI_DATA_DIR\" && exec \"$0\"";
        let server = env!("CARGO_BIN_EXE_shiori-server");
        command.args(["--mount", "--map-root-user", "sh", "-c", script, server]);
        Self::started(command, settings).await
    }

    /// A server whose limit of open files is `soft`, and can be raised to `hard`.
    pub async fn server_with_open_files(soft: u32, hard: u32, settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new("sh");
        let script = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\"");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_shiori-server")]);
        Self::started(command, settings).await
    }

    async fn started(mut command: Command, settings: &[(&str, &str)]) -> Self {
        command.env_clear().env("SHIORI_LISTEN", "127.0.0.1:0").envs(settings.iter().copied());
        let (child, started, log) = spawn(command, "listening").await;
        let line = started.last().unwrap();
        let addr = match serde_json::from_str::<serde_json::Value>(line) {
            Ok(line) => line["addr"].as_str().unwrap().to_owned(),
            Err(_) => {
                let (_, addr) = line.split_once(" addr=").unwrap();
                addr.split_whitespace().next().unwrap().to_owned()
            }
        };
        Self { child, url: format!("http://{addr}"), metrics_url: String::new(), log }
    }

    /// A worker with these settings. `cargo test --workspace` or `cargo build -p shiori-worker`
    /// builds its binary.
    pub async fn worker(settings: &[(&str, &str)]) -> Self {
        let beside = PathBuf::from(env!("CARGO_BIN_EXE_shiori-server"));
        let binary = beside.with_file_name("shiori-worker");
        assert!(binary.exists(), "build it first: cargo build -p shiori-worker");
        let mut command = Command::new(binary);
        command.env_clear().envs(settings.iter().copied());
        command.env("SHIORI_METRICS_LISTEN", "127.0.0.1:0");
        let (child, started, log) = spawn(command, "worker started").await;
        let metrics = started.iter().find_map(|line| line.split_once("serving metrics addr="));
        let metrics_url = format!("http://{}", metrics.unwrap().1.trim());
        Self { child, url: String::new(), metrics_url, log }
    }

    /// Runs the server's program with these arguments until it exits.
    pub async fn run(arguments: &[&str], settings: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shiori-server"));
        command.args(arguments).env_clear().envs(settings.iter().copied());
        let output = command.output().await.unwrap();
        test_log().add(&String::from_utf8_lossy(&output.stderr));
        output
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL of a worker's metrics listener.
    pub fn metrics_url(&self) -> &str {
        &self.metrics_url
    }

    pub fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// SIGKILL.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Sends a signal, e.g. `-STOP`.
    pub async fn signal(&self, signal: &str) {
        let pid = self.child.id().unwrap().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().await.unwrap();
        assert!(sent.success());
    }

    /// Waits for the process to exit. Returns the exit code.
    pub async fn exit_code(mut self) -> Option<i32> {
        let ended = tokio::time::timeout(Duration::from_secs(60), self.child.wait()).await;
        ended.expect("the process exits").unwrap().code()
    }

    /// Sends SIGTERM. The process must exit with success. Returns the lines of its log.
    pub async fn terminate(mut self) -> Vec<String> {
        self.signal("-TERM").await;
        let ended = tokio::time::timeout(Duration::from_secs(60), self.child.wait()).await;
        assert!(ended.expect("the process exits").unwrap().success());
        self.log.await.unwrap()
    }
}

/// The timeout of a start, also on a slow machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Starts the process. Returns it with the log lines until one contains `ready`, and its log.
async fn spawn(mut command: Command, ready: &str) -> (Child, Vec<String>, JoinHandle<Vec<String>>) {
    let mut child = command
        .env("SHIORI_LOG", PROCESS_FILTER)
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut output = String::new();
    let deadline = Instant::now() + START_LIMIT;
    loop {
        match timeout_at(deadline, log.next_line()).await {
            Ok(Ok(Some(line))) => {
                test_log().add(&line);
                output = format!("{output}{line}\n");
                if line.contains(ready) {
                    break;
                }
            }
            _ => panic!("no line {ready:?} in its log:\n{output}"),
        }
    }
    // Drains the pipe, so that the process never blocks on it.
    let mut lines: Vec<_> = output.lines().map(str::to_owned).collect();
    let started = lines.clone();
    let log = tokio::spawn(async move {
        while let Ok(Some(line)) = log.next_line().await {
            test_log().add(&line);
            lines.push(line);
        }
        lines
    });
    (child, started, log)
}
