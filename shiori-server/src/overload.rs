//! Admission of requests: requests that the server cannot handle in time are rejected before any
//! work is done.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

use crate::{
    config::OverloadPolicy,
    metrics::Metrics,
    occasional::Occasional,
    slots::{Address, Slot, Slots},
};

/// Rejections are logged at most once per interval.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// How long the response to a rejected request is delayed. A client that ignores `Retry-After` then
/// sends about one request per second and connection, so rejections leave the cores to the admitted
/// requests.
const REFUSAL_DELAY: Duration = Duration::from_secs(1);

/// The maximum number of delayed responses of one admission. Further ones are sent immediately.
const MAX_DELAYED: usize = 16_384;

/// The admissions of a server. Each kind of request has its own, so that many requests of one kind
/// do not block the others.
#[derive(Debug, Clone)]
pub(crate) struct Overload {
    /// Requests that are handled immediately. An event stream counts until it begins.
    pub(crate) requests: Admission,
    /// Long-polls.
    pub(crate) waits: Admission,
    /// Requests of workers.
    pub(crate) workers: Admission,
}

impl Overload {
    pub(crate) fn new(policy: &OverloadPolicy, metrics: &Metrics) -> Self {
        let admission = |kind, most, most_per_address| {
            let slots = Slots::new(2 * most, most_per_address);
            Admission::new(kind, most, slots, policy.queue_timeout, metrics.clone())
        };
        let per_address = policy.max_requests_per_address;
        Self {
            requests: admission("requests", policy.max_requests, per_address),
            waits: admission("waits", policy.max_waits, policy.max_waits),
            workers: admission("workers", policy.max_requests, policy.max_requests),
        }
    }
}

/// Admits a limited number of requests at a time. The same number of requests may wait, for a
/// limited time. An address may only use a part of these places.
#[derive(Debug, Clone)]
pub(crate) struct Admission(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    kind: &'static str,
    running: Arc<Semaphore>,
    /// The places of running and waiting requests.
    slots: Slots,
    queue_timeout: Duration,
    /// Permits for delayed responses.
    delayed: Arc<Semaphore>,
    refused: Occasional,
    metrics: Metrics,
}

/// The request is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused;

impl Admission {
    fn new(
        kind: &'static str,
        most: usize,
        slots: Slots,
        queue_timeout: Duration,
        metrics: Metrics,
    ) -> Self {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        Self(Arc::new(Shared {
            kind,
            running: Arc::new(Semaphore::new(most)),
            slots,
            queue_timeout,
            delayed: Arc::new(Semaphore::new(MAX_DELAYED)),
            refused: Occasional::new(LOG_INTERVAL),
            metrics,
        }))
    }

    /// Admits a request from this address, immediately or after earlier ones.
    pub(crate) fn admit(&self, address: Address) -> Admit {
        let Ok(slot) = self.0.slots.take(address) else {
            self.count_refusal();
            let permit = Arc::clone(&self.0.delayed).try_acquire_owned().ok();
            return Admit::Refused(permit.map(|permit| {
                let delay: Delay = Box::pin(async move {
                    let _permit = permit;
                    sleep(REFUSAL_DELAY).await;
                });
                delay
            }));
        };
        if let Ok(permit) = Arc::clone(&self.0.running).try_acquire_owned() {
            return Admit::Admitted(Place { _permit: permit, _slot: slot });
        }
        let admission = self.clone();
        Admit::Queued(Box::pin(async move {
            let running = Arc::clone(&admission.0.running).acquire_owned();
            match timeout(admission.0.queue_timeout, running).await {
                Ok(Ok(permit)) => Ok(Place { _permit: permit, _slot: slot }),
                // The client may have given up by now, and later requests are just as late.
                Ok(Err(_)) | Err(_) => {
                    admission.count_refusal();
                    Err(Refused)
                }
            }
        }))
    }

    fn count_refusal(&self) {
        self.0.metrics.request_refused(self.0.kind);
        if let Some(times) = self.0.refused.report() {
            tracing::warn!(kind = self.0.kind, times, "overloaded; requests refused");
        }
    }
}

/// The place of an admitted request.
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    _slot: Slot,
}

