use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use shiori_sdk::UserId;

/// Maximum exports of one user in progress. A second one is useful after a lost connection, which the
/// server notices late.
const MAX_PER_USER: usize = 2;

/// Maximum exports in progress. Each has one page of diaries in memory.
const MAX_TOTAL: usize = 64;

/// Counts the exports in progress.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exports(Arc<Mutex<HashMap<UserId, usize>>>);

/// A limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TooMany {
    /// The limit of all users together.
    Total,
    /// The limit of this user.
    OfUser,
}

impl Exports {
    /// Counts an export of this user until the result is dropped.
    ///
    /// # Errors
    ///
    /// [`TooMany`] at a limit.
    pub(crate) fn begin(&self, user: UserId) -> Result<ExportSlot, TooMany> {
        let mut by_user = self.by_user();
        if by_user.get(&user).is_some_and(|count| *count >= MAX_PER_USER) {
            return Err(TooMany::OfUser);
        }
        if by_user.values().sum::<usize>() >= MAX_TOTAL {
            return Err(TooMany::Total);
        }
        *by_user.entry(user).or_default() += 1;
        Ok(ExportSlot { exports: self.clone(), user })
    }

    fn by_user(&self) -> MutexGuard<'_, HashMap<UserId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An export in progress. Dropping this ends it.
#[derive(Debug)]
pub(crate) struct ExportSlot {
    exports: Exports,
    user: UserId,
}

impl Drop for ExportSlot {
    fn drop(&mut self) {
        let mut by_user = self.exports.by_user();
        if let Some(count) = by_user.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                by_user.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_are_limited_for_each_user_and_in_total() {
        let exports = Exports::default();
        let user = UserId::new();
        let first = exports.begin(user).expect("free");
        let second = exports.begin(user).expect("free");
        assert_eq!(exports.begin(user).expect_err("full"), TooMany::OfUser);
        drop(first);
        let third = exports.begin(user).expect("free again");
        let others: Vec<_> =
            (2..MAX_TOTAL).map(|_| exports.begin(UserId::new()).expect("free")).collect();
        assert_eq!(exports.begin(UserId::new()).expect_err("full"), TooMany::Total);
        drop((second, third, others));
        assert!(exports.by_user().is_empty(), "no user is kept without exports");
    }
}
