//! Closed and open loops, whose times are recorded in HDR histograms.

use std::{
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use tokio::{runtime::Handle, sync::mpsc, task::JoinSet};

use crate::schedule::Schedule;

/// The longest time that a histogram records, in microseconds. Longer ones are recorded as this.
const LONGEST_MICROS: u64 = 120_000_000;

/// Significant digits of a recorded time.
const DIGITS: u8 = 3;

/// The time between the start of an open loop and its first arrival, in which its thread starts.
const LEAD: Duration = Duration::from_millis(5);

/// The result of a loop.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// The times of the successful calls, in microseconds. In an open loop, from the intended start.
    times: Histogram<u64>,
    /// How much later than intended the calls of an open loop were sent, in microseconds.
    lateness: Histogram<u64>,
    /// Calls that failed.
    pub(crate) errors: u64,
    /// The time of the loop.
    pub(crate) took: Duration,
}

impl Default for Sample {
    fn default() -> Self {
        Self { times: histogram(), lateness: histogram(), errors: 0, took: Duration::ZERO }
    }
}

impl Sample {
    /// Adds a successful call.
    pub(crate) fn record(&mut self, time: Duration) {
        self.times.saturating_record(micros(time));
    }

    fn record_outcome(&mut self, time: Duration, succeeded: bool) {
        if succeeded {
            self.record(time);
        } else {
            self.errors += 1;
        }
    }

    /// Adds the calls of another sample, which ran one after the other, or concurrently.
    pub(crate) fn add(&mut self, other: &Self) {
        self.times += &other.times;
        self.lateness += &other.lateness;
        self.errors += other.errors;
    }

    /// The number of successful calls.
    pub(crate) fn count(&self) -> u64 {
        self.times.len()
    }

