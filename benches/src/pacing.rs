use std::time::Duration;

use rand::{Rng, RngExt};
use shiori_sdk::{ConflictPacing, ConflictPolicy};

const BASE: Duration = Duration::from_millis(100);
const CAP: Duration = Duration::from_secs(2);

/// A policy of retries after a conflict, and its limits.
#[derive(Debug, Clone, Copy)]
pub struct Contender {
    /// Its name, in Markdown.
    pub name: &'static str,
    /// Maximum number of saves of one writer.
    pub attempts: u32,
    /// The time after which a writer starts no further save.
    pub deadline: Duration,
    /// The pauses of a new writer.
    pub start: fn() -> Pacing,
}

/// The pauses of one writer.
#[derive(Debug)]
pub enum Pacing {
    /// client-go's `DefaultRetry`: 10 ms with 10 % jitter.
    ClientGo,
    /// Uniform below a ceiling that doubles, from 100 ms to 2 s (AWS, "Exponential Backoff And
    /// Jitter").
    FullJitter {
        /// The ceiling of the next pause.
        ceiling: Duration,
    },
    /// Uniform between 100 ms and three times the last pause, at most 2 s (same source).
    Decorrelated {
        /// The last pause.
        last: Duration,
    },
    /// The SDK's policy.
    Shiori(ConflictPacing),
}

impl Pacing {
    /// The pause after a conflict of a writer that was this number of versions behind.
    pub fn pause(&mut self, behind: u64, round_trip: Duration, random: &mut impl Rng) -> Duration {
        let uniform: f64 = random.random();
        match self {
            Self::ClientGo => Duration::from_millis(10).mul_f64(1.0 + 0.1 * uniform),
            Self::FullJitter { ceiling } => {
                let pause = ceiling.mul_f64(uniform);
                *ceiling = (*ceiling * 2).min(CAP);
                pause
            }
            Self::Decorrelated { last } => {
                *last = (BASE + (*last * 3).saturating_sub(BASE).mul_f64(uniform)).min(CAP);
                *last
            }
            Self::Shiori(pacing) => pacing.pause(behind, round_trip, uniform),
        }
    }
}

/// The SDK's policy, and others that are common. The SDK's is the last.
pub fn contenders() -> [Contender; 4] {
    let ConflictPolicy { attempts, deadline, .. } = ConflictPolicy::default();
    [
        Contender {
            name: "client-go `DefaultRetry`, 5 attempts",
            attempts: 5,
            deadline,
            start: || Pacing::ClientGo,
        },
        Contender {
            name: "full jitter 100 ms → 2 s",
            attempts,
            deadline,
            start: || Pacing::FullJitter { ceiling: BASE },
        },
        Contender {
            name: "decorrelated jitter 100 ms → 2 s",
            attempts,
            deadline,
            start: || Pacing::Decorrelated { last: BASE },
        },
        Contender {
            name: "**Shiori's default**",
            attempts,
            deadline,
            start: || Pacing::Shiori(ConflictPolicy::default().pacing()),
        },
    ]
}
