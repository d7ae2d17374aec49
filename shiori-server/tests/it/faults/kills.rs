//! SIGKILL at random moments.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use rand::RngExt;
use shiori_sdk::Date;

use super::{Writer, readiness, start};
use crate::fixtures::{day, wait_until};

/// Each round saves on many connections until SIGKILL at a random moment. `SHIORI_TEST_KILLS` sets
/// the number of rounds: 8 by default, 200 for a long run.
#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_no_acknowledged_save() {
    const DAYS: u8 = 16;
    let rounds = std::env::var("SHIORI_TEST_KILLS").ok();
    let rounds: u32 = rounds.map_or(8, |rounds| rounds.parse().expect("a number"));
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path()).await;
    let mut writer = Writer::new(&server).await;
    let mut running = Some(server);
    let mut acknowledged: BTreeMap<Date, u64> = BTreeMap::new();
    let text = |date: Date, version: u64| format!("{date}의 {version}판 {}", "글".repeat(500));
    for _ in 0..=rounds {
        let server = match running.take() {
            Some(server) => server,
            None => {
                let server = start(dir.path()).await;
                writer = Writer::returning(&server, writer.email).await;
                server
            }
        };
        for n in 1..=DAYS {
            let known = acknowledged.get(&day(n)).copied().unwrap_or(0);
            let stored = writer.read(day(n)).await;
            let version = stored.as_ref().map_or(0, |(version, _)| *version);
            // The save in progress may have been stored, and its response lost.
            assert!(
                (known..=known + 1).contains(&version),
                "acknowledged {known}, stored {version}"
            );
            assert!(stored.is_none_or(|(version, stored)| stored == text(day(n), version)));
            acknowledged.insert(day(n), version);
        }
        let saving = acknowledged.iter().map(async |(&date, &last)| {
            let mut last = last;
            let next = |last: u64| ((last > 0).then_some(last), text(date, last + 1));
            loop {
                let (version, text) = next(last);
                match writer.save(date, version, &text).await {
                    Some(200 | 201) => last += 1,
                    None => return (date, last),
                    Some(status) => panic!("unexpected status {status}"),
                }
            }
        });
        let killing = async {
            let moment = rand::rng().random_range(20..250);
            tokio::time::sleep(Duration::from_millis(moment)).await;
            server.kill().await;
        };
        let (saved, ()) = tokio::join!(join_all(saving), killing);
        let saved: BTreeMap<_, _> = saved.into_iter().collect();
        acknowledged = saved;
    }
    assert!(acknowledged.values().sum::<u64>() > u64::from(DAYS), "too few saves");
    // The file is not damaged.
    let server = start(dir.path()).await;
    wait_until("the server is ready", async || readiness(&server).await == 200).await;
    server.terminate().await;
}
