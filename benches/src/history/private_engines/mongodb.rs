use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use mongodb::{
    Client,
    bson::{Document, Timestamp, doc},
};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::{net::TcpStream, time::timeout};

use super::{EngineProcess, find, free_port, sockets, until};
use crate::{
    Result,
    proxy::{Proxy, State},
};

/// How long the others wait for a primary until they elect another one. The default, 10 s, would be
/// most of a run.
pub(crate) const ELECTION_TIMEOUT: Duration = Duration::from_secs(2);

/// Members of a replica set.
const MEMBERS: usize = 3;

/// The number of the clients among the sources of connections, after the members.
const CLIENTS: usize = MEMBERS;

/// How long a member may take to answer; a stopped one does not.
const ANSWER: Duration = Duration::from_secs(1);

/// Commands that a failpoint makes fail: those of the server under test.
const FAILING: [&str; 7] =
    ["find", "getMore", "aggregate", "insert", "update", "findAndModify", "delete"];

/// The share of these commands that fail.
const FAIL_PROBABILITY: f64 = 0.3;

/// How a failpoint makes commands fail.
#[derive(Debug, Clone, Copy)]
pub(crate) enum CommandFailure {
    /// An error before the command has any effect.
    Rejected,
    /// The connection is closed before the command has any effect.
    Closed,
    /// The command has its effect, and its response says that it is not on a majority.
    NotAcknowledged,
    /// The command begins late.
    Delayed,
}

impl CommandFailure {
    /// All of them.
    pub(crate) const ALL: [Self; 4] =
        [Self::Rejected, Self::Closed, Self::NotAcknowledged, Self::Delayed];

    fn document(self) -> Document {
        match self {
            // PrimarySteppedDown
            Self::Rejected => doc! { "errorCode": 189 },
            Self::Closed => doc! { "closeConnection": true },
            // WriteConcernFailed
            Self::NotAcknowledged => {
                doc! { "writeConcernError": { "code": 64, "errmsg": "failpoint" } }
            }
            Self::Delayed => doc! { "blockConnection": true, "blockTimeMS": 1500 },
        }
    }
}

/// A MongoDB replica set of three members. They are killed when this is dropped.
pub(crate) struct PrivateReplicaSet {
    members: Vec<Member>,
    /// The process ids of the members, by which the proxies recognise their connections.
    pids: Arc<[AtomicU32]>,
    _dir: TempDir,
}