/// The admission of one request. It occupies a place until it is dropped or rejected.
pub(crate) enum Admit {
    /// The request needs no admission.
    Exempt,
    Admitted(#[expect(dead_code, reason = "dropping it frees the place")] Place),
    Queued(Pin<Box<dyn Future<Output = Result<Place, Refused>> + Send>>),
    /// The response is sent after the delay.
    Refused(Option<Delay>),
}

type Delay = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Admit {
    /// Waits until the request is admitted or rejected.
    pub(crate) fn poll_admitted(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refused>> {
        if let Self::Queued(queued) = self {
            *self = match ready!(queued.as_mut().poll(cx)) {
                Ok(place) => Self::Admitted(place),
                Err(Refused) => Self::Refused(None),
            };
        }
        if let Self::Refused(Some(delay)) = self {
            ready!(delay.as_mut().poll(cx));
            *self = Self::Refused(None);
        }
        Poll::Ready(match self {
            Self::Refused(_) => Err(Refused),
            Self::Exempt | Self::Admitted(_) | Self::Queued(_) => Ok(()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    async fn admitted(mut admit: Admit) -> Result<Admit, Refused> {
        poll_fn(|cx| admit.poll_admitted(cx)).await?;
        Ok(admit)
    }

    fn address(last: u8) -> Address {
        std::net::IpAddr::from([192, 0, 2, last]).into()
    }

    fn admission(most: usize) -> Admission {
        let slots = Slots::new(2 * most, 2 * most - 1);
        Admission::new("tests", most, slots, Duration::from_secs(1), Metrics::new())
    }

    #[tokio::test(start_paused = true)]
    async fn requests_wait_in_order_and_for_a_limited_time() {
        let admission = admission(2);
        let first = admitted(admission.admit(address(1))).await.expect("free");
        let _second = admitted(admission.admit(address(1))).await.expect("free");
        let (third, fourth) = (admission.admit(address(1)), admission.admit(address(2)));
        assert!(matches!(third, Admit::Queued(_)) && matches!(fourth, Admit::Queued(_)));
        assert!(matches!(admission.admit(address(2)), Admit::Refused(_)), "the queue is full");
        let third = tokio::spawn(admitted(third));
        let fourth = tokio::spawn(admitted(fourth));
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(first);
        let third = third.await.expect("no panic").expect("admitted in order");
        assert_eq!(fourth.await.expect("no panic").err(), Some(Refused), "after its time");
        drop(third);
        assert!(matches!(admission.admit(address(1)), Admit::Admitted(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_rejected_request_gets_its_response_after_a_delay() {
        let admission = admission(1);
        let _running = admission.admit(address(1));
        let started = tokio::time::Instant::now();
        assert_eq!(admitted(admission.admit(address(1))).await.err(), Some(Refused));
        assert_eq!(started.elapsed(), REFUSAL_DELAY);

        let delayed: Vec<_> = (0..MAX_DELAYED).map(|_| admission.admit(address(1))).collect();
        assert!(
            matches!(admission.admit(address(1)), Admit::Refused(None)),
            "too many are delayed"
        );
        drop(delayed);
        assert!(matches!(admission.admit(address(1)), Admit::Refused(Some(_))));
    }

    #[tokio::test]
    async fn one_address_has_a_part_of_the_places() {
        let admission = admission(2);
        let places = [(); 3].map(|()| admission.admit(address(1)));
        assert!(places.iter().all(|place| !matches!(place, Admit::Refused(_))));
        assert!(matches!(admission.admit(address(1)), Admit::Refused(_)));
        assert!(matches!(admission.admit(address(2)), Admit::Queued(_)), "others have the rest");
        drop(places);
        assert!(matches!(admission.admit(address(1)), Admit::Admitted(_)));
    }

    #[tokio::test]
    async fn a_queued_request_that_is_dropped_frees_its_place() {
        let admission = admission(2);
        let _other = admitted(admission.admit(address(2))).await.expect("free");
        let running = admitted(admission.admit(address(1))).await.expect("free");
        drop(admission.admit(address(1)));
        let queued = admission.admit(address(1));
        assert!(matches!(queued, Admit::Queued(_)));
        drop((running, queued));
        assert!(matches!(admission.admit(address(1)), Admit::Admitted(_)));
    }
}
