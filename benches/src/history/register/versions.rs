//! Which write has created each version, and the state of each.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
};

use shiori_sdk::REMEMBERED_SAVES;

use super::{
    Findings,
    calls::{Calls, Change, Observation, Shown},
    describe,
};
use crate::{
    anomaly::AnomalyKind::{
        self, ConflictWithoutCause, DoubledVersion, Gap, Phantom, PreconditionIgnored,
        ReplayDiffers, Resurrected, TornWrite,
    },
    record::{Call, Record, Seen},
};

/// The versions of a date. The first, 0, is that of a date that never had a diary.
pub(super) struct Versions<'a> {
    /// The versions, from 0.
    pub(super) all: Vec<Version<'a>>,
}

/// One version.
#[derive(Debug, Clone, Default)]
pub(super) struct Version<'a> {
    /// What is known of its state.
    pub(super) state: State,
    /// The first call that may have created it.
    pub(super) first_possible: Option<&'a Record>,
    /// Whether a save with an id may have created it.
    pub(super) may_have_id: bool,
}

/// What is known of the state of a version: `None` if it is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct State {
    /// Whether the date has no diary.
    pub(super) vacant: Option<bool>,
    text: Option<u64>,
    archived: Option<bool>,
}

impl State {
    /// The state of a date without a diary.
    const VACANT: Self = Self { vacant: Some(true), text: None, archived: Some(false) };

    fn after(self, change: Change) -> Self {
        match change {
            Change::Save(text) => {
                Self { vacant: Some(false), text: Some(text), archived: self.archived }
            }
            Change::Delete => Self::VACANT,
            Change::Archive(archived) => {
                Self { vacant: Some(false), text: self.text, archived: Some(archived) }
            }
        }
    }

    fn of(seen: Seen) -> Self {
        let text = seen.text();
        Self { vacant: Some(seen.deleted), text, archived: Some(seen.archived) }
    }

    fn fits(self, other: Self) -> bool {
        fn same<T: PartialEq + Copy>(one: Option<T>, other: Option<T>) -> bool {
            one.is_none() || other.is_none() || one == other
        }
        same(self.vacant, other.vacant)
            && same(self.text, other.text)
            && same(self.archived, other.archived)
    }

    /// What is known from either.
    fn or(self, other: Self) -> Self {
        Self {
            vacant: self.vacant.or(other.vacant),
            text: self.text.or(other.text),
            archived: self.archived.or(other.archived),
        }
    }

    /// What both have in common.
    fn common(self, other: Self) -> Self {
        fn same<T: PartialEq + Copy>(one: Option<T>, other: Option<T>) -> Option<T> {
            if one == other { one } else { None }
        }
        Self {
            vacant: same(self.vacant, other.vacant),
            text: same(self.text, other.text),
            archived: same(self.archived, other.archived),
        }
    }

    /// Whether a write that expects a diary, or none, may be applied to it.
    fn permits(self, expects_diary: bool) -> bool {
        self.vacant != Some(expects_diary)
    }
}

impl<'a> Versions<'a> {
    /// Finds the write of each version.
    pub(super) fn assign(calls: &Calls<'a>, findings: &mut Findings) -> Self {
        let mut assignment = Assignment::new(calls, findings);
        let first = Version { state: State::VACANT, ..Version::default() };
        let mut all = vec![first];
        for number in 1..=assignment.last {
            let version = assignment.version(number, &all);
            all.push(version);
        }
        // Versions after the last one that is known: reads without a diary may have seen a deletion.
        for number in assignment.last + 1..=assignment.possible_writes {
            let Some(version) = assignment.possible_version(number, &all) else { break };
            let may_be_vacant = version.state.vacant != Some(false);
            all.push(version.clone());
            if may_be_vacant {
                // Any of the other writes may follow, and each permits the same reads.
                let any = Version { state: State::default(), may_have_id: true, ..version };
                let count = usize::try_from(assignment.possible_writes - number);
                all.extend(iter::repeat_n(any, count.unwrap_or(0)));
                break;
            }
        }
        Self { all }
    }

    /// Whether the server may have forgotten a save of one version when it receives a repetition that
    /// would create or has seen another one, because of the saves with ids in between.
    pub(super) fn may_forget(&self, saved: u64, later: u64) -> bool {
        may_forget(&self.all, saved, later)
    }
}

fn may_forget(versions: &[Version<'_>], saved: u64, later: u64) -> bool {
    let index = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).min(versions.len());
    let between = versions.get(index(saved.saturating_add(1))..index(later)).unwrap_or_default();
    between.iter().filter(|version| version.may_have_id).nth(REMEMBERED_SAVES - 1).is_some()
}

/// Finds the writes of one version after the other.
struct Assignment<'c, 'a, 'f> {
    calls: &'c Calls<'a>,
    findings: &'f mut Findings,
    /// The highest version that a response shows.
    last: u64,
    /// The number of writes that may have been applied.
    possible_writes: u64,
    acknowledged: BTreeMap<u64, Vec<usize>>,
    /// Writes that may have been applied without an acknowledgement, by the expected version.
    possible: BTreeMap<Option<u64>, Vec<usize>>,
    shown: BTreeMap<u64, Vec<&'c Observation<'a>>>,
    /// The versions of texts.
    saved: BTreeMap<u64, u64>,
    saves: BTreeMap<u64, usize>,
}

