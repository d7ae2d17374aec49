//! Disk faults: strace injects errors into the system calls of the real process, and a full disk is
//! a small separate file system.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use super::{Writer, has_succeeded, readiness, start};
use crate::{fixtures::day, metrics::Scrape, process::Process};

/// The files of the store.
const FILES: [&str; 2] = ["shiori.db", "shiori.db-wal"];

/// Injects faults into the system calls of a process until it is removed.
struct Strace(Child);

impl Strace {
    /// Injects this fault into these system calls on the store's files in `dir`, or on one of them.
    async fn attach(
        server: &Process,
        dir: &Path,
        files: &[&str],
        calls: &str,
        fault: &str,
    ) -> Self {
        let mut command = Command::new("strace");
        command.args(["-f", "-o", "/dev/null", "-p", &server.pid().to_string()]);
        command.args(["-e", &format!("trace={calls}")]);
        command.args(["-e", &format!("inject={calls}:{fault}")]);
        for file in files {
            command.arg("-P").arg(dir.join(file));
        }
        let mut child =
            command.stderr(Stdio::piped()).kill_on_drop(true).spawn().expect("strace is installed");
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        loop {
            let line = log.next_line().await.unwrap().expect("strace is permitted to attach");
            assert!(!line.contains("not permitted"), "{line}");
            if line.contains("attached") {
                break;
            }
        }
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        Self(child)
    }

    async fn remove(mut self) {
        let pid = self.0.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
        self.0.wait().await.unwrap();
    }
}

const WRITES: &str = "write,pwrite64,ftruncate,fallocate";
const SYNCS: &str = "fsync,fdatasync";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs strace"]
async fn no_save_is_acknowledged_before_it_is_on_the_disk() {
    const DELAY: Duration = Duration::from_millis(300);
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path()).await;
    let writer = Writer::new(&server).await;
    let fault = format!("delay_enter={}", DELAY.as_micros());
    let strace = Strace::attach(&server, dir.path(), &FILES, SYNCS, &fault).await;
    for round in 0..3 {
        let version = (round > 0).then_some(round);
        // Concurrent saves of eight days, and a second save of one of them.
        let saves = (1..=8).chain([8]).map(async |n| {
            let started = Instant::now();
            (writer.save(day(n), version, "늦은 디스크").await, started.elapsed())
        });
        let answers = join_all(saves).await;
        let saved = answers.iter().filter(|(status, _)| has_succeeded(*status)).count();
        assert_eq!(saved, 8, "{answers:?}");
        for (status, took) in answers {
            assert!(took >= DELAY, "{status:?} after {took:?}");
        }
    }
    strace.remove().await;
    server.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs strace"]
async fn saves_fail_while_the_disk_fails_and_succeed_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path()).await;
    let writer = Writer::new(&server).await;
    assert_eq!(writer.save(day(1), None, "먼저").await, Some(201));
    let mut version = 1;
    for (calls, error) in [(SYNCS, "EIO"), (WRITES, "EIO"), (WRITES, "ENOSPC")] {
        let fault = format!("error={error}");
        let strace = Strace::attach(&server, dir.path(), &FILES, calls, &fault).await;
        let saves = (1..=8).map(async |n| {
            let version = (n == 1).then_some(version);
            writer.save(day(n), version, "실패").await
        });
        for status in join_all(saves).await {
            assert_eq!(status, Some(503), "{calls} {error}");
        }
        assert_eq!(readiness(&server).await, 503, "{calls} {error}");
        let (stored, text) = writer.read(day(1)).await.expect("there");
        assert_eq!((stored, text != "실패"), (version, true), "{calls} {error}");
        assert_eq!(writer.read(day(2)).await, None);
        strace.remove().await;

        assert_eq!(readiness(&server).await, 200, "{calls} {error}");
        let text = format!("{calls} {error} 다음");
        assert_eq!(writer.save(day(1), Some(version), &text).await, Some(200));
        version += 1;
        assert_eq!(writer.read(day(1)).await, Some((version, text)));
    }
    let scrape = Scrape::of(server.url()).await;
    assert!(scrape.value("shiori_diary_saves_total{outcome=\"error\"}") >= 24.0);
    let errors = "shiori_store_errors_total{engine=\"sqlite\",kind=\"unavailable\"}";
    assert!(scrape.value(errors) >= 24.0);
    let acknowledged = writer.read(day(1)).await;
    server.kill().await;
    let server = start(dir.path()).await;
    let writer = Writer::returning(&server, writer.email).await;
    assert_eq!(writer.read(day(1)).await, acknowledged);
    assert_eq!(writer.read(day(2)).await, None);
    server.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs strace"]
