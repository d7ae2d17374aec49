use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use shiori_sdk::SummaryId;
use tokio::sync::{mpsc, watch};

/// Wakes those who wait for a summary. Like the queue's, its word is only a hint: a waiter reads
/// the row again, and does so now and then without being woken.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wakeups {
    waiting: Arc<Mutex<Waiting>>,
    /// To those who wait at other servers.
    relay: Option<mpsc::Sender<SummaryId>>,
}

type Waiting = HashMap<SummaryId, watch::Sender<()>>;

impl Wakeups {
    /// Wake-ups that are passed on to this channel, too.
    #[cfg(feature = "distributed")]
    pub(crate) fn relayed_to(relay: mpsc::Sender<SummaryId>) -> Self {
        Self { relay: Some(relay), ..Self::default() }
    }

    /// Wakes everyone who waits for this summary, wherever.
    pub(crate) fn wake(&self, id: SummaryId) {
        self.wake_here(id);
        if let Some(relay) = &self.relay
            && relay.try_send(id).is_err()
        {
            tracing::debug!(summary_id = %id, "wake-up not passed on; waiters look by themselves");
        }
    }

    /// Wakes everyone who waits for this summary at this server.
    pub(crate) fn wake_here(&self, id: SummaryId) {
        if let Some(sender) = self.lock().get(&id) {
            sender.send_replace(());
        }
    }

    /// Wakes everyone who waits at this server, for they may have missed something.
    #[cfg(feature = "distributed")]
    pub(crate) fn wake_all_here(&self) {
        for sender in self.lock().values() {
            sender.send_replace(());
        }
    }

    /// Begins to listen. Subscribe first, then read the row: what happens in between is noticed.
    pub(crate) fn subscribe(&self, id: SummaryId) -> Waiter {
        let receiver = self.lock().entry(id).or_insert_with(|| watch::Sender::new(())).subscribe();
        Waiter { wakeups: self.clone(), id, receiver }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits for a summary.
#[derive(Debug)]
pub(crate) struct Waiter {
    wakeups: Wakeups,
    id: SummaryId,
    receiver: watch::Receiver<()>,
}

impl Waiter {
    /// Ends at the next wake, or at once if one came since the last call.
    pub(crate) async fn woken(&mut self) {
        // The sender stays in the map for as long as this waiter is there.
        let _ = self.receiver.changed().await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiting = self.wakeups.lock();
        // This receiver still counts.
        if waiting.get(&self.id).is_some_and(|sender| sender.receiver_count() <= 1) {
            waiting.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wake_between_subscribing_and_waiting_is_noticed() {
        let wakeups = Wakeups::default();
        let id = SummaryId::new();
        let mut one = wakeups.subscribe(id);
        let mut two = wakeups.subscribe(id);
        wakeups.wake(SummaryId::new());
        wakeups.wake(id);
        one.woken().await;
        two.woken().await;
        drop(one);
        wakeups.wake(id);
        two.woken().await;
        drop(two);
        assert!(wakeups.lock().is_empty(), "nothing is left of those who have gone");
    }
}
