use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicI64, Ordering},
};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use shiori_sdk::{Timestamp, backoff::Backoff};
use tokio::time::sleep;

/// A source of the current time. Domain logic does not read the system clock directly, so that
/// tests can control the time.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The current time.
    fn now(&self) -> Timestamp;

    /// The maximum error of [`now`](Self::now). Default zero.
    fn error(&self) -> Duration {
        Duration::ZERO
    }
}

/// The system clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that only advances when a test advances it. Clones share the time.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// A clock that starts at this time.
    pub fn at(moment: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(moment.as_millis())))
    }

    /// Advances the clock, in whole milliseconds.
    pub fn advance(&self, by: Duration) {
        let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// How often a remote clock is measured.
const MEASURE_INTERVAL: Duration = Duration::from_secs(30);

/// The pause after a failed measurement.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// Reads of one measurement. The one with the shortest round trip is used.
const READS: u32 = 4;

/// Attempts of the first measurement.
const MAX_ATTEMPTS: u32 = 5;

/// The pauses between these attempts.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));

/// The drift between the clocks of two machines: one part in this number. Crystals are specified to
/// 100 ppm or better.
const DRIFT: u32 = 10_000;

/// The error of a clock that has not been measured yet.
const UNMEASURED_ERROR: Duration = Duration::from_secs(1);

/// A store whose clock can be read.
#[async_trait]
pub trait RemoteTime: Send + Sync + std::fmt::Debug {
    /// Reads the time once.
    ///
    /// # Errors
    ///
    /// Any error of the store.
    async fn read(&self) -> Result<TimeReading, Box<dyn std::error::Error + Send + Sync>>;
}

/// A response of [`RemoteTime`].
#[derive(Debug, Clone, Copy)]
pub struct TimeReading {
    /// Microseconds since the Unix epoch on the remote clock.
    pub unix_micros: i64,
    /// When the request was sent.
    pub sent: Instant,
    /// When the response was received.
    pub received: Instant,
}

/// The clock of a store, as measured by this process. All processes that measure the same store
/// agree on the time, even if their own clocks differ.
///
/// Between measurements the time advances with this machine's monotonic clock, so a change of its
/// system clock has no effect. Before the first measurement it is the system clock.
#[derive(Debug)]
pub struct MeasuredClock {
    remote: Arc<dyn RemoteTime>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    measured: Option<Measurement>,
    /// When the last measurement failed.
    failed: Option<Instant>,
}

/// The remote time at a local instant.
#[derive(Debug, Clone, Copy)]
struct Measurement {
    unix_micros: i64,
    at: Instant,
    error: Duration,
}

impl MeasuredClock {
    /// The clock of this store, which is not measured yet.
    pub fn new(remote: Arc<dyn RemoteTime>) -> Self {
        Self { remote, state: Mutex::default() }
    }

    /// Measures the clock for the first time, with up to 5 attempts.
    ///
    /// # Errors
    ///
    /// The error of the last attempt.
    pub async fn start(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut attempt = 1;
        loop {
            match self.measure().await {
                Err(_) if attempt < MAX_ATTEMPTS => {
                    // Full jitter would need a random number; one client does not need it.
                    sleep(BACKOFF.pause(attempt, 1.0)).await;
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    /// Measures the clock every 30 s, and earlier after a failure. Never returns.
    pub async fn keep_measured(&self) {
        loop {
            sleep(RETRY_INTERVAL).await;
            self.refresh().await;
        }
    }

    /// Measures the clock if the last measurement is 30 s old and the last failure is 5 s old.
    /// After a failure, the last measurement remains in use.
    pub async fn refresh(&self) {
        let is_due = {
            let state = self.state();
            let elapsed = |at: Instant, interval| at.elapsed() >= interval;
            state.measured.is_none_or(|last| elapsed(last.at, MEASURE_INTERVAL))
                && state.failed.is_none_or(|at| elapsed(at, RETRY_INTERVAL))
        };
        if is_due && let Err(error) = self.measure().await {
            self.state().failed = Some(Instant::now());
            tracing::warn!(error, "could not measure the clock of the store");
        }
    }

    /// How far the remote clock is ahead of the system clock of this machine, in seconds; negative if it
    /// is behind. `None` before the first measurement.
    pub fn offset_seconds(&self) -> Option<f64> {
        let last = self.state().measured?;
        let remote = last.at(Instant::now()).unix_micros;
        let local = Timestamp::now().as_millis().saturating_mul(1000);
        let millis = remote.saturating_sub(local) / 1000;
        // The limits are 24 days, which are as wrong as any longer time.
        let millis = millis.clamp(i32::MIN.into(), i32::MAX.into());
        Some(f64::from(i32::try_from(millis).unwrap_or_default()) / 1000.0)
    }

    async fn measure(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut best: Option<Measurement> = None;
        for _ in 0..READS {
            let read = Measurement::of(self.remote.read().await?);
            best = best.filter(|best| best.error <= read.error).or(Some(read));
        }
        let mut state = self.state();
        state.failed = None;
        if let Some(read) = best {
            state.measured = Some(state.measured.map_or(read, |last| last.updated(read)));
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Measurement {
    /// The remote time was read somewhere between request and response.
    fn of(read: TimeReading) -> Self {
        let half = read.received.duration_since(read.sent) / 2;
        Self { unix_micros: read.unix_micros, at: read.received, error: half }.advanced_micros(half)
    }

    fn advanced_micros(self, by: Duration) -> Self {
        let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        Self { unix_micros: self.unix_micros.saturating_add(by), ..self }
    }

    /// This measurement as it applies at a later instant.
    fn at(self, at: Instant) -> Self {
        let age = at.saturating_duration_since(self.at);
        let error = self.error + age / DRIFT;
        Self { at, error, ..self.advanced_micros(age) }
    }

    /// The more exact of both, or the new one if they contradict each other, because the remote clock
    /// was set.
    fn updated(self, new: Self) -> Self {
        let last = self.at(new.at);
        let difference = Duration::from_micros(last.unix_micros.abs_diff(new.unix_micros));
        let agree = difference <= last.error + new.error;
        if agree && last.error < new.error { last } else { new }
    }
}

impl Clock for MeasuredClock {
    fn now(&self) -> Timestamp {
        match self.state().measured {
            None => Timestamp::now(),
            Some(last) => {
                Timestamp::from_millis(last.at(Instant::now()).unix_micros.div_euclid(1000))
            }
        }
    }

    /// Half the round trip of the measurement, the drift since then, and a millisecond, because times
    /// are stored in whole milliseconds.
    fn error(&self) -> Duration {
        let measured = self.state().measured;
        measured.map_or(UNMEASURED_ERROR, |last| {
            last.at(Instant::now()).error + Duration::from_millis(1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock that is ahead of the system clock by these milliseconds (`i64::MIN`: reads fail),
    /// and takes this long to respond.
    #[derive(Debug)]
    struct Remote {
        ahead_ms: AtomicI64,
        takes: Duration,
    }

    #[async_trait]
    impl RemoteTime for Remote {
        async fn read(&self) -> Result<TimeReading, Box<dyn std::error::Error + Send + Sync>> {
            let ahead = self.ahead_ms.load(Ordering::SeqCst);
            if ahead == i64::MIN {
                return Err("no response".into());
            }
            let sent = Instant::now();
            sleep(self.takes / 2).await;
            let unix_micros = (Timestamp::now().as_millis() + ahead) * 1000;
            sleep(self.takes / 2).await;
            Ok(TimeReading { unix_micros, sent, received: Instant::now() })
        }
    }

    fn remote(ahead_ms: i64) -> (Arc<Remote>, MeasuredClock) {
        let takes = Duration::from_millis(10);
        let remote = Arc::new(Remote { ahead_ms: AtomicI64::new(ahead_ms), takes });
        (remote.clone(), MeasuredClock::new(remote))
    }

    #[track_caller]
    fn assert_ahead(clock: &MeasuredClock, millis: i64) {
        let ahead = clock.now().as_millis() - Timestamp::now().as_millis();
        let error = i64::try_from(clock.error().as_millis()).expect("short") + 2;
        assert!((ahead - millis).abs() <= error, "{ahead} ms, error {error} ms");
    }

    #[tokio::test]
    async fn the_time_is_the_remote_one_within_half_the_round_trip() {
        for ahead in [40_000, -40_000, 50, 0] {
            let (_, clock) = remote(ahead);
            clock.start().await.expect("measured");
            let error = clock.error();
            assert!(
                error >= Duration::from_millis(6) && error < Duration::from_secs(2),
                "{error:?}"
            );
            assert_ahead(&clock, ahead);
            let offset = Duration::from_secs_f64(clock.offset_seconds().expect("measured").abs());
            let expected = Duration::from_millis(ahead.unsigned_abs());
            assert!(offset.abs_diff(expected) <= error + Duration::from_millis(2), "{offset:?}");
            let is_behind = clock.offset_seconds().is_some_and(f64::is_sign_negative);
            assert!(ahead.abs() < 100 || is_behind == (ahead < 0), "{ahead}");
        }
    }

    #[tokio::test]
    async fn after_a_failed_measurement_the_last_one_remains_in_use() {
        let (remote, clock) = remote(40_000);
        clock.start().await.expect("measured");
        remote.ahead_ms.store(i64::MIN, Ordering::SeqCst);
        assert!(clock.measure().await.is_err());
        assert_ahead(&clock, 40_000);
        remote.ahead_ms.store(7_000, Ordering::SeqCst);
        clock.measure().await.expect("measured");
        assert_ahead(&clock, 7_000);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_measurement_is_retried() {
        let (_, clock) = remote(i64::MIN);
        assert!(clock.start().await.is_err());
        assert_eq!(clock.error(), UNMEASURED_ERROR);
        assert_ahead(&clock, 0);
    }

    #[test]
    fn a_less_exact_measurement_is_used_only_if_the_clock_was_set() {
        let at = Instant::now();
        let ms = Duration::from_millis;
        let exact = Measurement { unix_micros: 1_000_000, at, error: ms(1) };
        let read = |unix_micros, error| Measurement { unix_micros, at: at + ms(30_000), error };
        let kept = exact.updated(read(31_020_000, ms(50)));
        assert_eq!((kept.unix_micros, kept.error), (31_000_000, ms(4)));
        let set = exact.updated(read(91_000_000, ms(50)));
        assert_eq!((set.unix_micros, set.error), (91_000_000, ms(50)));
        let better = exact.updated(read(31_002_000, ms(2)));
        assert_eq!(better.unix_micros, 31_002_000);
    }
}