impl<'c, 'a, 'f> Assignment<'c, 'a, 'f> {
    fn new(calls: &'c Calls<'a>, findings: &'f mut Findings) -> Self {
        let mut new = Self {
            calls,
            findings,
            last: 0,
            possible_writes: 0,
            acknowledged: BTreeMap::new(),
            possible: BTreeMap::new(),
            shown: BTreeMap::new(),
            saved: BTreeMap::new(),
            saves: BTreeMap::new(),
        };
        for (nth, write) in calls.writes.iter().enumerate() {
            if let Change::Save(text) = write.change {
                new.saves.insert(text, nth);
            }
            new.possible_writes += write.acknowledged.len().max(1) as u64;
            for version in write.acknowledged.keys() {
                new.acknowledged.entry(*version).or_default().push(nth);
            }
            if write.first_possible().is_some() {
                new.possible.entry(write.expected).or_default().push(nth);
            }
        }
        for observation in &calls.observations {
            new.check_cause(observation);
            if let Shown::Version(seen) = observation.shown {
                new.shown.entry(seen.version).or_default().push(observation);
            }
        }
        let versions: BTreeSet<u64> =
            new.acknowledged.keys().chain(new.shown.keys()).copied().collect();
        // Each version needs a write.
        let possible_writes = new.possible_writes;
        new.last = versions.range(..=possible_writes).next_back().copied().unwrap_or(0);
        if let Some(version) = versions.range(possible_writes + 1..).next() {
            let details = format!("version {version} after at most {possible_writes} writes");
            let at = new.noticed(*version).unwrap_or(0);
            new.findings.add(Gap, at, details);
        }
        new
    }

    /// Checks a response by itself.
    fn check_cause(&mut self, observation: &Observation<'_>) {
        let Observation { record, shown, is_conflict } = observation;
        if let Shown::Version(Seen { title: Some(title), content: Some(content), version, .. }) =
            shown
            && title != content
        {
            let details = format!(
                "version {version} has the title of text {title} and the content of text {content}: {}",
                describe(record)
            );
            self.findings.add(TornWrite, record.end, details);
        }
        let expected = match record.call {
            Call::Save { expected, .. } => expected,
            Call::Delete { expected, .. } | Call::Archive { expected, .. } => Some(expected),
            _ => return,
        };
        let current = match shown {
            Shown::Version(seen) => Some(seen.version),
            Shown::Absent | Shown::Never => None,
        };
        if *is_conflict && current == expected {
            let details = format!("the current version is the expected one: {}", describe(record));
            self.findings.add(ConflictWithoutCause, record.end, details);
        }
    }

    /// When a response had been received that has this version.
    fn noticed(&self, version: u64) -> Option<u64> {
        let shown = self.shown.get(&version).into_iter().flatten();
        let shown = shown.map(|observation| observation.record.end);
        let written = self.acknowledged.get(&version).into_iter().flatten().flat_map(|nth| {
            self.calls.writes[*nth].acknowledged[&version].iter().map(|record| record.end)
        });
        shown.chain(written).min()
    }

