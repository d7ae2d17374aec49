use std::process::Command;

use sqlx::{Connection, MySqlConnection};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use super::{EngineProcess, find, free_port, until};
use crate::Result;

/// A MariaDB. It is killed when this is dropped.
pub(crate) struct PrivateMariaDb {
    process: EngineProcess,
    port: u16,
    _dir: TempDir,
}

impl PrivateMariaDb {
    /// Starts a MariaDB on a free port.
    ///
    /// # Errors
    ///
    /// If it is not installed or does not start.
    pub(crate) async fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let missing = "MariaDB is not installed";
        let install = find(&["mariadb-install-db", "mysql_install_db"]).ok_or(missing)?;
        let program = find(&["mariadbd", "mysqld"]).ok_or(missing)?;
        let path = dir.path().display();
        let mut arguments = vec!["--no-defaults".to_owned(), format!("--datadir={path}/data")];
        // It would delete temporary tables of other servers in /tmp.
        arguments.push(format!("--tmpdir={path}"));
        if rustix::process::geteuid().is_root() {
            arguments.push("--user=root".to_owned());
        }
        let mut installation = Command::new(install);
        installation.args(&arguments);
        installation.args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
        let installed = spawn_blocking(move || installation.output()).await??;
        if !installed.status.success() {
            return Err("MariaDB's tables could not be created".into());
        }
        let port = free_port()?;
        arguments.extend([
            format!("--port={port}"),
            format!("--socket={path}/socket"),
            format!("--pid-file={path}/pid"),
            "--bind-address=127.0.0.1".to_owned(),
            "--innodb-buffer-pool-size=64M".to_owned(),
            "--max-connections=500".to_owned(),
            "--character-set-server=utf8mb4".to_owned(),
        ]);
        let process = EngineProcess::start(program, arguments)?;
        let mariadb = Self { process, port, _dir: dir };
        mariadb.wait_until_ready().await?;
        Ok(mariadb)
    }

    /// The URL of its administrator, who needs no password on the loopback.
    pub(crate) fn url(&self) -> String {
        format!("mysql://root@127.0.0.1:{}/mysql", self.port)
    }

    /// Kills it without notice (SIGKILL).
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Stops it in good order (SIGTERM).
    ///
    /// # Errors
    ///
    /// If it does not stop.
    pub(crate) async fn terminate(&mut self) -> Result<()> {
        self.process.terminate().await
    }

    /// Starts it again, on the same port, and waits for its recovery.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        self.process.restart()?;
        self.wait_until_ready().await
    }

    async fn wait_until_ready(&self) -> Result<()> {
        let url = self.url();
        until("MariaDB", async || MySqlConnection::connect(&url).await?.close().await).await
    }
}
