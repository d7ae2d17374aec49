use std::{path::PathBuf, time::Duration};

use futures_util::future::join_all;
use mongodb::{
    Client,
    bson::{Document, doc},
};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::timeout;

use super::{EngineProcess, find, free_port, until};
use crate::Result;

/// How long the others wait for a primary until they elect another one. The default, 10 s, would be
/// most of a run.
pub(crate) const ELECTION_TIMEOUT: Duration = Duration::from_secs(2);

/// Members of a replica set.
const MEMBERS: usize = 3;

/// How long a member may take to answer; a stopped one does not.
const ANSWER: Duration = Duration::from_secs(1);

/// A MongoDB replica set of three members. They are killed when this is dropped.
pub(crate) struct PrivateReplicaSet {
    members: Vec<Member>,
    _dir: TempDir,
}

struct Member {
    process: EngineProcess,
    /// Its host and port.
    address: String,
    /// A client of this member only.
    client: Client,
}

impl PrivateReplicaSet {
    /// Starts a replica set on free ports.
    ///
    /// # Errors
    ///
    /// If MongoDB is not installed, or does not start.
    pub(crate) async fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let program = program()?;
        let mut members = Vec::new();
        for nth in 0..MEMBERS {
            let data = dir.path().join(nth.to_string());
            std::fs::create_dir(&data)?;
            let port = free_port()?;
            let address = format!("127.0.0.1:{port}");
            let client =
                Client::with_uri_str(format!("mongodb://{address}/?directConnection=true"));
            let (port, data) = (port.to_string(), data.to_string_lossy());
            let process = EngineProcess::start(
                program.clone(),
                [
                    "--bind_ip=127.0.0.1",
                    &format!("--port={port}"),
                    &format!("--dbpath={data}"),
                    "--replSet=shiori",
                    "--wiredTigerCacheSizeGB=0.25",
                    "--oplogSize=128",
                    "--nounixsocket",
                    "--quiet",
                ],
            )?;
            members.push(Member { process, address, client: client.await? });
        }
        let set = Self { members, _dir: dir };
        join_all(set.members.iter().map(Member::wait_until_ready))
            .await
            .into_iter()
            .collect::<Result<()>>()?;
        let addresses = set.members.iter().map(|member| &member.address);
        let members: Vec<Document> =
            addresses.zip(0..).map(|(host, id)| doc! { "_id": id, "host": host }).collect();
        let timeout = i32::try_from(ELECTION_TIMEOUT.as_millis())?;
        // Several heartbeats within the election timeout.
        let settings = doc! {
            "electionTimeoutMillis": timeout,
            "heartbeatIntervalMillis": timeout / 4,
        };
        let config = doc! { "_id": "shiori", "members": members, "settings": settings };
        set.members[0].command(doc! { "replSetInitiate": config }).await?;
        set.primary().await?;
        Ok(set)
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        let addresses: Vec<_> = self.members.iter().map(|it| it.address.as_str()).collect();
        format!("mongodb://{}/shiori?replicaSet=shiori", addresses.join(","))
    }

    /// The number of the primary. Waits until there is one.
    ///
    /// # Errors
    ///
    /// If there is none for a long time.
    pub(crate) async fn primary(&self) -> Result<usize> {
        self.primary_other_than(None).await
    }

    /// As [`Self::primary`], but a member that claims to be the primary and is this one does not count.
    ///
    /// # Errors
    ///
    /// If there is none for a long time.
    pub(crate) async fn primary_other_than(&self, other: Option<usize>) -> Result<usize> {
        until("MongoDB's primary", async || {
            let members = self.members.iter().enumerate();
            let asked = members
                .filter(|(nth, _)| Some(*nth) != other)
                .map(async |(nth, member)| member.is_primary().await.then_some(nth));
            join_all(asked).await.into_iter().flatten().next().ok_or("there is none")
        })
        .await
    }

    /// The primary becomes a secondary, and the others elect another one.
    ///
    /// # Errors
    ///
    /// If it does not respond.
    pub(crate) async fn step_down(&self, nth: usize) -> Result<()> {
        // Only as long as the others need to elect another one.
        let seconds = i64::try_from(2 * ELECTION_TIMEOUT.as_secs())?;
        let command = doc! {
            "replSetStepDown": seconds,
            "secondaryCatchUpPeriodSecs": seconds / 2,
            "force": true,
        };
        self.members[nth].command(command).await
    }

    /// Kills a member without notice (SIGKILL).
    pub(crate) fn kill(&mut self, nth: usize) {
        self.members[nth].process.kill();
    }

    /// Starts a member again, on the same port.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub(crate) async fn restart(&mut self, nth: usize) -> Result<()> {
        self.members[nth].process.restart()?;
        self.members[nth].wait_until_ready().await
    }

    /// Stops a member (SIGSTOP), or continues it (SIGCONT).
    ///
    /// # Errors
    ///
    /// If it cannot receive signals.
    pub(crate) fn set_stopped(&self, nth: usize, stopped: bool) -> Result<()> {
        let signal = if stopped { Signal::STOP } else { Signal::CONT };
        Ok(self.members[nth].process.signal(signal)?)
    }
}

impl Member {
    async fn command(&self, command: Document) -> Result<()> {
        self.client.database("admin").run_command(command).await?;
        Ok(())
    }

    async fn wait_until_ready(&self) -> Result<()> {
        until("MongoDB", async || match timeout(ANSWER, self.command(doc! { "ping": 1 })).await {
            Ok(answered) => answered,
            Err(late) => Err(late.into()),
        })
        .await
    }

    async fn is_primary(&self) -> bool {
        let admin = self.client.database("admin");
        let hello = admin.run_command(doc! { "hello": 1 }).into_future();
        let Ok(Ok(hello)) = timeout(ANSWER, hello).await else { return false };
        hello.get_bool("isWritablePrimary").unwrap_or(false)
    }
}

/// The server, or the one that `scripts/services.py` has downloaded.
fn program() -> Result<PathBuf> {
    let downloaded = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/services/mongod");
    let downloaded = || Some(PathBuf::from(downloaded)).filter(|program| program.is_file());
    let missing = "mongod is not installed; `scripts/services.py start` downloads it";
    Ok(find(&["mongod"]).or_else(downloaded).ok_or(missing)?)
}
