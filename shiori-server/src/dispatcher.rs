//! The background loops that ensure that accepted work is completed: one expires leases, one offers
//! lost hints again, one does what changes of accounts require, and two delete expired sessions and
//! revisions.

use std::time::Duration;

use shiori_sdk::Timestamp;
use tokio::{
    join,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    account_tasks,
    app::App,
    summary::{HintCheck, Summaries},
};

/// Maximum rows of each kind in one round.
const BATCH: u32 = 100;

/// Maximum batches of one purge. Many, because failed logins may create rows fast.
const PURGE_BATCHES: u32 = 100;

/// The timeout of a round. The next round continues its work.
const ROUND_TIMEOUT: Duration = Duration::from_secs(60);

/// The timeout of releasing the lease of the check on shutdown.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// The pause after a round with less than a full batch.
const PAUSE: Duration = Duration::from_secs(1);

/// The pause after a full batch. Not zero, so that a backlog never starves requests.
const SHORT_PAUSE: Duration = Duration::from_millis(50);

/// How often expired sessions and revisions are deleted.
const PURGE_INTERVAL: Duration = Duration::from_secs(60);

/// Runs until `shutdown`. Several servers may run a dispatcher over the same rows.
pub(crate) async fn run(app: App, shutdown: CancellationToken) {
    join!(
        run_summaries(&app.summaries, &shutdown),
        run_account_tasks(&app, &shutdown),
        expire_sessions(&app, &shutdown),
        expire_revisions(&app, &shutdown),
    );
}

/// The loops that ensure that every summary ends.
pub(crate) async fn run_summaries(summaries: &Summaries, shutdown: &CancellationToken) {
    join!(expire(summaries, shutdown), check_hints(summaries, shutdown));
}

/// Expires leases.
async fn expire(summaries: &Summaries, shutdown: &CancellationToken) {
    run_rounds(shutdown, (), |()| async move { ((), expire_leases(summaries).await) }).await;
}

/// Deletes expired sessions.
async fn expire_sessions(app: &App, shutdown: &CancellationToken) {
    run_rounds(shutdown, Timestamp::UNIX_EPOCH, |mut last_purge| async move {
        let now = app.clock.now();
        if now.duration_since(last_purge) >= PURGE_INTERVAL {
            last_purge = now;
            purge(app, now).await;
        }
        (last_purge, PAUSE)
    })
    .await;
}

/// Deletes expired revisions.
async fn expire_revisions(app: &App, shutdown: &CancellationToken) {
    run_rounds(shutdown, Timestamp::UNIX_EPOCH, |mut last_purge| async move {
        let now = app.clock.now();
        if now.duration_since(last_purge) >= PURGE_INTERVAL {
            last_purge = now;
            purge_revisions(app, now).await;
        }
        (last_purge, PAUSE)
    })
    .await;
}

/// Offers lost hints again while this server has the lease of the check.
async fn check_hints(summaries: &Summaries, shutdown: &CancellationToken) {
    let check = HintCheck::new();
    let holder = check.holder();
    run_rounds(shutdown, check, |mut check| async move {
        let pause = check_batch(summaries, &mut check).await;
        (check, pause)
    })
    .await;
    if timeout(RELEASE_TIMEOUT, summaries.release_check(holder)).await.is_err() {
        tracing::debug!("releasing the lease of the check timed out; it expires");
    }
}

/// Runs the tasks of changed accounts.
async fn run_account_tasks(app: &App, shutdown: &CancellationToken) {
    run_rounds(shutdown, (), |()| async move {
        match account_tasks::run_due(app, BATCH).await {
            Ok(found) if found >= BATCH as usize => return ((), SHORT_PAUSE),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "could not read the account tasks"),
        }
        ((), PAUSE)
    })
    .await;
}

/// Repeats the round. Each round returns its state and the pause before the next one. On
/// `shutdown`, a round ends at its current await: each of its steps is atomic, and another
/// dispatcher continues.
async fn run_rounds<S, F>(shutdown: &CancellationToken, mut state: S, round: impl Fn(S) -> F)
where
    F: Future<Output = (S, Duration)>,
{
    let rounds = async {
        loop {
            let pause;
            (state, pause) = round(state).await;
            sleep(pause).await;
        }
    };
    // Without a shutdown, the rounds never end.
    let _: Option<()> = shutdown.run_until_cancelled(rounds).await;
}

/// One batch of the check. Returns the pause before the next one.
async fn check_batch(summaries: &Summaries, check: &mut HintCheck) -> Duration {
    match timeout(ROUND_TIMEOUT, summaries.check_hints(check)).await {
        Ok(Ok(pause)) => return pause,
        Ok(Err(error)) => tracing::warn!(%error, "could not check the hints in the queue"),
        Err(_) => tracing::warn!("checking the hints in the queue timed out"),
    }
    PAUSE
}

/// One round over the expired leases. Returns the pause before the next one.
async fn expire_leases(summaries: &Summaries) -> Duration {
    match timeout(ROUND_TIMEOUT, summaries.expire_leases(BATCH)).await {
        Ok(Ok(found)) if found >= BATCH as usize => return SHORT_PAUSE,
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(%error, "could not expire leases"),
        Err(_) => tracing::warn!("expiring leases timed out"),
    }
    PAUSE
}

async fn purge(app: &App, now: Timestamp) {
    for _ in 0..PURGE_BATCHES {
        match app.sessions.purge_expired(now, BATCH).await {
            Ok(deleted) if deleted >= u64::from(BATCH) => {}
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(%error, "could not delete expired sessions");
                return;
            }
        }
    }
}

/// Deletes expired revisions; all, if the history is off.
async fn purge_revisions(app: &App, now: Timestamp) {
    let until = app.limits.history.expired_until(now);
    for _ in 0..PURGE_BATCHES {
        match app.diaries.expire_revisions(until, BATCH).await {
            Ok(deleted) if deleted >= u64::from(BATCH) => {}
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(%error, "could not delete expired revisions");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, ready},
        sync::Arc,
    };

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn a_round_ends_on_shutdown() {
        let (shutdown, started) = (CancellationToken::new(), Arc::new(Notify::new()));
        let running = tokio::spawn({
            let (shutdown, started) = (shutdown.clone(), started.clone());
            async move {
                run_rounds(&shutdown, (), |()| {
                    started.notify_one();
                    pending()
                })
                .await;
            }
        });
        started.notified().await;
        shutdown.cancel();
        timeout(Duration::from_secs(10), running)
            .await
            .expect("the dispatcher ends")
            .expect("no panic");
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_starts_after_the_pause_of_the_previous_one() {
        let (shutdown, started) = (CancellationToken::new(), tokio::time::Instant::now());
        run_rounds(&shutdown, 1, |nth| {
            if nth == 3 {
                shutdown.cancel();
            }
            ready((nth + 1, PAUSE))
        })
        .await;
        assert_eq!(started.elapsed(), 2 * PAUSE);
    }
}