async fn a_failure_of_any_write_or_sync_of_a_save_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path()).await;
    let writer = Writer::new(&server).await;
    let mut version = None;
    let (mut failed, mut unharmed) = (0, 0);
    for (calls, error) in [(WRITES, "ENOSPC"), (WRITES, "EIO"), (SYNCS, "EIO")] {
        for nth in 1_u32.. {
            // Until a save succeeds because it has fewer than `nth` of these calls.
            let fault = format!("error={error}:when={nth}");
            let strace = Strace::attach(&server, dir.path(), &FILES, calls, &fault).await;
            let text = format!("{error} {nth} {}", "글".repeat(2000));
            let status = writer.save(day(1), version, &text).await;
            strace.remove().await;
            if has_succeeded(status) {
                version = Some(version.unwrap_or(0) + 1);
                assert_eq!(writer.read(day(1)).await, Some((version.unwrap(), text)));
                unharmed += 1;
                break;
            }
            assert_eq!(status, Some(503), "{calls} {error} {nth}");
            failed += 1;
            let stored = writer.read(day(1)).await.map(|(version, _)| version);
            assert_eq!(stored, version, "{calls} {error} {nth}");
            let text = format!("{error} {nth} 다음");
            assert!(has_succeeded(writer.save(day(1), version, &text).await), "{error} {nth}");
            version = Some(version.unwrap_or(0) + 1);
        }
    }
    assert_eq!(unharmed, 3);
    assert!(failed >= 3, "the fault was not injected");
    let acknowledged = writer.read(day(1)).await;
    server.kill().await;
    let server = start(dir.path()).await;
    let writer = Writer::returning(&server, writer.email).await;
    assert_eq!(writer.read(day(1)).await, acknowledged);
    server.terminate().await;
}

/// Copying the write-ahead log into the file fails. Saves continue, because the log contains
/// everything.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs strace"]
async fn saves_succeed_while_checkpoints_fail() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path()).await;
    let writer = Writer::new(&server).await;
    let strace = Strace::attach(&server, dir.path(), &FILES[..1], WRITES, "error=ENOSPC").await;
    // More than the 1000 pages after which a checkpoint starts.
    for version in 0..20 {
        let text = if version % 2 == 0 { "글" } else { "말" }.repeat(100_000);
        let status = writer.save(day(1), (version > 0).then_some(version), &text).await;
        assert!(has_succeeded(status), "{status:?}");
    }
    let log = dir.path().join("shiori.db-wal").metadata().unwrap().len();
    assert!(log > 5_000_000, "a checkpoint succeeded: {log}");
    strace.remove().await;
    assert_eq!(writer.save(day(1), Some(20), "끝").await, Some(200));
    server.kill().await;
    let server = start(dir.path()).await;
    let writer = Writer::returning(&server, writer.email).await;
    assert_eq!(writer.read(day(1)).await, Some((21, "끝".to_owned())));
    server.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs unshare and the right to mount"]
async fn saves_fail_while_the_disk_is_full_and_succeed_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let server = Process::server_on_a_small_disk(&[
        ("SHIORI_DATA_DIR", dir.path().to_str().unwrap()),
        ("SHIORI_WORKER", "none"),
    ])
    .await;
    let writer = Writer::new(&server).await;
    assert_eq!(writer.save(day(1), None, "먼저").await, Some(201));
    // The directory in the mount namespace of the server.
    let inside = format!("/proc/{}/root{}", server.pid(), dir.path().display());
    let filler = Path::new(&inside).join("filler");
    let mut acknowledged = BTreeMap::from([(day(1), (1, "먼저".to_owned()))]);
    for round in 0..3 {
        // Fills the disk completely.
        let full = std::fs::write(&filler, vec![0; 64 << 20]).expect_err("the disk is full");
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        let text = format!("{round} 회 {}", "글".repeat(30_000));
        let mut rejected = 0;
        // The log may still have free space.
        for n in (2..=28).cycle().take(200) {
            let version = acknowledged.get(&day(n)).map(|(version, _)| *version);
            match writer.save(day(n), version, &text).await {
                Some(200 | 201) => {
                    acknowledged.insert(day(n), (version.unwrap_or(0) + 1, text.clone()));
                }
                status => {
                    assert_eq!(status, Some(503));
                    rejected += 1;
                }
            }
            if rejected == 5 {
                break;
            }
        }
        assert_eq!(rejected, 5, "the disk was never full");
        assert_eq!(readiness(&server).await, 503);
        std::fs::remove_file(&filler).unwrap();
        assert_eq!(readiness(&server).await, 200);
        let version = acknowledged[&day(1)].0;
        assert_eq!(writer.save(day(1), Some(version), &text).await, Some(200));
        acknowledged.insert(day(1), (version + 1, text));
        for (date, stored) in &acknowledged {
            assert_eq!(writer.read(*date).await.as_ref(), Some(stored));
        }
    }
    server.terminate().await;
}
