//! What a change of an account requires in other stores: ending sessions, and erasing the data of a
//! deleted account.
//!
//! The task is stored in the same transaction as the change. Every step is idempotent, and the task
//! is deleted after the last one, so it is completed whatever is killed meanwhile. Several servers
//! may run the same task.

use std::time::Duration;

use shiori_sdk::{SessionId, Timestamp};

use crate::{
    app::App,
    failpoint,
    store::{Account, AccountStore, AccountTask, AccountWork, SessionStore, StoreError},
    throttle,
};

/// Rows that one step of an erasure deletes. Few, because saves of other users wait for it.
const ERASE_BATCH: u32 = 100;

/// How long a started task is left to the server that runs it. A task that takes longer is started by
/// another server, too, which does no harm.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// How much longer than the timeout of a request a write may take to become visible.
const WRITE_DELAY: Duration = Duration::from_secs(30);

/// The failpoint after each step.
const STEP: &str = "account_task";

/// Runs the tasks that are due, at most `limit`. Returns how many it found.
///
/// # Errors
///
/// [`StoreError`] if the store of accounts is unavailable. A task that fails is logged and repeated
/// later.
pub(crate) async fn run_due(app: &App, limit: u32) -> Result<usize, StoreError> {
    let tasks = app.accounts.due_tasks(app.clock.now(), limit).await?;
    for task in &tasks {
        let retry_at = app.clock.now() + RETRY_AFTER;
        if !app.accounts.postpone_task(task, retry_at).await? {
            continue;
        }
        failpoint::reached(STEP);
        let started = AccountTask { due_at: retry_at, ..task.clone() };
        if let Err(error) = run(app, &started).await {
            tracing::warn!(%error, user = %task.user, "an account task failed and is repeated");
        }
    }
    Ok(tasks.len())
}

/// Runs a task, and deletes it when all of it is done.
pub(crate) async fn run(app: &App, task: &AccountTask) -> Result<(), StoreError> {
    match task.work {
        AccountWork::EndSessions { except } => {
            end_sessions(&*app.accounts, &*app.sessions, task, except).await
        }
        AccountWork::Erase { attempts_key } => erase(app, task, &attempts_key).await,
    }
}

/// The work that the deletion of this account requires.
pub(crate) fn erasure(account: &Account) -> AccountWork {
    AccountWork::Erase { attempts_key: throttle::account_key(account.email.as_str()) }
}

/// Ends the sessions of a user whose password was changed.
pub(crate) async fn end_sessions(
    accounts: &dyn AccountStore,
    sessions: &dyn SessionStore,
    task: &AccountTask,
    except: Option<SessionId>,
) -> Result<(), StoreError> {
    sessions.revoke_all(task.user, task.created_at, except).await?;
    failpoint::reached(STEP);
    accounts.finish_task(task).await
}

/// A round of an erasure. A save or a summary request that was authenticated before its session
/// ended may be stored later than a round. So rounds are repeated until one that is later than any
/// such request finds nothing.
async fn erase(app: &App, task: &AccountTask, attempts_key: &[u8; 32]) -> Result<(), StoreError> {
    let longest_request = app.limits.request_timeout.saturating_add(WRITE_DELAY);
    let started = app.clock.now();
    // First, so that no new request writes anything.
    let mut found =
        app.sessions.revoke_all(task.user, Timestamp::from_millis(i64::MAX), None).await?;
    failpoint::reached(STEP);
    app.sessions.clear_attempts(attempts_key).await?;
    failpoint::reached(STEP);
    found += until_empty(|| app.diaries.erase(task.user, ERASE_BATCH)).await?;
    // After the diaries, whose saves and deletions add revisions.
    found += until_empty(|| app.diaries.purge_revisions(task.user, None, ERASE_BATCH)).await?;
    found += until_empty(|| app.summaries.erase(task.user, ERASE_BATCH)).await?;
    let is_last = found == 0 && started.duration_since(task.created_at) >= longest_request;
    if is_last {
        app.accounts.finish_task(task).await?;
        tracing::info!(user = %task.user, "the data of a deleted account is erased");
        return Ok(());
    }
    app.accounts.postpone_task(task, started + longest_request).await?;
    Ok(())
}

/// Repeats a step that deletes at most [`ERASE_BATCH`] rows until it finds fewer. Returns their number.
async fn until_empty<F>(step: impl Fn() -> F) -> Result<u64, StoreError>
where
    F: Future<Output = Result<u64, StoreError>>,
{
    let mut erased = 0;
    loop {
        let batch = step().await?;
        failpoint::reached(STEP);
        erased += batch;
        if batch < u64::from(ERASE_BATCH) {
            return Ok(erased);
        }
    }
}
