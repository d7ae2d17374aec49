//! Login attempts in memory.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use shiori_sdk::Timestamp;

use super::{LoginAttempt, ThrottlePolicy};

/// Maximum number of addresses whose attempts are counted, more than a process can hash passwords
/// for in a usual window. Beyond it, the oldest windows end early.
const MAX_ADDRESSES: usize = 1 << 16;

/// Counts login attempts for a store that only one server uses. So many logins do not cause writes
/// that saves would wait for. The counts are lost when the process ends, which clients cannot
/// cause.
#[derive(Debug, Default)]
pub(super) struct LoginAttempts(Mutex<Windows>);

#[derive(Debug, Default)]
struct Windows {
    by_key: HashMap<[u8; 32], Window>,
    /// In the order of their beginning, including windows that were cleared since.
    order: VecDeque<([u8; 32], Timestamp)>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    attempts: u32,
    ends_at: Timestamp,
}

impl LoginAttempts {
    /// Counts an attempt.
    pub(super) fn record(
        &self,
        key: &[u8; 32],
        now: Timestamp,
        policy: ThrottlePolicy,
    ) -> LoginAttempt {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        windows.forget_old(now);
        let window = match windows.by_key.get_mut(key) {
            Some(window) if window.ends_at > now => window,
            _ => windows.begin(key, now + policy.window),
        };
        window.attempts = window.attempts.saturating_add(1);
        if window.attempts <= policy.attempts {
            LoginAttempt::Allowed
        } else {
            LoginAttempt::Throttled(window.ends_at.duration_since(now))
        }
    }

    /// Resets the count.
    pub(super) fn clear(&self, key: &[u8; 32]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).by_key.remove(key);
    }
}

impl Windows {
    fn begin(&mut self, key: &[u8; 32], ends_at: Timestamp) -> &mut Window {
        self.order.push_back((*key, ends_at));
        let window = self.by_key.entry(*key).or_insert(Window { attempts: 0, ends_at });
        *window = Window { attempts: 0, ends_at };
        window
    }

    /// Drops windows that have ended, and the oldest beyond the limit.
    fn forget_old(&mut self, now: Timestamp) {
        while let Some((key, ends_at)) = self.order.front() {
            if *ends_at > now && self.order.len() < MAX_ADDRESSES {
                return;
            }
            if self.by_key.get(key).is_some_and(|window| window.ends_at == *ends_at) {
                self.by_key.remove(key);
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const POLICY: ThrottlePolicy = ThrottlePolicy { attempts: 2, window: Duration::from_mins(5) };

    fn key(number: usize) -> [u8; 32] {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&(number as u64).to_le_bytes());
        key
    }

    #[test]
    fn memory_is_bounded() {
        let (attempts, now) = (LoginAttempts::default(), Timestamp::now());
        let counts = |attempts: &LoginAttempts| {
            let windows = attempts.0.lock().expect("not poisoned");
            (windows.by_key.len(), windows.order.len())
        };
        for number in 0..MAX_ADDRESSES + 10 {
            attempts.record(&key(number), now, POLICY);
        }
        assert_eq!(counts(&attempts), (MAX_ADDRESSES, MAX_ADDRESSES));
        // Repeated logins of one address do not need more memory, either.
        for _ in 0..MAX_ADDRESSES + 10 {
            attempts.record(&key(0), now, POLICY);
            attempts.clear(&key(0));
        }
        assert!(counts(&attempts).1 <= MAX_ADDRESSES);
        attempts.record(&key(1), now + POLICY.window, POLICY);
        assert_eq!(counts(&attempts), (1, 1), "windows that have ended are dropped");
    }

    #[test]
    fn a_window_that_was_cleared_does_not_end_the_next_one() {
        let (attempts, now) = (LoginAttempts::default(), Timestamp::now());
        attempts.record(&key(1), now, POLICY);
        attempts.clear(&key(1));
        let later = now + Duration::from_mins(4);
        for _ in 0..2 {
            assert_eq!(attempts.record(&key(1), later, POLICY), LoginAttempt::Allowed);
        }
        // The first window ends; the second continues.
        let (end, left) = (now + POLICY.window, Duration::from_mins(4));
        assert_eq!(attempts.record(&key(1), end, POLICY), LoginAttempt::Throttled(left));
    }
}
