use std::{
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use redis::Client;
use tempfile::TempDir;

use super::{EngineProcess, find, free_port, until};
use crate::Result;

/// A Redis without persistence. It is killed when this is dropped.
pub(crate) struct PrivateRedis {
    process: EngineProcess,
    port: u16,
    _dir: TempDir,
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
        let port = free_port()?;
        let (port_text, dir_text) = (port.to_string(), dir.path().to_string_lossy());
        let process = EngineProcess::start(
            program,
            [
                ["--bind", "127.0.0.1"],
                ["--port", &port_text],
                ["--dir", &dir_text],
                ["--save", ""],
                ["--appendonly", "no"],
            ]
            .as_flattened(),
        )?;
        let redis = Self { process, port, _dir: dir };
        redis.wait_until_ready().await?;
        Ok(redis)
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Kills it without notice (SIGKILL); its data are lost.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again, on the same port.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        self.process.restart()?;
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
        until("redis", async || client.get_multiplexed_async_connection().await).await?;
        Ok(())
    }
}

/// The server, or `redis-check-rdb`, which is the same program under another name.
fn program(dir: &Path) -> Result<PathBuf> {
    if let Some(server) = find(&["redis-server"]) {
        return Ok(server);
    }
    let check = find(&["redis-check-rdb"]).ok_or("redis-server is not installed")?;
    let link = dir.join("redis-server");
    symlink(check, &link)?;
    Ok(link)
}
