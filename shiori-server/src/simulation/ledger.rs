//! What has happened in a schedule, and the rules that it must not violate.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use shiori_sdk::{Date, Revision, SaveId, SummaryId, SummaryStatus, Version};
use shiori_worker::protocol::LeaseToken;
use tokio::sync::Notify;

use super::schedule::note;
use crate::{
    store::{AppliedSave, memory::Effect},
    summary::SummaryJob,
};

/// A word that a client has added to the text of a date.
pub(super) type Word = String;

/// The rules. Clones share what has happened.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    seen: Arc<Mutex<Seen>>,
    max_attempts: u32,
    /// Notified after each change of a summary.
    pub(super) changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Seen {
    violation: Option<String>,
    /// The current version of each date.
    versions: BTreeMap<Date, Version>,
    /// The first outcome of each save.
    saves: HashMap<SaveId, AppliedSave>,
    /// For each acknowledged version, the id of the save that created it.
    winners: BTreeMap<(Date, Version), SaveId>,
    /// The words of acknowledged saves.
    words: BTreeSet<(Date, Word)>,
    /// The words of texts that someone wanted to delete.
    deleted: BTreeSet<(Date, Word)>,
    summaries: BTreeMap<SummaryId, Progress>,
}

/// The progress of a summary.
#[derive(Debug)]
struct Progress {
    /// Its number in the trace.
    number: usize,
    status: SummaryStatus,
    revision: Revision,
    completed_by: Option<LeaseToken>,
}