struct Member {
    process: EngineProcess,
    /// The only way for clients and other members.
    proxy: Proxy,
    /// A client of this member only, without the proxy.
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
        let pids: Arc<[AtomicU32]> = (0..MEMBERS).map(|_| AtomicU32::new(0)).collect();
        let mut members = Vec::new();
        for pid in pids.iter() {
            let data = dir.path().join(members.len().to_string());
            std::fs::create_dir(&data)?;
            let port = free_port()?;
            let address = format!("127.0.0.1:{port}");
            let source_of = {
                let pids = pids.clone();
                move |connection: &TcpStream| source_of(&pids, connection)
            };
            let proxy = Proxy::start_for_sources(&address, MEMBERS + 1, source_of).await?;
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
                    // For failpoints.
                    "--setParameter=enableTestCommands=1",
                ],
            )?;
            pid.store(process.id(), Ordering::Relaxed);
            members.push(Member { process, proxy, client: client.await? });
        }
        let set = Self { members, pids, _dir: dir };
        join_all(set.members.iter().map(Member::wait_until_ready))
            .await
            .into_iter()
            .collect::<Result<()>>()?;
        let members: Vec<Document> =
            set.addresses().zip(0..).map(|(host, id)| doc! { "_id": id, "host": host }).collect();
        let timeout = i32::try_from(ELECTION_TIMEOUT.as_millis())?;
        // Several heartbeats within the election timeout, and a new primary soon gives up on what an
        // unreachable member has.
        let settings = doc! {
            "electionTimeoutMillis": timeout,
            "heartbeatIntervalMillis": timeout / 4,
            "heartbeatTimeoutSecs": timeout / 1000,
            "catchUpTimeoutMillis": timeout / 2,
        };
        let config = doc! { "_id": "shiori", "members": members, "settings": settings };
        set.members[0].command(doc! { "replSetInitiate": config }).await?;
        set.primary().await?;
        Ok(set)
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        let addresses: Vec<_> = self.addresses().collect();
        format!("mongodb://{}/shiori?replicaSet=shiori", addresses.join(","))
    }

    /// The proxy of each member.
    pub(crate) fn proxies(&self) -> impl Iterator<Item = &Proxy> {
        self.members.iter().map(|member| &member.proxy)
    }

    /// The host and port of each member, as others call it.
    fn addresses(&self) -> impl Iterator<Item = String> {
        self.proxies().map(|proxy| proxy.address().to_string())
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

    /// Waits until every member knows that what was acknowledged before this call is on a majority.
    ///
    /// # Errors
    ///
    /// If they do not learn it for a long time.
    pub(crate) async fn settle(&self) -> Result<()> {
        let committed = until("a new primary's first write", async || self.committed().await);
        let committed = committed.await?;
        until("MongoDB's members", async || self.all_know(committed).await).await
    }

    /// The last write that is known to be on a majority, if the current primary has written itself.
    async fn committed(&self) -> Result<Timestamp> {
        let mut known = Vec::new();
        for member in &self.members {
            known.push(member.status().await?);
        }
        // An old primary does not know the current term yet.
        let term = known.iter().map(|status| status.term).max();
        let of_term = known.iter().filter(|status| Some(status.committed_in) == term);
        of_term.map(|status| status.committed).max().ok_or("it has none".into())
    }

    /// Checks that all members know that this write is on a majority.
    async fn all_know(&self, committed: Timestamp) -> Result<()> {
        for member in &self.members {
            if member.status().await?.committed < committed {
                return Err("one of them is behind".into());
            }
        }
        Ok(())
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
        self.pids[nth].store(self.members[nth].process.id(), Ordering::Relaxed);
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

    /// Changes what the proxies do with the connections between this member and the other ones.
    pub(crate) fn set_link_to_members(&self, nth: usize, state: State) {
        for other in (0..MEMBERS).filter(|other| *other != nth) {
            self.members[nth].proxy.set_state_for(other, state);
            self.members[other].proxy.set_state_for(nth, state);
        }
    }

    /// Changes what the proxy does with the connections between this member and its clients.
    pub(crate) fn set_link_to_clients(&self, nth: usize, state: State) {
        self.members[nth].proxy.set_state_for(CLIENTS, state);
    }

    /// Makes some commands of clients fail, or ends this.
    ///
    /// # Errors
    ///
    /// If a member does not respond.
    pub(crate) async fn fail_commands(&self, how: Option<CommandFailure>) -> Result<()> {
        let mut failpoint = doc! { "configureFailPoint": "failCommand", "mode": "off" };
        if let Some(how) = how {
            let mut data = how.document();
            data.insert("failCommands", FAILING.as_slice());
            failpoint.insert("mode", doc! { "activationProbability": FAIL_PROBABILITY });
            failpoint.insert("data", data);
        }
        for member in &self.members {
            member.command(failpoint.clone()).await?;
        }
        Ok(())
    }
}

/// What a member knows.
struct Status {
    /// The current term: each election begins another one.
    term: i64,
    /// The last write that it knows to be on a majority.
    committed: Timestamp,
    /// The term of this write.
    committed_in: i64,
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

    async fn status(&self) -> Result<Status> {
        let admin = self.client.database("admin");
        let status = admin.run_command(doc! { "replSetGetStatus": 1 }).into_future();
        let status = timeout(ANSWER, status).await??;
        let committed = status.get_document("optimes")?.get_document("lastCommittedOpTime")?;
        Ok(Status {
            term: status.get_i64("term")?,
            committed_in: committed.get_i64("t")?,
            committed: committed.get_timestamp("ts")?,
        })
    }

    async fn is_primary(&self) -> bool {
        let admin = self.client.database("admin");
        let hello = admin.run_command(doc! { "hello": 1 }).into_future();
        let Ok(Ok(hello)) = timeout(ANSWER, hello).await else { return false };
        hello.get_bool("isWritablePrimary").unwrap_or(false)
    }
}

/// Which member has opened this connection, or [`CLIENTS`].
fn source_of(pids: &[AtomicU32], connection: &TcpStream) -> usize {
    let addresses = connection.peer_addr().ok().zip(connection.local_addr().ok());
    let Some(socket) = addresses.and_then(|(from, to)| sockets::opened(from, to)) else {
        return CLIENTS;
    };
    let has_opened = |pid: &AtomicU32| sockets::has_socket(pid.load(Ordering::Relaxed), socket);
    pids.iter().position(has_opened).unwrap_or(CLIENTS)
}

/// The server, or the one that `scripts/services.py` has downloaded.
fn program() -> Result<PathBuf> {
    let downloaded = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/services/mongod");
    let downloaded = || Some(PathBuf::from(downloaded)).filter(|program| program.is_file());
    let missing = "mongod is not installed; `scripts/services.py start` downloads it";
    Ok(find(&["mongod"]).or_else(downloaded).ok_or(missing)?)
}
