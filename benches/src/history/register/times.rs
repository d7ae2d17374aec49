//! Whether the versions can have been written at times that fit all calls.

use std::collections::HashSet;

use super::{
    Findings,
    calls::{Calls, Observation, Shown},
    describe,
    versions::Versions,
};
use crate::{
    anomaly::AnomalyKind::{
        self, ConflictWithoutCause, FutureRead, LostWrite, OutOfOrder, Resurrected, StaleRead,
    },
    record::Record,
};

/// Rounds in which responses without a diary narrow the times.
const MAX_ROUNDS: usize = 8;

/// Checks the times of all calls of a date.
pub(super) fn check(calls: &Calls<'_>, versions: &Versions<'_>, findings: &mut Findings) {
    let mut times = Times::of(calls, versions);
    times.check_order(versions, findings);
    if !findings.is_empty() {
        return;
    }
    let absent: Vec<_> =
        calls.observations.iter().filter(|it| matches!(it.shown, Shown::Absent)).collect();
    for _ in 0..MAX_ROUNDS {
        if !times.narrow(versions, &absent, findings) || !findings.is_empty() {
            return;
        }
        times.check_order(versions, findings);
    }
}

/// A call that bounds the time of a version.
#[derive(Debug, Clone, Copy)]
struct Bound<'a> {
    at: u64,
    record: &'a Record,
    reason: Reason,
}

/// Why a call bounds the time of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// It has written the version.
    Written,
    /// Its response shows this version, or for a lower bound the version before.
    Shown,
    /// As `Shown`, in the response to a rejected write.
    Conflict,
}

/// The bounds of the times of all versions.
pub(super) struct Times<'a> {
    /// The version was written after this.
    lower: Vec<Option<Bound<'a>>>,
    /// The version was written before this.
    upper: Vec<Option<Bound<'a>>>,
    /// For each version, the last start of a call that shows it or a later one.
    last_known: Vec<u64>,
}

impl<'a> Times<'a> {
    /// The bounds by the calls whose version is known.
    pub(super) fn of(calls: &Calls<'a>, versions: &Versions<'a>) -> Self {
        // One more, so that the last version has a next one.
        let length = versions.all.len() + 1;
        let mut times = Self {
            lower: vec![None; length],
            upper: vec![None; length],
            last_known: vec![0; length],
        };
        for (number, version) in versions.all.iter().enumerate() {
            if let Some(record) = version.first_possible {
                times.raise(number, Bound { at: record.start, record, reason: Reason::Written });
            }
        }
        let written = calls.writes.iter().flat_map(|write| &write.acknowledged);
        for (version, records) in written {
            let Some(number) = index(*version, length - 1) else { continue };
            for record in records {
                times.reduce(number, Bound { at: record.end, record, reason: Reason::Written });
                times.last_known[number] = times.last_known[number].max(record.start);
            }
        }
        for observation in &calls.observations {
            let number = observation.version().and_then(|version| index(version, length - 1));
            if let Some(number) = number {
                times.show(number, observation);
                times.last_known[number] = times.last_known[number].max(observation.record.start);
            }
        }
        for number in (1..length).rev() {
            times.last_known[number - 1] =
                times.last_known[number - 1].max(times.last_known[number]);
        }
        times
    }

    /// For each version, the latest time at which it was written; `None` if it is not known.
    pub(super) fn written_before(&self) -> Vec<Option<u64>> {
        let mut all = vec![None; self.upper.len()];
        let mut earliest = None;
        // A version was written before each later one.
        for (number, bound) in self.upper.iter().enumerate().rev() {
            earliest = bound.map(|bound| bound.at).into_iter().chain(earliest).min();
            all[number] = earliest;
        }
        all
    }

    /// The response shows this version.
    fn show(&mut self, number: usize, observation: &Observation<'a>) {
        let record = observation.record;
        let reason = if observation.is_conflict { Reason::Conflict } else { Reason::Shown };
        if number > 0 {
            self.reduce(number, Bound { at: record.end, record, reason });
        }
        self.raise(number + 1, Bound { at: observation.since(), record, reason });
    }

    fn raise(&mut self, number: usize, bound: Bound<'a>) {
        let lower = &mut self.lower[number];
        if lower.is_none_or(|lower| lower.at < bound.at) {
            *lower = Some(bound);
        }
    }

    fn reduce(&mut self, number: usize, bound: Bound<'a>) {
        let upper = &mut self.upper[number];
        if upper.is_none_or(|upper| upper.at > bound.at) {
            *upper = Some(bound);
        }
    }

