//! Engines that only this run uses, so that they can be killed and stopped.

mod mariadb;
mod mongodb;
mod redis;
mod sockets;

use std::{
    env,
    ffi::{OsStr, OsString},
    io,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

pub(crate) use self::{
    mariadb::PrivateMariaDb,
    mongodb::{CommandFailure, ELECTION_TIMEOUT, PrivateReplicaSet},
    redis::PrivateRedis,
};
use crate::Result;

/// How long an engine may take to start or to stop.
const LIMIT: Duration = Duration::from_secs(60);

/// The pause between two looks at an engine that starts or stops.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A process of an engine. It is killed when this is dropped.
struct EngineProcess {
    program: PathBuf,
    arguments: Vec<OsString>,
    child: Child,
}

impl EngineProcess {
    fn start<A: AsRef<OsStr>>(
        program: PathBuf,
        arguments: impl IntoIterator<Item = A>,
    ) -> io::Result<Self> {
        let arguments: Vec<OsString> = arguments.into_iter().map(|it| it.as_ref().into()).collect();
        let child = spawn(&program, &arguments)?;
        Ok(Self { program, arguments, child })
    }

    fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it without notice (SIGKILL).
    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Stops it in good order (SIGTERM), and waits until it has ended.
    async fn terminate(&mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        let deadline = Instant::now() + LIMIT;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                return Err(format!("{} does not stop", self.program.display()).into());
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Starts it again after it was killed or stopped.
    fn restart(&mut self) -> io::Result<()> {
        self.child = spawn(&self.program, &self.arguments)?;
        Ok(())
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }
}

impl Drop for EngineProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(program: &Path, arguments: &[OsString]) -> io::Result<Child> {
    let mut command = Command::new(program);
    command.args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}

/// The first of these programs that is installed.
fn find(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<_> = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]).collect();
    let programs = names.iter().flat_map(|name| dirs.iter().map(move |dir| dir.join(name)));
    programs.into_iter().find(|program| program.is_file())
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Repeats an attempt until it succeeds.
async fn until<T, E: std::fmt::Display>(
    what: &str,
    mut attempt: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T> {
    let deadline = Instant::now() + LIMIT;
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) if Instant::now() > deadline => {
                return Err(format!("{what}: {error}").into());
            }
            Err(_) => sleep(LOOK_EVERY).await,
        }
    }
}
