//! Hints of changes for the event streams of users, on this server and from others.
//!
//! The versions in the stores are the truth. A hint only makes a client look earlier, so publishing
//! one neither waits nor fails. If a hint may have been lost, [`ChangeHint::Resync`] makes clients
//! compare the versions.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use shiori_sdk::{ChangeHint, UserId};
use tokio::{
    runtime::Handle,
    sync::broadcast::{self, error::RecvError},
    time::sleep,
};

/// Hints that a stream may be behind. A stream that is further behind gets [`ChangeHint::Resync`].
const BACKLOG: usize = 64;

/// How long a store may still apply a write whose outcome is unknown. More than the timeouts of the
/// stores' operations.
const UNCERTAIN: Duration = Duration::from_secs(6);

/// Publishes and receives hints.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes {
    streams: Arc<Mutex<Streams>>,
    /// Publishes hints to other servers.
    #[cfg(feature = "distributed")]
    outgoing: Option<outgoing::Sender>,
}

/// The streams of each user; only users with streams.
type Streams = HashMap<UserId, broadcast::Sender<ChangeHint>>;

impl Changes {
    /// Changes that are also sent to other servers.
    #[cfg(feature = "distributed")]
    pub(crate) fn with_outgoing(outgoing: outgoing::Sender) -> Self {
        Self { outgoing: Some(outgoing), ..Self::default() }
    }

    /// Sends a hint to all streams of this user, on all servers.
    pub(crate) fn publish(&self, user: UserId, hint: ChangeHint) {
        self.publish_local(user, hint);
        #[cfg(feature = "distributed")]
        if let Some(outgoing) = &self.outgoing {
            outgoing.send(user, hint);
        }
    }

    /// Makes the clients of this user compare the versions, unless the outcome of a write becomes
    /// known: the request may be dropped, or the store may fail, although the write is applied.
    pub(crate) fn begin_write(&self, user: UserId) -> Write {
        Write(Some((self.clone(), user)))
    }

    /// Sends a hint to the streams of this user on this server.
    pub(crate) fn publish_local(&self, user: UserId, hint: ChangeHint) {
        if let Some(sender) = self.lock().get(&user) {
            // Cannot fail: the sender is in the map as long as it has a receiver.
            let _ = sender.send(hint);
        }
    }

    /// Whether this user has a stream on this server.
    #[cfg(feature = "distributed")]
    pub(crate) fn has_stream(&self, user: UserId) -> bool {
        self.lock().contains_key(&user)
    }

    /// Makes all clients of this server compare the versions, because hints may have been lost.
    #[cfg(feature = "distributed")]
    pub(crate) fn resync_all_local(&self) {
        for sender in self.lock().values() {
            let _ = sender.send(ChangeHint::Resync);
        }
    }

    /// Subscribes to the hints of a user. The first one is [`ChangeHint::Resync`].
    pub(crate) fn subscribe(&self, user: UserId) -> ChangeStream {
        let mut streams = self.lock();
        let sender = streams.entry(user).or_insert_with(|| broadcast::Sender::new(BACKLOG));
        let receiver = sender.subscribe();
        drop(streams);
        ChangeStream { changes: self.clone(), user, receiver, must_resync: true }
    }

    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A write in progress. See [`Changes::begin_write`].
#[derive(Debug)]
#[must_use = "a write that is dropped has an unknown outcome"]
pub(crate) struct Write(Option<(Changes, UserId)>);

impl Write {
    /// The outcome is known. No await may follow before its hint is published.
    pub(crate) fn end(mut self) {
        self.0 = None;
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        let Some((changes, user)) = self.0.take() else { return };
        changes.publish(user, ChangeHint::Resync);
        // The write may be applied after the clients have compared.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                sleep(UNCERTAIN).await;
                changes.publish(user, ChangeHint::Resync);
            });
        }
    }
}

/// A subscription to the hints of one user.
#[derive(Debug)]
pub(crate) struct ChangeStream {
    changes: Changes,
    user: UserId,
    receiver: broadcast::Receiver<ChangeHint>,
    must_resync: bool,
}

impl ChangeStream {
    /// The next hint. Dropping the future loses none.
    pub(crate) async fn next(&mut self) -> ChangeHint {
        if std::mem::take(&mut self.must_resync) {
            return ChangeHint::Resync;
        }
        match self.receiver.recv().await {
            Ok(hint) => hint,
            // Closed cannot happen: the sender is in the map as long as it has a receiver.
            Err(RecvError::Lagged(_) | RecvError::Closed) => {
                // The hints that are left are older than the comparison.
                self.receiver = self.receiver.resubscribe();
                ChangeHint::Resync
            }
        }
    }
}

