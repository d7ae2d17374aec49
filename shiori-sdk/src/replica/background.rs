//! The work in the background.

use std::{convert::Infallible, pin::pin, time::Duration};

use futures_util::{FutureExt, StreamExt};
use uuid::Uuid;

use super::{event::ReplicaEvent, handle::Replica};
use crate::{
    backoff::Backoff,
    diary::DiaryWatch,
    transport::{
        deadline,
        error::{Error, ErrorKind, Result},
    },
};

/// The pauses after a failed round.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));

/// How often a login is looked for after the session has ended. This needs no request.
const LOGIN_INTERVAL: Duration = Duration::from_millis(500);

/// What a failure means for the work in the background.
enum Failure {
    /// The server cannot be reached, or fails.
    Temporary,
    /// Only a login helps.
    Session,
    /// The store fails.
    Permanent,
}

impl Replica {
    /// Keeps the replica and the server equal until `shutdown` is ready: sends local changes as they are
    /// made, [watches](crate::Diaries::watch) the changes of other devices, and merges them.
    ///
    /// While the server cannot be reached, it tries again with pauses of up to 30 seconds. When the
    /// session ends, it pauses until the account signs in again. [`events`](Self::events) reports
    /// both.
    ///
    /// Run it once for each replica. Dropping the future stops it, and a later call continues.
    ///
    /// # Errors
    ///
    /// [`Error`] of kind [`ErrorKind::ReplicaStore`] or [`ErrorKind::ReplicaDamaged`] if the store
    /// fails. After [`sign_out`](Self::sign_out) it returns without an error.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) -> Result<()> {
        let mut shutdown = pin!(shutdown.fuse());
        let mut failures: u32 = 0;
        loop {
            let login = self.client.login().ok();
            let Err(error) = tokio::select! {
                () = &mut shutdown => return Ok(()),
                failed = self.keep_equal(&mut failures) => failed,
            };
            if self.days().is_closed() {
                return Ok(());
            }
            let wait = match failure(&error) {
                Failure::Permanent => return Err(error),
                Failure::Session => {
                    let _ = self.shared.events.send(ReplicaEvent::Paused);
                    self.next_login(login).left_future()
                }
                Failure::Temporary => {
                    failures = failures.saturating_add(1);
                    let _ = self.shared.events.send(ReplicaEvent::Failed(error.kind()));
                    let pause = BACKOFF.pause(failures, rand::random());
                    let least = error.retry_after().unwrap_or_default();
                    deadline::sleep(pause.max(least)).right_future()
                }
            };
            tokio::select! {
                () = &mut shutdown => return Ok(()),
                () = wait => {}
            }
        }
    }

    /// Keeps the replica and the server equal until something fails.
    async fn keep_equal(&self, failures: &mut u32) -> Result<Infallible> {
        self.sync().await?;
        *failures = 0;
        let client = self.verified().await?;
        let mut watch = client.diaries().watch_since(self.days().known());
        loop {
            self.next_change(&mut watch).await?;
            let client = self.verified().await?;
            let mut listed = self.shared.listed.lock().await;
            self.exchange(&client, &mut listed).await?;
        }
    }

    /// Waits for a change, here or on another device, and takes all that are there.
    async fn next_change(&self, watch: &mut DiaryWatch) -> Result<()> {
        let first = tokio::select! {
            () = self.shared.changed.notified() => None,
            version = watch.next() => Some(version),
        };
        let mut next = first;
        while let Some(version) = next {
            let version = version.ok_or_else(|| Error::new(ErrorKind::Disconnected))??;
            self.shared.listed.lock().await.add(version);
            next = watch.next().now_or_never();
        }
        Ok(())
    }

    /// Waits until the client has another login than the one that has failed.
    async fn next_login(&self, failed: Option<Uuid>) {
        while self.client.login().ok().is_none_or(|login| Some(login) == failed) {
            deadline::sleep(LOGIN_INTERVAL).await;
        }
    }
}

fn failure(error: &Error) -> Failure {
    match error.kind() {
        ErrorKind::SignedOut | ErrorKind::ReplicaMismatch => Failure::Session,
        ErrorKind::ReplicaStore | ErrorKind::ReplicaInUse | ErrorKind::ReplicaDamaged => {
            Failure::Permanent
        }
        _ => Failure::Temporary,
    }
}
