//! Counts of attempts in memory.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use shiori_sdk::Timestamp;

use super::Attempts;

/// Maximum number of keys whose attempts are counted, several times more than a process can hash
/// passwords for in a usual window. Beyond it, the windows that end first end early.
const MAX_KEYS: usize = 1 << 17;

/// Counts attempts for a store that only one server uses. So many logins do not cause writes that
/// saves would wait for. The counts are lost when the process ends, which clients cannot cause.
#[derive(Debug, Default)]
pub(super) struct AttemptCounts(Mutex<Windows>);

#[derive(Debug, Default)]
struct Windows {
    by_key: HashMap<[u8; 32], Window>,
    by_end: BTreeSet<(Timestamp, [u8; 32])>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    count: u32,
    ends_at: Timestamp,
}

impl AttemptCounts {
    /// Counts an attempt.
    pub(super) fn record(&self, key: &[u8; 32], now: Timestamp, window: Duration) -> Attempts {
        let mut windows = self.windows();
        windows.end_old(now);
        let window = match windows.by_key.get_mut(key) {
            Some(window) => window,
            None => windows.begin(key, now + window),
        };
        window.count = window.count.saturating_add(1);
        Attempts { count: window.count, remaining: window.ends_at.duration_since(now) }
    }

    /// Subtracts an attempt.
    pub(super) fn refund(&self, key: &[u8; 32]) {
        if let Some(window) = self.windows().by_key.get_mut(key) {
            window.count = window.count.saturating_sub(1);
        }
    }

    /// Ends the window.
    pub(super) fn clear(&self, key: &[u8; 32]) {
        self.windows().end(key);
    }

    fn windows(&self) -> MutexGuard<'_, Windows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Windows {
    /// Begins a window, in place of an earlier one.
    fn begin(&mut self, key: &[u8; 32], ends_at: Timestamp) -> &mut Window {
        self.by_end.insert((ends_at, *key));
        self.by_key.entry(*key).insert_entry(Window { count: 0, ends_at }).into_mut()
    }

    fn end(&mut self, key: &[u8; 32]) {
        if let Some(window) = self.by_key.remove(key) {
            self.by_end.remove(&(window.ends_at, *key));
        }
    }

    /// Ends the windows whose time is over, and the next ones if there are too many.
    fn end_old(&mut self, now: Timestamp) {
        while let Some((ends_at, key)) = self.by_end.first().copied() {
            if ends_at > now && self.by_key.len() < MAX_KEYS {
                return;
            }
            self.end(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_mins(5);

    fn key(number: usize) -> [u8; 32] {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&(number as u64).to_le_bytes());
        key
    }

    fn sizes(counts: &AttemptCounts) -> (usize, usize) {
        let windows = counts.windows();
        (windows.by_key.len(), windows.by_end.len())
    }

    #[test]
    fn memory_is_bounded() {
        let (counts, now) = (AttemptCounts::default(), Timestamp::now());
        for number in 0..MAX_KEYS + 10 {
            counts.record(&key(number), now, WINDOW);
        }
        assert_eq!(sizes(&counts), (MAX_KEYS, MAX_KEYS));
        for _ in 0..10 {
            counts.record(&key(0), now, WINDOW);
            counts.clear(&key(0));
        }
        assert!(sizes(&counts).1 <= MAX_KEYS);
        counts.record(&key(1), now + WINDOW, WINDOW);
        assert_eq!(sizes(&counts), (1, 1), "windows that have ended are dropped");
    }

    #[test]
    fn a_long_window_does_not_keep_short_ones() {
        let (counts, now) = (AttemptCounts::default(), Timestamp::now());
        counts.record(&key(0), now, 12 * WINDOW);
        counts.record(&key(1), now, WINDOW);
        let later = now + WINDOW;
        let attempts = counts.record(&key(0), later, 12 * WINDOW);
        assert_eq!(attempts, Attempts { count: 2, remaining: 11 * WINDOW });
        assert_eq!(sizes(&counts), (1, 1));
    }
}