impl Drop for ChangeStream {
    fn drop(&mut self) {
        let mut streams = self.changes.lock();
        // Dropped within the lock: otherwise, two streams that end together would both find the
        // receiver of the other.
        drop(std::mem::replace(&mut self.receiver, broadcast::channel(1).1));
        if streams.get(&self.user).is_some_and(|sender| sender.receiver_count() == 0) {
            streams.remove(&self.user);
        }
    }
}

/// The queue of hints that are to be published to other servers.
#[cfg(feature = "distributed")]
pub(crate) mod outgoing {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    };

    use shiori_sdk::{ChangeHint, UserId};
    use tokio::sync::mpsc;

    /// Maximum hints that wait to be published; more are lost.
    const CAPACITY: usize = 1024;

    /// A queue.
    pub(crate) fn queue() -> (Sender, Receiver) {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        let lost = Arc::new(AtomicU64::new(0));
        (Sender { sender, lost: lost.clone() }, Receiver { receiver, lost })
    }

    /// Adds hints.
    #[derive(Debug, Clone)]
    pub(crate) struct Sender {
        sender: mpsc::Sender<(UserId, ChangeHint)>,
        lost: Arc<AtomicU64>,
    }

    impl Sender {
        /// Adds a hint, or counts it as lost if the queue is full.
        pub(super) fn send(&self, user: UserId, hint: ChangeHint) {
            if self.sender.try_send((user, hint)).is_err() {
                self.lost.fetch_add(1, Relaxed);
            }
        }
    }

    /// Takes hints.
    #[derive(Debug)]
    pub(crate) struct Receiver {
        receiver: mpsc::Receiver<(UserId, ChangeHint)>,
        lost: Arc<AtomicU64>,
    }

    impl Receiver {
        /// Moves the waiting hints, at most `limit`, into `batch`; waits if there are none. Returns
        /// `false` if no sender is left.
        pub(crate) async fn next(
            &mut self,
            batch: &mut Vec<(UserId, ChangeHint)>,
            limit: usize,
        ) -> bool {
            self.receiver.recv_many(batch, limit).await > 0
        }

        /// The number of hints that were lost since the last call.
        pub(crate) fn take_lost(&self) -> u64 {
            self.lost.swap(0, Relaxed)
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use shiori_sdk::{Date, DiaryChange, DiaryHint, Version};

    use super::*;

    fn hint(number: u64) -> ChangeHint {
        ChangeHint::Diary(DiaryHint {
            date: Date::new(2026, 2, 16).expect("a date"),
            version: Version::new(number),
            change: DiaryChange::Saved,
        })
    }

    #[tokio::test]
    async fn a_stream_begins_with_a_resync_and_has_the_hints_of_its_user() {
        let changes = Changes::default();
        let (user, other) = (UserId::new(), UserId::new());
        changes.publish(user, hint(1));
        let (mut one, mut two) = (changes.subscribe(user), changes.subscribe(user));
        changes.publish(other, hint(2));
        changes.publish(user, hint(3));
        for stream in [&mut one, &mut two] {
            assert_eq!(stream.next().await, ChangeHint::Resync);
            assert_eq!(stream.next().await, hint(3));
            assert_eq!(stream.next().now_or_never(), None);
        }
        drop(one);
        changes.publish(user, hint(4));
        assert_eq!(two.next().await, hint(4));
        drop(two);
        assert!(changes.lock().is_empty(), "dropped streams leave no entry");
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_with_an_unknown_outcome_leads_to_a_resync() {
        let changes = Changes::default();
        let user = UserId::new();
        let mut stream = changes.subscribe(user);
        assert_eq!(stream.next().await, ChangeHint::Resync);
        changes.begin_write(user).end();
        assert_eq!(stream.next().now_or_never(), None);
        drop(changes.begin_write(user));
        assert_eq!(stream.next().now_or_never(), Some(ChangeHint::Resync), "at once");
        assert_eq!(stream.next().now_or_never(), None);
        assert_eq!(stream.next().await, ChangeHint::Resync, "when it must have been applied");
    }

    #[tokio::test]
    async fn a_stream_that_is_too_far_behind_gets_a_resync_instead() {
        let changes = Changes::default();
        let user = UserId::new();
        let mut stream = changes.subscribe(user);
        assert_eq!(stream.next().await, ChangeHint::Resync);
        for number in 0..=BACKLOG as u64 {
            changes.publish(user, hint(number));
        }
        assert_eq!(stream.next().await, ChangeHint::Resync);
        assert_eq!(stream.next().now_or_never(), None, "older hints are skipped");
        changes.publish(user, hint(1000));
        assert_eq!(stream.next().await, hint(1000));
    }
}
