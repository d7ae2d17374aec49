//! Keeps the promise that what was accepted reaches its end: offers hints again that seem lost,
//! and takes back leases that ran out.

use std::time::Duration;

use shiori_sdk::Timestamp;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::app::App;

/// Rows of a kind in one round.
const BATCH: u32 = 100;

/// Rounds of purging at a time, so that a flood of failed logins does not outgrow it for long.
const PURGE_ROUNDS: u32 = 100;

/// How long a round may take. What it had begun is left to the next.
const ROUND_LIMIT: Duration = Duration::from_secs(60);

/// The pause after a round that found less than a full batch.
const PERIOD: Duration = Duration::from_secs(1);

/// Sessions past their time are deleted this often.
const PURGE_PERIOD: Duration = Duration::from_secs(60);

/// Runs until `shutdown`. Any number of servers may run one over the same rows.
pub(crate) async fn run(app: App, shutdown: CancellationToken) {
    let mut purged = Timestamp::UNIX_EPOCH;
    loop {
        let full = match timeout(ROUND_LIMIT, app.summaries.dispatch(BATCH)).await {
            Ok(Ok(found)) => found >= BATCH as usize,
            Err(_) => {
                tracing::warn!("dispatcher round took too long");
                false
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "dispatcher round failed");
                false
            }
        };
        let now = app.clock.now();
        if now.duration_since(purged) >= PURGE_PERIOD {
            purged = now;
            purge(&app, now).await;
        }
        // Even a full batch is followed by a breath, so that a backlog never starves requests.
        let pause = if full { PERIOD / 20 } else { PERIOD };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn purge(app: &App, now: Timestamp) {
    for _ in 0..PURGE_ROUNDS {
        match app.sessions.purge_expired(now, BATCH).await {
            Ok(deleted) if deleted >= u64::from(BATCH) => {}
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(%error, "sessions not purged");
                return;
            }
        }
    }
}
