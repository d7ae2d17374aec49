//! A Redis that only this run uses, so that it can be killed and flushed.

use std::{
    env, io,
    net::TcpListener,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use redis::Client;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::Result;

/// How long a Redis may take to start.
const START: Duration = Duration::from_secs(20);

/// A Redis without persistence. It is killed when this is dropped.
pub(crate) struct PrivateRedis {
    program: PathBuf,
    port: u16,
    process: Child,
    dir: TempDir,
}

impl PrivateRedis {
    /// Starts a Redis on a free port.
    ///
    /// # Errors
    ///
    /// If it is not installed or does not start.
    pub(crate) async fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let program = program(dir.path())?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let process = spawn(&program, port, dir.path())?;
        let redis = Self { program, port, process, dir };
        redis.wait_until_ready().await?;
        Ok(redis)
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Kills it without notice (SIGKILL); its data are lost.
    pub(crate) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts it again, on the same port.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        self.process = spawn(&self.program, self.port, self.dir.path())?;
        self.wait_until_ready().await
    }

    /// Deletes all keys.
    ///
    /// # Errors
    ///
    /// If it does not respond.
    pub(crate) async fn flush(&self) -> Result<()> {
        let client = Client::open(self.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        Ok(redis::cmd("FLUSHALL").query_async(&mut connection).await?)
    }

    async fn wait_until_ready(&self) -> Result<()> {
        let client = Client::open(self.url())?;
        let deadline = Instant::now() + START;
        while let Err(error) = client.get_multiplexed_async_connection().await {
            if Instant::now() > deadline {
                return Err(format!("redis did not start: {error}").into());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

impl Drop for PrivateRedis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(program: &Path, port: u16, dir: &Path) -> io::Result<Child> {
    Command::new(program)
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(["--port", &port.to_string()])
        .arg("--dir")
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
}

/// The server, or `redis-check-rdb`, which is the same program under another name.
fn program(dir: &Path) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let find = |name: &str| {
        env::split_paths(&path).map(|dir| dir.join(name)).find(|program| program.is_file())
    };
    if let Some(server) = find("redis-server") {
        return Ok(server);
    }
    let check = find("redis-check-rdb").ok_or("redis-server is not installed")?;
    let link = dir.join("redis-server");
    symlink(check, &link)?;
    Ok(link)
}
