//! What every [`JobQueue`] promises, as a test suite. Each promise is given a queue of its own,
//! empty, and a clock that it may move.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use shiori_sdk::SummaryId;
use tokio::time::timeout;

use super::JobQueue;
use crate::{Clock, ManualClock};

type Queue = Arc<dyn JobQueue>;

/// Long enough for any delivery; only a broken queue makes a test wait for it.
const PATIENCE: Duration = Duration::from_secs(20);

async fn take(queue: &Queue) -> SummaryId {
    timeout(PATIENCE, queue.take()).await.expect("a hint is due").expect("the queue answers")
}

async fn depth(queue: &Queue) -> usize {
    queue.depth().await.expect("the queue answers")
}

/// What is offered is taken, once, and then it is gone.
pub async fn a_hint_is_taken_once(queue: Queue, clock: ManualClock) {
    let offered = SummaryId::new();
    queue.offer(offered, clock.now()).await.expect("offered");
    assert_eq!(depth(&queue).await, 1);
    assert_eq!(take(&queue).await, offered);
    assert_eq!(depth(&queue).await, 0);
}

/// Offering a hint again while it waits changes nothing.
pub async fn repeating_an_offer_is_harmless(queue: Queue, clock: ManualClock) {
    let offered = SummaryId::new();
    for _ in 0..5 {
        queue.offer(offered, clock.now()).await.expect("offered");
    }
    assert_eq!(depth(&queue).await, 1);
    take(&queue).await;
    assert_eq!(depth(&queue).await, 0);
    queue.offer(offered, clock.now()).await.expect("offered");
    assert_eq!(take(&queue).await, offered, "once taken, it may come again");
}

/// A hint that waits keeps its due time, whatever a repeated offer says.
pub async fn repeating_an_offer_does_not_hurry_it(queue: Queue, clock: ManualClock) {
    let (hurried, other) = (SummaryId::new(), SummaryId::new());
    queue.offer(hurried, clock.now() + Duration::from_secs(60)).await.expect("offered");
    queue.offer(other, clock.now() + Duration::from_secs(30)).await.expect("offered");
    queue.offer(hurried, clock.now()).await.expect("offered");
    clock.advance(Duration::from_secs(60));
    assert_eq!(take(&queue).await, other);
    assert_eq!(take(&queue).await, hurried);
}

/// The earliest hint comes first, and none before it is due.
pub async fn hints_come_in_the_order_in_which_they_are_due(queue: Queue, clock: ManualClock) {
    let (soon, later, now) = (SummaryId::new(), SummaryId::new(), SummaryId::new());
    queue.offer(later, clock.now() + Duration::from_secs(60)).await.expect("offered");
    queue.offer(soon, clock.now() + Duration::from_secs(30)).await.expect("offered");
    queue.offer(now, clock.now()).await.expect("offered");
    assert_eq!(take(&queue).await, now);
    assert!(timeout(Duration::from_millis(500), queue.take()).await.is_err(), "none is due");
    assert_eq!(depth(&queue).await, 2, "a taker that gave up took nothing");
    clock.advance(Duration::from_secs(60));
    assert_eq!(take(&queue).await, soon);
    assert_eq!(take(&queue).await, later);
}

/// Many who take share the hints; each hint goes to one of them.
pub async fn many_takers_share_the_hints(queue: Queue, clock: ManualClock) {
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

/// Instantiates the suite: `$open` makes a fresh future of an `Arc` of the queue and its clock.
/// Attributes in brackets before it go to every test.
#[doc(hidden)]
#[macro_export]
macro_rules! queue_contract {
    ($open:expr) => {
        $crate::queue_contract!([], $open);
    };
    ([$($attribute:meta),*], $open:expr) => {
        mod contract {
            use super::*;

            $crate::queue_contract!(@test [$($attribute),*], $open, a_hint_is_taken_once);
            $crate::queue_contract!(@test [$($attribute),*], $open, repeating_an_offer_is_harmless);
            $crate::queue_contract!(
                @test [$($attribute),*], $open, repeating_an_offer_does_not_hurry_it
            );
            $crate::queue_contract!(
                @test [$($attribute),*], $open, hints_come_in_the_order_in_which_they_are_due
            );
            $crate::queue_contract!(@test [$($attribute),*], $open, many_takers_share_the_hints);
        }
    };
    (@test [$($attribute:meta),*], $open:expr, $promise:ident) => {
        #[tokio::test(flavor = "multi_thread")]
        $(#[$attribute])*
        async fn $promise() {
            let (queue, clock) = $open.await;
            $crate::queue::contract::$promise(queue, clock).await;
        }
    };
}