    /// Checks that the earliest times exceed no upper bound.
    fn check_order(&self, versions: &Versions<'a>, findings: &mut Findings) {
        let mut earliest: Option<Bound<'a>> = None;
        let mut written: Option<Bound<'a>> = None;
        let mut reported = HashSet::new();
        for number in 1..versions.all.len() {
            earliest = later(earliest, self.lower[number]);
            let began = versions.all[number].first_possible;
            let began =
                began.map(|record| Bound { at: record.start, record, reason: Reason::Written });
            written = later(written, began);
            let (Some(lower), Some(upper)) = (earliest, self.upper[number]) else { continue };
            // A write that had not begun is the better explanation.
            let lower = written.filter(|written| written.at > upper.at).unwrap_or(lower);
            if lower.at <= upper.at {
                continue;
            }
            let (kind, blamed) = self.explain(versions, number, lower, upper);
            if reported.insert((kind, blamed.start, blamed.client)) {
                let details = format!(
                    "version {number} was known before: {}; but: {}",
                    describe(upper.record),
                    describe(lower.record)
                );
                findings.add(kind, lower.record.end.max(upper.record.end), details);
            }
            // Without this bound, so that one cause is not reported for all later versions.
            earliest = Some(Bound { at: upper.at, ..lower });
            written = written.filter(|written| written.at <= upper.at);
        }
    }

    /// The anomaly if a version was known at the upper bound, and not yet written at the lower bound;
    /// and the call that shows it.
    fn explain(
        &self,
        versions: &Versions<'_>,
        number: usize,
        lower: Bound<'a>,
        upper: Bound<'a>,
    ) -> (AnomalyKind, &'a Record) {
        match (lower.reason, upper.reason) {
            (Reason::Written, Reason::Written) => (OutOfOrder, upper.record),
            (Reason::Written, Reason::Shown) => (FutureRead, upper.record),
            (Reason::Conflict, _) => (ConflictWithoutCause, lower.record),
            (Reason::Written, Reason::Conflict) => (ConflictWithoutCause, upper.record),
            (Reason::Shown, _) => {
                let is_deletion = |number: usize| {
                    versions.all.get(number).is_some_and(|it| it.state.vacant == Some(true))
                };
                let shown = (1..=number).rev().find(|it| {
                    self.lower[*it].is_some_and(|bound| std::ptr::eq(bound.record, lower.record))
                });
                let shown = shown.map_or(0, |next| next - 1);
                let kind =
                    if shown > 0 && !is_deletion(shown) && (shown + 1..=number).any(is_deletion) {
                        Resurrected
                    } else if self.last_known[number] <= upper.at {
                        LostWrite
                    } else {
                        StaleRead
                    };
                (kind, lower.record)
            }
        }
    }

    /// Narrows the times by the responses without a diary that fit only one version without one.
    /// Returns whether a bound has changed.
    fn narrow(
        &mut self,
        versions: &Versions<'_>,
        absent: &[&Observation<'a>],
        findings: &mut Findings,
    ) -> bool {
        let count = versions.all.len();
        let earliest: Vec<u64> = self.lower[..count]
            .iter()
            .scan(0, |earliest, lower| {
                *earliest = lower.map_or(0, |lower| lower.at).max(*earliest);
                Some(*earliest)
            })
            .collect();
        let mut latest = vec![u64::MAX; count + 1];
        for number in (0..count).rev() {
            let upper = self.upper[number].map_or(u64::MAX, |upper| upper.at);
            latest[number] = upper.min(latest[number + 1]);
        }
        let vacant: Vec<usize> =
            (0..count).filter(|nth| versions.all[*nth].state.vacant != Some(false)).collect();
        let mut has_changed = false;
        for observation in absent {
            let (start, end) = (observation.since(), observation.record.end);
            // Both limits grow with the version.
            let first = vacant.partition_point(|nth| latest[nth + 1] < start);
            let behind = vacant.partition_point(|nth| earliest[*nth] <= end);
            if behind <= first {
                let is_early = vacant.get(first).is_some();
                let kind = match (observation.is_conflict, is_early) {
                    (true, _) => ConflictWithoutCause,
                    (false, true) => FutureRead,
                    (false, false) => self.kind_of_missing(start),
                };
                let details = format!("the date had a diary: {}", describe(observation.record));
                findings.add(kind, end, details);
            } else if behind - first == 1 {
                let number = vacant[first];
                let before = (self.lower[number + 1], self.upper[number]);
                self.show(number, observation);
                let bounds = |(lower, upper): (Option<Bound<'_>>, Option<Bound<'_>>)| {
                    (lower.map(|bound| bound.at), upper.map(|bound| bound.at))
                };
                has_changed |=
                    bounds(before) != bounds((self.lower[number + 1], self.upper[number]));
            }
        }
        has_changed
    }

    /// Whether a read without a diary that began then is stale, or what was written is lost.
    fn kind_of_missing(&self, start: u64) -> AnomalyKind {
        let is_known_later = self.last_known.get(1).is_some_and(|known| *known > start);
        if is_known_later { StaleRead } else { LostWrite }
    }
}

/// The later one of two lower bounds.
fn later<'a>(one: Option<Bound<'a>>, other: Option<Bound<'a>>) -> Option<Bound<'a>> {
    [one, other].into_iter().flatten().max_by_key(|bound| bound.at)
}

/// The index of a version, if it is below this count.
pub(super) fn index(version: u64, count: usize) -> Option<usize> {
    usize::try_from(version).ok().filter(|number| *number < count)
}
