use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use shiori_sdk::SummaryId;
use tokio::sync::{broadcast, mpsc};

/// Wakes waiters of a summary. A wake-up is only a hint: waiters read the job again after it, and
/// also periodically.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wakeups {
    waiters: Arc<Mutex<Waiters>>,
    /// Publishes wake-ups to other servers.
    relay: Option<mpsc::Sender<SummaryId>>,
}

/// A channel wakes its receivers in the order in which they began to wait.
type Waiters = HashMap<SummaryId, broadcast::Sender<()>>;

impl Wakeups {
    /// Wake-ups that are also sent to this channel.
    #[cfg(feature = "distributed")]
    pub(crate) fn with_relay(relay: mpsc::Sender<SummaryId>) -> Self {
        Self { relay: Some(relay), ..Self::default() }
    }

    /// Wakes all waiters of this summary, on all servers.
    pub(crate) fn wake(&self, id: SummaryId) {
        self.wake_local(id);
        if let Some(relay) = &self.relay
            && relay.try_send(id).is_err()
        {
            tracing::debug!(summary_id = %id, "could not relay a wake-up; waiters will read again");
        }
    }

    /// Wakes the waiters of this summary on this server.
    pub(crate) fn wake_local(&self, id: SummaryId) {
        if let Some(sender) = self.lock().get(&id) {
            wake_all(sender);
        }
    }

    /// Wakes all waiters on this server, because wake-ups may have been lost.
    #[cfg(feature = "distributed")]
    pub(crate) fn wake_all_local(&self) {
        self.lock().values().for_each(wake_all);
    }

    /// Subscribes to wake-ups. Subscribe before reading the job, so that no change is missed.
    pub(crate) fn subscribe(&self, id: SummaryId) -> Waiter {
        let receiver =
            self.lock().entry(id).or_insert_with(|| broadcast::Sender::new(1)).subscribe();
        Waiter { wakeups: self.clone(), id, receiver }
    }

    fn lock(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes all receivers.
fn wake_all(sender: &broadcast::Sender<()>) {
    // Cannot fail: the sender is in the map as long as it has a receiver.
    let _ = sender.send(());
}

/// A subscription to the wake-ups of one summary.
#[derive(Debug)]
pub(crate) struct Waiter {
    wakeups: Wakeups,
    id: SummaryId,
    receiver: broadcast::Receiver<()>,
}

impl Waiter {
    /// Waits for the next wake-up. Returns immediately if there was one since the last call.
    pub(crate) async fn notified(&mut self) {
        // It has lagged behind if there were several. It is not closed: the sender is in the map as
        // long as it has a receiver.
        let _ = self.receiver.recv().await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiters = self.wakeups.lock();
        // The count includes this receiver.
        if waiters.get(&self.id).is_some_and(|sender| sender.receiver_count() <= 1) {
            waiters.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wake_up_between_subscribing_and_waiting_is_not_lost() {
        let wakeups = Wakeups::default();
        let id = SummaryId::new();
        let mut one = wakeups.subscribe(id);
        let mut two = wakeups.subscribe(id);
        wakeups.wake(SummaryId::new());
        wakeups.wake(id);
        one.notified().await;
        two.notified().await;
        drop(one);
        wakeups.wake(id);
        two.notified().await;
        drop(two);
        assert!(wakeups.lock().is_empty(), "dropped waiters leave no entry");
    }
}
