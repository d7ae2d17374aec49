//! The calls of one date: its writes, and what responses show of it.

use std::collections::BTreeMap;

use shiori_sdk::Date;

use crate::record::{Call, Outcome, Record, Seen};

/// The calls of one date.
pub(super) struct Calls<'a> {
    /// The writes. All attempts of one save are one write.
    pub(super) writes: Vec<Write<'a>>,
    /// What responses show.
    pub(super) observations: Vec<Observation<'a>>,
}

/// A write: a save with all its attempts, a deletion, or a change of the archive state.
pub(super) struct Write<'a> {
    /// What it changes.
    pub(super) change: Change,
    /// The version that it replaces; `None` if it expects no diary.
    pub(super) expected: Option<u64>,
    /// Whether repetitions are recognised.
    pub(super) has_id: bool,
    /// Its attempts.
    pub(super) attempts: Vec<&'a Record>,
    /// The acknowledged attempts, by version.
    pub(super) acknowledged: BTreeMap<u64, Vec<&'a Record>>,
}

/// What a write changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// The text becomes this one.
    Save(u64),
    /// The diary is deleted.
    Delete,
    /// The diary is archived or restored.
    Archive(bool),
}

/// A response that shows the state of the date.
pub(super) struct Observation<'a> {
    /// The call.
    pub(super) record: &'a Record,
    /// The state.
    pub(super) shown: Shown,
    /// Whether it is the response to a rejected write.
    pub(super) is_conflict: bool,
}

/// A state that a response shows.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shown {
    /// A version.
    Version(Seen),
    /// No diary: it was deleted, or there never was one.
    Absent,
    /// There never was a diary.
    Never,
}

impl<'a> Write<'a> {
    /// The first attempt that may have been applied; `None` if all were rejected.
    pub(super) fn first_possible(&self) -> Option<&'a Record> {
        let possible = |record: &&&Record| {
            matches!(
                record.outcome,
                Outcome::Saved { .. }
                    | Outcome::Archived(_)
                    | Outcome::Deleted
                    | Outcome::Indeterminate
            )
        };
        self.attempts.iter().filter(possible).min_by_key(|record| record.start).copied()
    }
}

impl<'a> Calls<'a> {
    /// The calls of this date, from the records that concern it.
    pub(super) fn of(date: Date, records: &[&'a Record]) -> Self {
        let mut calls = Self { writes: Vec::new(), observations: Vec::new() };
        let mut saves: BTreeMap<u64, usize> = BTreeMap::new();
        for &record in records {
            match record.call {
                Call::Save { expected, save_id, text, .. } => {
                    let writes = &mut calls.writes;
                    let nth = *saves.entry(text).or_insert_with(|| {
                        writes.push(Write::new(Change::Save(text), expected, save_id.is_some()));
                        writes.len() - 1
                    });
                    calls.writes[nth].add(record);
                }
                Call::Delete { expected, .. } => {
                    calls.add_write(Change::Delete, expected, record);
                }
                Call::Archive { expected, archived, .. } => {
                    calls.add_write(Change::Archive(archived), expected, record);
                }
                _ => {}
            }
            calls.observe(date, record);
        }
        calls
    }

    fn add_write(&mut self, change: Change, expected: u64, record: &'a Record) {
        let mut write = Write::new(change, Some(expected), false);
        write.add(record);
        self.writes.push(write);
    }

    fn observe(&mut self, date: Date, record: &'a Record) {
        let seen = |seen: Option<Seen>| seen.map_or(Shown::Absent, Shown::Version);
        let (shown, is_conflict) = match &record.outcome {
            Outcome::Diary(diary) => (seen(*diary), false),
            Outcome::Conflict(current) => (seen(*current), true),
            Outcome::NotFound => (Shown::Absent, true),
            Outcome::Dates(dates) => {
                let found = dates.iter().find(|(of, _)| *of == date).map(|(_, seen)| *seen);
                let has_deletions = matches!(record.call, Call::Versions { .. });
                let absent = if has_deletions { Shown::Never } else { Shown::Absent };
                (found.map_or(absent, Shown::Version), false)
            }
            _ => return,
        };
        self.observations.push(Observation { record, shown, is_conflict });
    }
}

impl<'a> Write<'a> {
    fn new(change: Change, expected: Option<u64>, has_id: bool) -> Self {
        Self { change, expected, has_id, attempts: Vec::new(), acknowledged: BTreeMap::new() }
    }

    fn add(&mut self, record: &'a Record) {
        self.attempts.push(record);
        let version = match record.outcome {
            Outcome::Saved { version, .. } | Outcome::Archived(version) => version,
            // The response has no version.
            Outcome::Deleted => self.expected.map_or(0, |expected| expected.saturating_add(1)),
            _ => return,
        };
        self.acknowledged.entry(version).or_default().push(record);
    }
}

impl Observation<'_> {
    /// The earliest time whose state the response may show. A server that has an older version than the
    /// one that a write expects makes sure that it is current.
    pub(super) fn since(&self) -> u64 {
        let expected = match self.record.call {
            Call::Save { expected, .. } => expected,
            Call::Delete { expected, .. } | Call::Archive { expected, .. } => Some(expected),
            _ => None,
        };
        let versions = self.version().zip(expected).filter(|_| self.is_conflict);
        match versions {
            Some((shown, expected)) if shown < expected => self.record.start,
            _ => self.record.shows_since(),
        }
    }

    /// The version that the response shows; 0 if there never was a diary, `None` if it is not known.
    pub(super) fn version(&self) -> Option<u64> {
        match self.shown {
            Shown::Version(seen) => Some(seen.version),
            Shown::Never => Some(0),
            Shown::Absent => None,
        }
    }
}