impl Ledger {
    pub(super) fn new(max_attempts: u32) -> Self {
        Self { seen: Arc::default(), max_attempts, changed: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first violation of a rule.
    pub(super) fn violation(&self) -> Option<String> {
        self.lock().violation.clone()
    }

    /// Reports a violation unless the rule holds.
    pub(super) fn check(&self, holds: bool, rule: impl FnOnce() -> String) {
        self.lock().check(holds, rule);
    }

    /// The effect of a step of the store.
    pub(super) fn applied(&self, effect: &Effect<'_>) {
        let mut seen = self.lock();
        match *effect {
            Effect::Saved { save, before, saved } => {
                seen.moved(save.date, before, saved.version);
                if let Some(id) = save.save_id {
                    seen.saves.entry(id).or_insert(saved);
                }
            }
            Effect::Changed { date, before, after } => seen.moved(date, before, after),
            Effect::Inserted(job) => {
                let number = seen.summaries.len() + 1;
                note(|| format!("summary {number} is queued"));
                let (status, revision) = (job.status, job.revision);
                let progress = Progress { number, status, revision, completed_by: None };
                seen.summaries.insert(job.id, progress);
            }
            Effect::Swapped { before, after, result } => {
                seen.stepped(before, after, result.is_some(), self.max_attempts);
                drop(seen);
                self.changed.notify_waiters();
            }
        }
    }

    /// A client has the answer that its save was applied.
    pub(super) fn acknowledged(
        &self,
        date: Date,
        expected: Option<Version>,
        (id, word): (SaveId, &str),
        saved: AppliedSave,
    ) {
        let mut seen = self.lock();
        let first = seen.saves.get(&id).copied();
        seen.check(first == Some(saved), || format!("{word}: not answered as at first"));
        let is_next = expected.is_none_or(|version| version.next() == saved.version);
        seen.check(is_next && expected.is_none() == saved.created, || {
            format!("{word}: a save over {expected:?} created version {}", saved.version)
        });
        let winner = *seen.winners.entry((date, saved.version)).or_insert(id);
        seen.check(winner == id, || format!("{word}: two saves created {}", saved.version));
        seen.words.insert((date, word.to_owned()));
    }

    /// A client will delete the text with these words.
    pub(super) fn deletes(&self, date: Date, words: &[Word]) {
        self.lock().deleted.extend(words.iter().map(|word| (date, word.clone())));
    }

    /// The current version of each date.
    pub(super) fn versions(&self) -> BTreeMap<Date, Version> {
        self.lock().versions.clone()
    }

    /// Checks the last text of a date.
    pub(super) fn check_text(&self, date: Date, words: &[Word]) {
        let mut seen = self.lock();
        let last: BTreeSet<_> = words.iter().collect();
        seen.check(last.len() == words.len(), || format!("{date}: a save was applied twice"));
        let lost = seen.words.iter().find(|(on, word)| {
            let key = (*on, word.clone());
            *on == date && !last.contains(word) && !seen.deleted.contains(&key)
        });
        let lost = lost.map(|(_, word)| word.clone());
        seen.check(lost.is_none(), || format!("{date}: the save of {lost:?} was lost"));
    }

    /// The number of summaries that are not finished.
    pub(super) fn unfinished(&self) -> usize {
        self.lock().summaries.values().filter(|progress| !progress.status.is_final()).count()
    }

    /// The number of a summary in the trace.
    pub(super) fn number(&self, id: SummaryId) -> usize {
        self.lock().summaries.get(&id).map_or(0, |progress| progress.number)
    }

    /// A client has the answer that this summary was accepted.
    pub(super) fn accepted(&self, id: SummaryId) {
        let mut seen = self.lock();
        let is_stored = seen.summaries.contains_key(&id);
        seen.check(is_stored, || "an accepted summary was not stored".to_owned());
    }

    /// A client has seen this status of a summary.
    pub(super) fn shown(&self, id: SummaryId, status: SummaryStatus, revision: Revision) {
        let mut seen = self.lock();
        let Some(progress) = seen.summaries.get(&id) else { return };
        let (number, stored) = (progress.number, (progress.status, progress.revision));
        let is_stored = !status.is_final() || (status, revision) == stored;
        seen.check(is_stored, || format!("summary {number}: {status} was shown, but not stored"));
    }

    /// Whether a summary has a final status.
    pub(super) fn is_final(&self, id: SummaryId) -> bool {
        self.lock().summaries.get(&id).is_some_and(|progress| progress.status.is_final())
    }

    /// A worker has the answer that its result under this lease was accepted.
    pub(super) fn result_accepted(&self, id: SummaryId, token: LeaseToken) {
        let mut seen = self.lock();
        let Some(progress) = seen.summaries.get(&id) else { return };
        let (number, is_own) = (progress.number, progress.completed_by == Some(token));
        seen.check(is_own, || {
            format!("summary {number}: the result of a stale lease was accepted")
        });
    }
}

impl Seen {
    fn check(&mut self, holds: bool, rule: impl FnOnce() -> String) {
        if !holds && self.violation.is_none() {
            let rule = rule();
            note(|| format!("VIOLATION: {rule}"));
            self.violation = Some(rule);
        }
    }

    /// A date has another version.
    fn moved(&mut self, date: Date, before: Version, after: Version) {
        let last = self.versions.insert(date, after).unwrap_or(Version::new(0));
        note(|| format!("{date}: version {before} to {after}"));
        self.check(last == before && after == before.next(), || {
            format!("{date}: version {after} follows {last}")
        });
    }

    /// A summary was changed.
    fn stepped(
        &mut self,
        before: &SummaryJob,
        after: &SummaryJob,
        has_result: bool,
        max_attempts: u32,
    ) {
        let Some(progress) = self.summaries.get_mut(&after.id) else { return };
        let (number, had_result) = (progress.number, progress.completed_by.is_some());
        (progress.status, progress.revision) = (after.status, after.revision);
        progress.completed_by = progress.completed_by.or(after.completed_by);
        note(|| {
            let (status, revision, attempts) = (after.status, after.revision, after.attempts);
            format!("summary {number}: {status}, revision {revision}, attempts {attempts}")
        });
        self.check(!before.status.is_final(), || {
            format!("summary {number}: {} became {}", before.status, after.status)
        });
        let is_next = after.revision == before.revision.next()
            || (after.revision == before.revision && after.status == before.status);
        self.check(is_next, || {
            format!("summary {number}: revision {} follows {}", after.revision, before.revision)
        });
        self.check(after.attempts <= max_attempts, || {
            format!("summary {number}: too many attempts")
        });
        let is_completed = after.status == SummaryStatus::Completed;
        self.check(has_result == is_completed && !(has_result && had_result), || {
            format!("summary {number}: a result without completion, or a second one")
        });
        let holder = before.lease.as_ref().map(|lease| lease.token);
        self.check(!is_completed || (after.completed_by == holder && holder.is_some()), || {
            format!("summary {number}: the result of a stale lease was stored")
        });
    }
}