    /// Successful calls per second.
    #[allow(clippy::cast_precision_loss)] // far below 2^52
    pub(crate) fn per_second(&self) -> f64 {
        self.count() as f64 / self.took.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// The time that this share of the calls did not exceed, in milliseconds.
    pub(crate) fn quantile_ms(&self, quantile: f64) -> f64 {
        milliseconds(self.times.value_at_quantile(quantile))
    }

    /// As [`Sample::quantile_ms`], for the lateness of the open loop itself.
    pub(crate) fn lateness_ms(&self, quantile: f64) -> f64 {
        milliseconds(self.lateness.value_at_quantile(quantile))
    }

    /// The cumulative distribution: milliseconds, and the share of calls that took no longer. It ends
    /// with the 99.9th percentile.
    pub(crate) fn distribution(&self) -> Vec<(f64, f64)> {
        let quantiles = (1..100).map(|nth| f64::from(nth) / 100.0).chain([0.995, 0.999]);
        quantiles.map(|quantile| (self.quantile_ms(quantile), quantile)).collect()
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LONGEST_MICROS, DIGITS).expect("the bounds are valid")
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(LONGEST_MICROS)
}

#[allow(clippy::cast_precision_loss)] // at most two minutes
fn milliseconds(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

/// A closed loop: each of the clients sends its next call when the previous one has returned, until
/// the time is over. `call` receives the number of the client and returns whether it succeeded.
pub(crate) async fn closed_loop<C, F>(clients: usize, lasts: Duration, call: C) -> Sample
where
    C: Fn(usize) -> F + Clone + Send + 'static,
    F: Future<Output = bool> + Send,
{
    let started = Instant::now();
    let mut running = JoinSet::new();
    for client in 0..clients {
        let call = call.clone();
        running.spawn(async move {
            let mut sample = Sample::default();
            while started.elapsed() < lasts {
                let sent = Instant::now();
                let succeeded = call(client).await;
                sample.record_outcome(sent.elapsed(), succeeded);
            }
            sample
        });
    }
    joined(started, running).await
}

/// A closed loop over these items, each of which is used once.
pub(crate) async fn closed_loop_over<T, C, F>(clients: usize, items: Vec<T>, call: C) -> Sample
where
    T: Send + 'static,
    C: Fn(T) -> F + Clone + Send + 'static,
    F: Future<Output = bool> + Send,
{
    let mut shares: Vec<Vec<T>> = (0..clients.max(1)).map(|_| Vec::new()).collect();
    for (nth, item) in items.into_iter().enumerate() {
        shares[nth % clients.max(1)].push(item);
    }
    let started = Instant::now();
    let mut running = JoinSet::new();
    for share in shares {
        let call = call.clone();
        running.spawn(async move {
            let mut sample = Sample::default();
            for item in share {
                let sent = Instant::now();
                let succeeded = call(item).await;
                sample.record_outcome(sent.elapsed(), succeeded);
            }
            sample
        });
    }
    joined(started, running).await
}

/// The calls of all clients.
async fn joined(started: Instant, mut clients: JoinSet<Sample>) -> Sample {
    let mut all = Sample::default();
    while let Some(sample) = clients.join_next().await {
        all.add(&sample.expect("a call does not panic"));
    }
    all.took = started.elapsed();
    all
}

/// An open loop: the calls are sent at the times of the schedule, whether earlier ones have returned
/// or not, and their times count from the intended start. So a slow response delays no later call,
/// and the time that a call waited to be sent is part of its time.
///
/// A thread sends them, because the timers of the runtime have a resolution of a millisecond.
pub(crate) async fn open_loop<C, F>(schedule: Schedule, mut call: C) -> Sample
where
    C: FnMut(u32) -> F + Send + 'static,
    F: Future<Output = bool> + Send + 'static,
{
    // Bounded by the number of arrivals.
    let (results, mut finished) = mpsc::unbounded_channel();
    let runtime = Handle::current();
    let begin = Instant::now() + LEAD;
    let pacer = thread::spawn(move || {
        for (nth, at) in (0..).zip(schedule.arrivals()) {
            let intended = begin + at;
            thread::sleep(intended.saturating_duration_since(Instant::now()));
            let (call, results) = (call(nth), results.clone());
            runtime.spawn(async move {
                let lateness = intended.elapsed();
                let succeeded = call.await;
                // The receiver exists until all have been sent.
                let _ = results.send((lateness, intended.elapsed(), succeeded));
            });
        }
    });
    let mut sample = Sample::default();
    while let Some((lateness, time, succeeded)) = finished.recv().await {
        sample.lateness.saturating_record(micros(lateness));
        sample.record_outcome(time, succeeded);
    }
    sample.took = begin.elapsed();
    pacer.join().expect("the thread does not panic");
    sample
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::{
        sync::{Mutex, Semaphore},
        time::sleep,
    };

    use super::*;

    #[test]
    fn quantiles_are_recorded_times() {
        let mut sample = Sample::default();
        for micros in 1..=1000 {
            sample.record(Duration::from_micros(micros));
        }
        assert!((sample.quantile_ms(0.5) - 0.5).abs() < 0.001, "{}", sample.quantile_ms(0.5));
        assert!((sample.quantile_ms(0.99) - 0.99).abs() < 0.001);
        let shares: Vec<_> = sample.distribution().into_iter().map(|(_, share)| share).collect();
        assert!(shares.is_sorted());
        assert_eq!(shares.last(), Some(&0.999));
    }

    #[tokio::test]
    async fn a_closed_loop_counts_failures_apart() {
        let sample = closed_loop_over(2, (0..10).collect(), |n| async move { n % 5 != 0 }).await;
        assert_eq!((sample.count(), sample.errors), (8, 2));
    }

    #[tokio::test]
    async fn a_closed_loop_has_at_most_one_call_per_client() {
        static NOW: AtomicU32 = AtomicU32::new(0);
        let sample = closed_loop(3, Duration::from_millis(50), |_| async {
            let concurrent = NOW.fetch_add(1, Ordering::SeqCst) + 1;
            sleep(Duration::from_millis(1)).await;
            NOW.fetch_sub(1, Ordering::SeqCst);
            concurrent <= 3
        })
        .await;
        assert!(sample.count() > 0);
        assert_eq!(sample.errors, 0);
    }

    /// A server that handles one call at a time and blocks for 100 ms: a closed loop would record one
    /// slow call, but the calls that were due meanwhile waited, too.
    #[tokio::test(flavor = "multi_thread")]
    async fn an_open_loop_measures_from_the_intended_start() {
        let blocked = std::sync::Arc::new(Mutex::new(()));
        let schedule = Schedule::new(100.0, Duration::from_millis(200));
        let sample = open_loop(schedule, move |nth| {
            let blocked = blocked.clone();
            async move {
                let _turn = blocked.lock().await;
                if nth == 0 {
                    sleep(Duration::from_millis(100)).await;
                }
                true
            }
        })
        .await;
        assert_eq!(sample.count(), 20);
        // Those due at 0, 10, ..., 40 ms waited at least 50 ms: a quarter of all.
        assert!(sample.quantile_ms(0.76) >= 49.0, "{}", sample.quantile_ms(0.76));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_open_loop_does_not_wait_for_responses() {
        let all_arrived = std::sync::Arc::new(Semaphore::new(0));
        // Each call returns only when all have been sent.
        let sample = open_loop(Schedule::new(1000.0, Duration::from_millis(20)), move |_| {
            let all_arrived = all_arrived.clone();
            async move {
                all_arrived.add_permits(1);
                let _all = all_arrived.acquire_many(20).await.map(drop);
                true
            }
        })
        .await;
        assert_eq!(sample.count(), 20);
    }
}
