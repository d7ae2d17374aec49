use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use shiori_sdk::{SummaryId, Timestamp};
use tokio::{sync::Notify, time::Instant};
use uuid::Uuid;

use super::{CheckLease, JobQueue, QueueError};
use crate::Clock;

/// How often `take` reads the clock again, because it may be a [`ManualClock`](crate::ManualClock).
const RECHECK: Duration = Duration::from_millis(200);

/// A queue in memory. Hints that are lost when the process ends are offered again by the dispatcher.
#[derive(Debug)]
pub struct InProcessQueue {
    capacity: usize,
    clock: Arc<dyn Clock>,
    waiting: Mutex<Waiting>,
    offered: Notify,
    /// The holder of the lease of the check, and when the lease expires.
    check: Mutex<Option<(Uuid, Instant)>>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// The hints, ordered by due time.
    by_due: BTreeSet<(Timestamp, SummaryId)>,
    ids: HashSet<SummaryId>,
}

impl InProcessQueue {
    /// An empty queue of at most `capacity` hints.
    pub fn new(capacity: usize, clock: Arc<dyn Clock>) -> Self {
        let (waiting, check) = (Mutex::default(), Mutex::default());
        Self { capacity, clock, waiting, offered: Notify::new(), check }
    }

    /// Removes the earliest hint if it is due; otherwise returns how long to wait.
    fn pop(&self) -> Result<SummaryId, Duration> {
        let now = self.clock.now();
        let mut waiting = self.lock();
        let Some(&(due, id)) = waiting.by_due.first() else { return Err(RECHECK) };
        if due > now {
            return Err(due.duration_since(now).min(RECHECK));
        }
        waiting.by_due.pop_first();
        waiting.ids.remove(&id);
        Ok(id)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self) -> MutexGuard<'_, Option<(Uuid, Instant)>> {
        self.check.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn add(&mut self, id: SummaryId, due: Timestamp, capacity: usize) -> Result<(), QueueError> {
        if self.ids.contains(&id) {
            return Ok(());
        }
        if self.ids.len() >= capacity {
            return Err(QueueError::Full);
        }
        self.by_due.insert((due, id));
        self.ids.insert(id);
        Ok(())
    }
}

#[async_trait]
impl JobQueue for InProcessQueue {
    async fn offer(&self, id: SummaryId, due: Timestamp) -> Result<(), QueueError> {
        self.offer_all(&[(id, due)]).await
    }

    async fn offer_all(&self, hints: &[(SummaryId, Timestamp)]) -> Result<(), QueueError> {
        let added = {
            let mut waiting = self.lock();
            hints.iter().try_for_each(|&(id, due)| waiting.add(id, due, self.capacity))
        };
        self.offered.notify_one();
        added
    }

    async fn missing(&self, ids: &[SummaryId]) -> Result<Vec<SummaryId>, QueueError> {
        let waiting = self.lock();
        Ok(ids.iter().filter(|id| !waiting.ids.contains(id)).copied().collect())
    }

    async fn take(&self) -> Result<SummaryId, QueueError> {
        loop {
            match self.pop() {
                Ok(id) => {
                    // One notification may represent several offers, so wake the next taker.
                    self.offered.notify_one();
                    return Ok(id);
                }
                Err(pause) => {
                    // `Notify` stores a notification that is sent before `notified` is polled.
                    let _ = tokio::time::timeout(pause, self.offered.notified()).await;
                }
            }
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn depth(&self) -> Result<usize, QueueError> {
        Ok(self.lock().ids.len())
    }

    async fn lease_check(
        &self,
        holder: Uuid,
        duration: Duration,
    ) -> Result<CheckLease, QueueError> {
        let (mut lease, now) = (self.check(), Instant::now());
        let current = lease.filter(|(_, expires)| now < *expires);
        if current.is_some_and(|(other, _)| other != holder) {
            return Ok(CheckLease::Taken);
        }
        *lease = Some((holder, now + duration));
        Ok(if current.is_some() { CheckLease::Extended } else { CheckLease::Acquired })
    }

    async fn release_check(&self, holder: Uuid) -> Result<(), QueueError> {
        self.check().take_if(|(other, _)| *other == holder);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ManualClock;

    fn open() -> (Arc<InProcessQueue>, ManualClock) {
        let clock = ManualClock::at(Timestamp::from_millis(1_771_200_000_000));
        (Arc::new(InProcessQueue::new(64, Arc::new(clock.clone()))), clock)
    }

    crate::queue::contract::queue_contract!(async { open() });

    #[tokio::test]
    async fn a_full_queue_rejects_new_hints_and_keeps_the_others() {
        let clock = ManualClock::at(Timestamp::UNIX_EPOCH);
        let queue = InProcessQueue::new(1, Arc::new(clock));
        let (first, second) = (SummaryId::new(), SummaryId::new());
        queue.offer(first, Timestamp::UNIX_EPOCH).await.unwrap();
        queue.offer(first, Timestamp::UNIX_EPOCH).await.unwrap();
        let full = queue.offer(second, Timestamp::UNIX_EPOCH).await;
        assert!(matches!(full, Err(QueueError::Full)));
        assert_eq!(queue.take().await.unwrap(), first);
        queue.offer(second, Timestamp::UNIX_EPOCH).await.unwrap();
        assert_eq!(queue.take().await.unwrap(), second);
    }

    #[tokio::test]
    async fn a_batch_is_added_until_the_queue_is_full() {
        let clock = ManualClock::at(Timestamp::UNIX_EPOCH);
        let queue = InProcessQueue::new(2, Arc::new(clock));
        let ids: Vec<_> = (0..3).map(|_| SummaryId::new()).collect();
        let hints: Vec<_> = ids.iter().map(|id| (*id, Timestamp::UNIX_EPOCH)).collect();
        let full = queue.offer_all(&hints).await;
        assert!(matches!(full, Err(QueueError::Full)));
        assert_eq!(queue.missing(&ids).await.unwrap(), ids[2..]);
    }
}
