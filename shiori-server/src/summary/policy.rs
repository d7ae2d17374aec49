use std::time::Duration;

/// The numbers of a summary's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SummaryPolicy {
    /// How long a worker holds a summary without a heartbeat. Default 30 s.
    pub lease: Duration,
    /// How often a summary is tried. Default 5.
    pub max_attempts: u32,
    /// Days of the week that need a diary, 1 to 7. Default 7.
    pub required_days: u32,
    /// Unfinished summaries that one user may have. Default 32.
    pub max_unfinished: u32,
    /// How long the queue has to deliver a hint before it is offered again. Default 10 s.
    pub hint_timeout: Duration,
    /// The first retry comes within this time. Default 2 s.
    pub first_backoff: Duration,
    /// No retry waits longer than this of itself. Default 5 min.
    pub max_backoff: Duration,
}

impl Default for SummaryPolicy {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            max_attempts: 5,
            required_days: 7,
            max_unfinished: 32,
            hint_timeout: Duration::from_secs(10),
            first_backoff: Duration::from_secs(2),
            max_backoff: Duration::from_secs(300),
        }
    }
}

impl SummaryPolicy {
    /// How long to wait after the given failed attempt (from 1 on): exponential with full jitter
    /// (AWS, "Exponential Backoff And Jitter"). `jitter` is uniform in 0..1.
    pub(super) fn backoff(&self, attempt: u32, jitter: f64) -> Duration {
        let doubled = 2_u32.saturating_pow(attempt.saturating_sub(1));
        let ceiling = self.first_backoff.saturating_mul(doubled).min(self.max_backoff);
        ceiling.mul_f64(jitter.clamp(0.0, 1.0))
    }
}