    fn version(&mut self, number: u64, before: &[Version<'a>]) -> Version<'a> {
        let previous = before.last().map(|version| version.state).unwrap_or_default();
        let mut version = match self.acknowledged.get(&number).cloned() {
            Some(writers) => self.acknowledged_version(number, &writers, before),
            None => self.possible_version(number, before).unwrap_or_else(|| {
                let seen = self.seen(number);
                self.report_without_write(number, previous, seen);
                Version { state: seen, ..Version::default() }
            }),
        };
        let Some(shown) = self.shown.get(&number).cloned() else { return version };
        let mut state = version.state;
        for observation in shown {
            let Shown::Version(seen) = observation.shown else { continue };
            let seen = State::of(seen);
            if !state.fits(seen) {
                self.report_other_state(number, state, seen, observation.record);
                break;
            }
            state = state.or(seen);
        }
        version.state = state;
        version
    }

    fn acknowledged_version(
        &mut self,
        number: u64,
        writers: &[usize],
        before: &[Version<'a>],
    ) -> Version<'a> {
        let calls = self.calls;
        let previous = before.last().map(|version| version.state).unwrap_or_default();
        if let [first, second, ..] = writers {
            let [first, second] = [first, second].map(|nth| {
                let record = calls.writes[*nth].acknowledged[&number][0];
                (describe(record), record.end)
            });
            let details =
                format!("version {number} was acknowledged to {} and to {}", first.0, second.0);
            self.findings.add(DoubledVersion, first.1.max(second.1), details);
        }
        let write = &calls.writes[writers[0]];
        let record = write.acknowledged[&number][0];
        let is_next = write.expected.is_none_or(|expected| expected.checked_add(1) == Some(number));
        if !is_next || !previous.permits(write.expected.is_some()) {
            let details = format!("it created version {number}: {}", describe(record));
            self.findings.add(PreconditionIgnored, record.end, details);
        }
        if let Change::Save(text) = write.change
            && let Some(earlier) = self.saved.insert(text, number)
            && !may_forget(before, earlier, number)
        {
            let details = format!("it created version {earlier} before: {}", describe(record));
            self.findings.add(ReplayDiffers, record.end, details);
        }
        Version {
            state: previous.after(write.change),
            first_possible: write.first_possible(),
            may_have_id: write.has_id,
        }
    }

    /// What responses show of a version.
    fn seen(&self, number: u64) -> State {
        let shown = self.shown.get(&number).into_iter().flatten();
        shown.fold(State::default(), |state, observation| match observation.shown {
            Shown::Version(seen) => state.or(State::of(seen)),
            Shown::Absent | Shown::Never => state,
        })
    }

    /// A version that nobody was acknowledged; `None` if no write can have created it.
    fn possible_version(&mut self, number: u64, before: &[Version<'a>]) -> Option<Version<'a>> {
        let calls = self.calls;
        let previous = before.last().map(|version| version.state).unwrap_or_default();
        let seen = self.seen(number);
        let writes = |expected| self.possible.get(&expected).into_iter().flatten().copied();
        // Not all saves of an absent diary, where the state or a seen text excludes them.
        let (one, all) = match seen.text {
            _ if !previous.permits(false) => (None, None),
            Some(text) => (self.saves.get(&text).copied(), None),
            None => (None, Some(writes(None))),
        };
        let one = one.filter(|nth| {
            let write = &calls.writes[*nth];
            write.expected.is_none() && write.first_possible().is_some()
        });
        let candidates: Vec<usize> = writes(Some(number - 1))
            .chain(one)
            .chain(all.into_iter().flatten())
            .filter(|nth| {
                let write = &calls.writes[*nth];
                let is_free = match write.change {
                    Change::Save(text) => self.saved.get(&text).is_none_or(|saved| {
                        write.expected.is_none() && may_forget(before, *saved, number)
                    }),
                    _ => true,
                };
                is_free
                    && (write.acknowledged.is_empty() || write.expected.is_none())
                    && previous.permits(write.expected.is_some())
                    && previous.after(write.change).fits(seen)
            })
            .collect();
        let (first, others) = candidates.split_first()?;
        let after = |nth: &usize| previous.after(calls.writes[*nth].change);
        let state = others.iter().fold(after(first), |state, nth| state.common(after(nth)));
        // The text was not the previous one, so this save has created the version.
        if let Some(text) = seen.text.filter(|text| previous.text != Some(*text))
            && (previous.text.is_some() || previous.vacant == Some(true))
        {
            self.saved.insert(text, number);
        }
        let possible = candidates.iter().filter_map(|nth| calls.writes[*nth].first_possible());
        Some(Version {
            state,
            first_possible: possible.min_by_key(|record| record.start),
            may_have_id: candidates.iter().any(|nth| calls.writes[*nth].has_id),
        })
    }

    fn report_without_write(&mut self, number: u64, previous: State, seen: State) {
        let kind = match seen.text {
            Some(text) if previous.text != Some(text) => self.kind_of_text(text, number),
            _ => Gap,
        };
        let at = self.noticed(number).or_else(|| {
            let later = self.acknowledged.keys().chain(self.shown.keys());
            later.filter(|later| **later > number).find_map(|later| self.noticed(*later))
        });
        let details = match seen.text {
            Some(text) => format!("no save can have created version {number} with text {text}"),
            None => format!("no write can have created version {number}"),
        };
        self.findings.add(kind, at.unwrap_or(0), details);
    }

    /// Why a text may not be that of this version.
    fn kind_of_text(&self, text: u64, number: u64) -> AnomalyKind {
        let write = self.saves.get(&text).map(|nth| &self.calls.writes[*nth]);
        match write {
            Some(write) if write.first_possible().is_some() => match self.saved.get(&text) {
                Some(saved) if *saved < number => Resurrected,
                Some(_) => DoubledVersion,
                None => PreconditionIgnored,
            },
            _ => Phantom,
        }
    }

    fn report_other_state(&mut self, number: u64, state: State, seen: State, record: &Record) {
        let (kind, details) = match (state.vacant, seen.vacant, seen.text) {
            (Some(true), Some(false), _) => (
                Resurrected,
                format!("version {number} is a deletion, but {} shows a diary", describe(record)),
            ),
            (_, _, Some(text)) if state.text.is_some_and(|expected| expected != text) => {
                let kind = match self.kind_of_text(text, number) {
                    PreconditionIgnored => DoubledVersion,
                    other => other,
                };
                (
                    kind,
                    format!(
                        "version {number} has another text than {text} of {}",
                        describe(record)
                    ),
                )
            }
            _ => (
                DoubledVersion,
                format!("version {number} has another state than in {}", describe(record)),
            ),
        };
        self.findings.add(kind, record.end, details);
    }
}
