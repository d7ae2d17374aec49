//! Admission of requests: requests that the server cannot handle in time are rejected before any
//! work is done.

mod queue;

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, oneshot},
    time::{sleep, timeout},
};

use self::queue::{Limits, Number, Queue};
use crate::{
    config::OverloadPolicy,
    metrics::{Metrics, RefusedKind},
    occasional::Occasional,
    slots::Address,
};

/// Rejections are logged at most once per interval.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// How long the response to a rejected request is delayed. A client that ignores `Retry-After` then
/// sends about one request per second and connection, so rejections leave the cores to the admitted
/// requests.
const REFUSAL_DELAY: Duration = Duration::from_secs(1);

/// The maximum number of delayed responses of one admission. Further ones are sent immediately.
const MAX_DELAYED: usize = 16_384;

/// The maximum number of waiting requests for each that may run. Their memory is limited by the
/// connections anyway, and a short wait is better than a rejection, which the client repeats.
const WAITING_PER_RUNNING: usize = 16;

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
        let admission = |kind, running: usize, per_address: usize, waiting_per_running| {
            let waiting = running.saturating_mul(waiting_per_running).max(1);
            let limits = Limits {
                running: running.max(1),
                running_per_address: per_address.max(1),
                waiting,
                waiting_per_address: waiting.div_ceil(2),
            };
            Admission::new(kind, limits, policy.queue_timeout, metrics.clone())
        };
        let (requests, waits) = (policy.max_requests, policy.max_waits);
        let per_address = policy.max_requests_per_address;
        Self {
            requests: admission(RefusedKind::Requests, requests, per_address, WAITING_PER_RUNNING),
            waits: admission(RefusedKind::Waits, waits, waits, 1),
            workers: admission(RefusedKind::Workers, requests, requests, WAITING_PER_RUNNING),
        }
    }
}

/// Admits a limited number of requests at a time. More of them may wait, for a limited time. An
/// address may only use a part of these places, and addresses take turns.
#[derive(Debug, Clone)]
pub(crate) struct Admission(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    kind: RefusedKind,
    queue: Mutex<Queue<oneshot::Sender<Place>>>,
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
    fn new(kind: RefusedKind, limits: Limits, queue_timeout: Duration, metrics: Metrics) -> Self {
        Self(Arc::new(Shared {
            kind,
            queue: Mutex::new(Queue::new(limits)),
            queue_timeout,
            delayed: Arc::new(Semaphore::new(MAX_DELAYED)),
            refused: Occasional::new(LOG_INTERVAL),
            metrics,
        }))
    }

    /// Admits a request from this address, immediately or after earlier ones.
    pub(crate) fn admit(&self, address: Address) -> Admit {
        let mut queue = self.0.queue();
        if queue.begin(address) {
            return Admit::Admitted(self.place(address));
        }
        let (sender, admitted) = oneshot::channel();
        let waiting = queue.wait(address, sender);
        drop(queue);
        let Ok(number) = waiting else {
            self.0.count_refusal();
            return Admit::Refused(self.delay());
        };
        let waiting = Waiting { shared: Arc::clone(&self.0), address, number };
        Admit::Queued(Box::pin(async move {
            match timeout(waiting.shared.queue_timeout, admitted).await {
                Ok(Ok(place)) => Ok(place),
                // The client may have given up by now, and later requests are just as late.
                Ok(Err(_)) | Err(_) => {
                    waiting.shared.count_refusal();
                    Err(Refused)
                }
            }
        }))
    }

    fn place(&self, address: Address) -> Place {
        Place { admission: self.clone(), address }
    }

    /// The delay of a rejection.
    fn delay(&self) -> Option<Delay> {
        let permit = Arc::clone(&self.0.delayed).try_acquire_owned().ok()?;
        Some(Box::pin(async move {
            let _permit = permit;
            sleep(REFUSAL_DELAY).await;
        }))
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue<oneshot::Sender<Place>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count_refusal(&self) {
        self.metrics.request_refused(self.kind);
        if let Some(times) = self.refused.report() {
            let kind: &str = self.kind.into();
            tracing::warn!(kind, times, "overloaded; requests refused");
        }
    }
}

/// The place of an admitted request.
#[derive(Debug)]
pub(crate) struct Place {
    admission: Admission,
    address: Address,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queue = self.admission.0.queue();
        queue.end(self.address);
        let next = queue.next();
        drop(queue);
        if let Some((address, waiter)) = next {
            // If the request was dropped just now, its place is, too, which admits the next one.
            let _ = waiter.send(self.admission.place(address));
        }
    }
}

/// A waiting request. Dropping it removes it from the queue.
struct Waiting {
    shared: Arc<Shared>,
    address: Address,
    number: Number,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.shared.queue().leave(self.address, self.number);
    }
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
    use crate::metrics::Engines;

    async fn admitted(mut admit: Admit) -> Result<Admit, Refused> {
        poll_fn(|cx| admit.poll_admitted(cx)).await?;
        Ok(admit)
    }

    fn address(last: u8) -> Address {
        std::net::IpAddr::from([192, 0, 2, last]).into()
    }

    fn admission(running: usize) -> Admission {
        let limits = Limits {
            running,
            running_per_address: running,
            waiting: running,
            waiting_per_address: running,
        };
        Admission::new(
            RefusedKind::Requests,
            limits,
            Duration::from_secs(1),
            Metrics::new(Engines::default()),
        )
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
        let _places = [(); 2].map(|()| admission.admit(address(1)));
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

    #[tokio::test]
    async fn a_place_that_was_given_to_a_dropped_request_is_free_again() {
        let admission = admission(1);
        let running = admitted(admission.admit(address(1))).await.expect("free");
        let queued = admission.admit(address(1));
        drop(running);
        drop(queued);
        assert!(matches!(admission.admit(address(1)), Admit::Admitted(_)));
    }
}
