//! The contract of [`JobQueue`], as a test suite for every implementation. Each test receives its
//! own empty queue and a clock that it can advance.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use shiori_sdk::SummaryId;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{CheckLease, JobQueue};
use crate::{Clock, ManualClock};

type Queue = Arc<dyn JobQueue>;

/// Longer than any delivery takes; only a test that fails waits this long.
const TIMEOUT: Duration = Duration::from_secs(20);

async fn take(queue: &Queue) -> SummaryId {
    timeout(TIMEOUT, queue.take()).await.expect("a hint is due").expect("the queue is available")
}

async fn depth(queue: &Queue) -> usize {
    queue.depth().await.expect("the queue is available")
}

pub(crate) async fn a_hint_is_taken_once(queue: Queue, clock: ManualClock) {
    let offered = SummaryId::new();
    queue.offer(offered, clock.now()).await.expect("offered");
    assert_eq!(depth(&queue).await, 1);
    assert_eq!(take(&queue).await, offered);
    assert_eq!(depth(&queue).await, 0);
}

pub(crate) async fn offering_is_idempotent(queue: Queue, clock: ManualClock) {
    let offered = SummaryId::new();
    for _ in 0..5 {
        queue.offer(offered, clock.now()).await.expect("offered");
    }
    assert_eq!(depth(&queue).await, 1);
    take(&queue).await;
    assert_eq!(depth(&queue).await, 0);
    queue.offer(offered, clock.now()).await.expect("offered");
    assert_eq!(take(&queue).await, offered, "a taken hint can be offered again");
}

pub(crate) async fn offering_again_does_not_change_the_due_time(queue: Queue, clock: ManualClock) {
    let (repeated, other) = (SummaryId::new(), SummaryId::new());
    queue.offer(repeated, clock.now() + Duration::from_secs(60)).await.expect("offered");
    queue.offer(other, clock.now() + Duration::from_secs(30)).await.expect("offered");
    queue.offer(repeated, clock.now()).await.expect("offered");
    clock.advance(Duration::from_secs(60));
    assert_eq!(take(&queue).await, other);
    assert_eq!(take(&queue).await, repeated);
}

pub(crate) async fn hints_are_taken_in_the_order_of_their_due_times(
    queue: Queue,
    clock: ManualClock,
) {
    let (soon, later, now) = (SummaryId::new(), SummaryId::new(), SummaryId::new());
    queue.offer(later, clock.now() + Duration::from_secs(60)).await.expect("offered");
    queue.offer(soon, clock.now() + Duration::from_secs(30)).await.expect("offered");
    queue.offer(now, clock.now()).await.expect("offered");
    assert_eq!(take(&queue).await, now);
    assert!(timeout(Duration::from_millis(500), queue.take()).await.is_err(), "none is due");
    assert_eq!(depth(&queue).await, 2, "a cancelled take removes nothing");
    clock.advance(Duration::from_secs(60));
    assert_eq!(take(&queue).await, soon);
    assert_eq!(take(&queue).await, later);
}

pub(crate) async fn each_hint_is_taken_by_one_of_many_takers(queue: Queue, clock: ManualClock) {
    let takers: Vec<_> = (0..8)
        .map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move {
                let mut taken = Vec::new();
                for _ in 0..6 {
                    taken.push(take(&queue).await);
                }
                taken
            })
        })
        .collect();
    let mut offered = BTreeSet::new();
    for _ in 0..48 {
        let id = SummaryId::new();
        queue.offer(id, clock.now()).await.expect("offered");
        offered.insert(id);
    }
    let mut taken = Vec::new();
    for taker in takers {
        taken.extend(taker.await.expect("no panic"));
    }
    assert_eq!(taken.len(), offered.len());
    assert_eq!(taken.into_iter().collect::<BTreeSet<_>>(), offered);
    assert_eq!(depth(&queue).await, 0);
}

/// Only the hints that the queue does not have are missing, and only these are added.
pub(crate) async fn missing_hints_are_found_and_offered(queue: Queue, clock: ManualClock) {
    let [waiting, taken, lost] = [(); 3].map(|()| SummaryId::new());
    let ids = [lost, waiting, taken];
    let missing = async |ids: &[SummaryId]| queue.missing(ids).await.expect("available");
    assert_eq!(missing(&[]).await, []);
    assert_eq!(missing(&ids).await, ids);
    queue.offer_all(&[]).await.expect("offered");
    queue.offer(taken, clock.now()).await.expect("offered");
    assert_eq!(take(&queue).await, taken);
    let later = clock.now() + Duration::from_secs(60);
    queue.offer(waiting, later).await.expect("offered");
    assert_eq!(missing(&ids).await, [lost, taken]);
    let all = ids.map(|id| (id, clock.now()));
    queue.offer_all(&all).await.expect("offered");
    assert_eq!(missing(&ids).await, []);
    assert_eq!(depth(&queue).await, 3);
    let early: BTreeSet<_> = [take(&queue).await, take(&queue).await].into();
    assert_eq!(early, [lost, taken].into(), "the due time of the waiting hint is unchanged");
    clock.advance(Duration::from_secs(60));
    assert_eq!(take(&queue).await, waiting);
}

/// One holder at a time has the lease of the check, until it expires or is released.
pub(crate) async fn the_lease_of_the_check_has_one_holder(queue: Queue, _: ManualClock) {
    let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
    let long = Duration::from_secs(600);
    let lease =
        async |holder, duration| queue.lease_check(holder, duration).await.expect("available");
    assert_eq!(lease(one, long).await, CheckLease::Acquired);
    assert_eq!(lease(one, long).await, CheckLease::Extended);
    assert_eq!(lease(two, long).await, CheckLease::Taken);
    queue.release_check(two).await.expect("available");
    assert_eq!(lease(two, long).await, CheckLease::Taken, "released by another holder");
    queue.release_check(one).await.expect("available");
    assert_eq!(lease(two, long).await, CheckLease::Acquired);
    // The extension replaces the duration.
    assert_eq!(lease(two, Duration::from_millis(1)).await, CheckLease::Extended);
    let expired = async {
        while lease(one, long).await == CheckLease::Taken {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(TIMEOUT, expired).await.expect("the lease expires");
    assert_eq!(lease(two, long).await, CheckLease::Taken);
    queue.release_check(one).await.expect("available");
}

/// Instantiates the suite. `$open` creates a future of an `Arc` of the queue and its clock;
/// attributes in brackets are added to every test.
macro_rules! queue_contract {
    ($open:expr) => {
        $crate::queue::contract::queue_contract!([], $open);
    };
    ([$($attribute:meta),*], $open:expr) => {
        mod contract {
            use super::*;

            $crate::queue::contract::queue_contract!(
                @tests [$($attribute),*], $open,
                a_hint_is_taken_once
                offering_is_idempotent
                offering_again_does_not_change_the_due_time
                hints_are_taken_in_the_order_of_their_due_times
                each_hint_is_taken_by_one_of_many_takers
                missing_hints_are_found_and_offered
                the_lease_of_the_check_has_one_holder
            );
        }
    };
    (@tests $attributes:tt, $open:expr, $($test:ident)*) => {
        $($crate::queue::contract::queue_contract!(@test $attributes, $open, $test);)*
    };
    (@test [$($attribute:meta),*], $open:expr, $test:ident) => {
        #[tokio::test(flavor = "multi_thread")]
        $(#[$attribute])*
        async fn $test() {
            let (queue, clock) = $open.await;
            $crate::queue::contract::$test(queue, clock).await;
        }
    };
}

pub(crate) use queue_contract;
