//! How much a run measures. A quick run with both profiles takes about two minutes on 2 cores.

use std::time::Duration;

use crate::options::Options;

/// The sizes of all experiments.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// `full` or `quick`, with `growth`.
    pub(crate) mode: String,
    /// Repeats of each figure.
    pub(crate) repeats: usize,
    /// The time of one loop.
    pub(crate) loop_time: Duration,
    /// Clients of the closed loops. Of one address, the server handles 128 requests at a time.
    pub(crate) clients: Vec<u32>,
    /// Summary requests of one closed loop with one client; with several clients, four times as
    /// many.
    pub(crate) requests: usize,
    /// Concurrent writers of one day.
    pub(crate) writers: Vec<u32>,
    /// Of these, the numbers that are also measured with other policies than the SDK's.
    pub(crate) rival_writers: Vec<u32>,
    /// The time of the rounds of each number of writers; at least one round.
    pub(crate) round_time: Duration,
    /// Concurrent summary requests.
    pub(crate) concurrency: Vec<u32>,
    /// Summaries in flight.
    pub(crate) in_flight: Vec<u32>,
    /// Repeats of the throughput and the recovery, which take seconds each.
    pub(crate) long_repeats: usize,
    /// The numbers of diaries of the growth curve.
    pub(crate) diaries: Vec<u32>,
    /// The numbers of queued summaries of the growth curve.
    pub(crate) queued: Vec<u32>,
    /// How long an idle server is observed, in several windows. All of them are longer than the 10 s
    /// after which a hint is repeated.
    pub(crate) idle_window: Duration,
    /// The numbers of finished summaries of a week. A server keeps five; databases of older versions
    /// contain more.
    pub(crate) finished: Vec<u32>,
}

impl Plan {
    /// A full or a quick run, with or without the large sizes of the growth curves.
    pub(crate) fn new(options: &Options) -> Self {
        let mut plan = if options.quick { Self::quick() } else { Self::full() };
        if options.growth {
            plan.mode.push_str(" with growth");
            plan.diaries = vec![10_000, 1_000_000, 10_000_000];
            plan.queued = vec![1_000, 10_000, 100_000, 1_000_000];
            plan.idle_window = Duration::from_secs(10);
        }
        if let Some(max) = options.max_rows {
            plan.diaries.retain(|count| *count <= max);
            plan.queued.retain(|count| *count <= max);
        }
        plan
    }

    fn full() -> Self {
        Self {
            mode: "full".to_owned(),
            repeats: 5,
            loop_time: Duration::from_millis(700),
            clients: vec![1, 8, 32, 96],
            requests: 250,
            writers: vec![2, 8, 32, 128],
            rival_writers: vec![2, 8, 32, 128],
            round_time: Duration::from_millis(200),
            concurrency: vec![1, 8, 32, 128],
            in_flight: vec![16, 64, 256],
            long_repeats: 3,
            diaries: vec![1_000, 10_000, 100_000],
            queued: vec![1_000, 10_000],
            idle_window: Duration::from_secs(4),
            finished: vec![1, 5, 1_000],
        }
    }

    fn quick() -> Self {
        Self {
            mode: "quick".to_owned(),
            repeats: 3,
            loop_time: Duration::from_millis(250),
            clients: vec![1, 32],
            requests: 60,
            writers: vec![2, 8, 128],
            rival_writers: vec![2, 8],
            round_time: Duration::from_millis(50),
            concurrency: vec![1, 8, 32],
            in_flight: vec![16, 64],
            long_repeats: 1,
            diaries: vec![1_000, 20_000],
            queued: vec![1_000],
            idle_window: Duration::from_millis(3500),
            finished: vec![1, 5],
        }
    }
}
