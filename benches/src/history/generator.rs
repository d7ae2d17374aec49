//! Valid histories for the tests of the checker: a model is called at random times, each within the
//! interval of a call, so that calls overlap and every history is linearizable.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use shiori_sdk::{Date, REMEMBERED_SAVES, SummaryStatus};
use uuid::Uuid;

use crate::record::{Call, Outcome, Record, Seen, SeenSummary};

/// Nanoseconds between two calls of the model, at most.
const STEP: u64 = 1000;

/// A valid history, and the last state of each date.
pub(crate) struct Generated {
    /// The history.
    pub(crate) history: Vec<Record>,
    /// The last version of each date, and its diary.
    pub(crate) dates: BTreeMap<Date, (u64, Option<Seen>)>,
    /// After all calls.
    pub(crate) end: u64,
}

/// A valid history with this number of calls.
pub(crate) fn valid_history(seed: u64, calls: usize) -> Generated {
    let mut generator = Generator::new(seed);
    for _ in 0..calls {
        generator.now += generator.random.random_range(1..STEP);
        match generator.random.random_range(0..10) {
            0 => generator.step_summary(),
            1 => generator.look_at_summary(),
            _ => generator.call_diary(),
        }
    }
    generator.finish()
}

/// The days of the histories.
fn dates() -> Vec<Date> {
    (16..19).map(|day| Date::new(2026, 2, day).expect("a date")).collect()
}

struct Generator {
    random: StdRng,
    now: u64,
    history: Vec<Record>,
    dates: Vec<Date>,
    registers: BTreeMap<Date, Register>,
    saves: Vec<Call>,
    next_text: u64,
    summaries: Vec<(Uuid, SeenSummary)>,
}

/// The model of one date.
#[derive(Default)]
struct Register {
    version: u64,
    diary: Option<Seen>,
    remembered: Vec<(Uuid, Outcome)>,
}

impl Register {
    fn apply(&mut self, call: &Call, now: u64) -> Outcome {
        let current = self.diary.map(|diary| diary.version);
        let next = self.version + 1;
        let (expected, diary, outcome) = match *call {
            Call::Save { expected, save_id, text, .. } => {
                if let Some((_, first)) =
                    self.remembered.iter().find(|(id, _)| Some(*id) == save_id)
                {
                    return first.clone();
                }
                let archived = self.diary.is_some_and(|diary| diary.archived);
                let updated_at = i64::try_from(now).expect("short");
                let created = current.is_none();
                (
                    expected,
                    Some(seen(next, text, archived)),
                    Outcome::Saved { version: next, created, replayed: false, updated_at },
                )
            }
            Call::Delete { expected, .. } => (Some(expected), None, Outcome::Deleted),
            Call::Archive { expected, archived, .. } => {
                let diary = self.diary.map(|diary| Seen { version: next, archived, ..diary });
                (Some(expected), diary, Outcome::Archived(next))
            }
            _ => return Outcome::Diary(self.diary),
        };
        if current != expected {
            let is_save = matches!(call, Call::Save { .. });
            let is_missing = self.diary.is_none() && !is_save;
            return if is_missing { Outcome::NotFound } else { Outcome::Conflict(self.diary) };
        }
        (self.version, self.diary) = (next, diary);
        if let (
            Call::Save { save_id: Some(id), .. },
            Outcome::Saved { version, created, updated_at, .. },
        ) = (call, &outcome)
        {
            let (version, created, updated_at) = (*version, *created, *updated_at);
            let again = Outcome::Saved { version, created, replayed: true, updated_at };
            self.remembered.push((*id, again));
            if self.remembered.len() > REMEMBERED_SAVES {
                self.remembered.remove(0);
            }
        }
        outcome
    }
}

/// A version with this text.
pub(crate) fn seen(version: u64, text: u64, archived: bool) -> Seen {
    Seen { version, archived, deleted: false, title: Some(text), content: Some(text) }
}

impl Generator {
    fn new(seed: u64) -> Self {
        let dates = dates();
        Self {
            random: StdRng::seed_from_u64(seed),
            now: 1_000_000,
            history: Vec::new(),
            registers: dates.iter().map(|date| (*date, Register::default())).collect(),
            dates,
            saves: Vec::new(),
            next_text: 1,
            summaries: Vec::new(),
        }
    }

    /// Records a call whose effect, if it has one, is now.
    fn record(&mut self, call: Call, outcome: Outcome) {
        let before = self.random.random_range(0..5 * STEP);
        let after = self.random.random_range(0..5 * STEP);
        let client = self.random.random_range(0..8);
        let (start, end) = (self.now - before, self.now + after);
        self.history.push(Record { client, start, end, call, outcome, shows_since: None });
    }

    fn call_diary(&mut self) {
        let date = self.dates[self.random.random_range(0..self.dates.len())];
        let (start, end) = (self.dates[0], self.dates[self.dates.len() - 1]);
        match self.random.random_range(0..12) {
            0 => self.list(Call::List { start, end }),
            1 => self.list(Call::Versions { start, end }),
            2 | 3 => self.call(Call::Read { date }),
            4 if !self.saves.is_empty() => {
                let nth = self.random.random_range(0..self.saves.len());
                self.call(self.saves[nth].clone());
            }
            5 => {
                let expected = self.expected(date).unwrap_or(1);
                self.call(Call::Delete { date, expected });
            }
            6 => {
                let expected = self.expected(date).unwrap_or(1);
                let archived = self.random.random();
                self.call(Call::Archive { date, expected, archived });
            }
            _ => {
                let expected = self.expected(date);
                let id = Uuid::from_u128(self.random.random());
                let save_id = self.random.random_bool(0.7).then_some(id);
                let text = self.next_text;
                self.next_text += 1;
                let call = Call::Save { date, expected, save_id, text };
                if save_id.is_some() {
                    self.saves.push(call.clone());
                }
                self.call(call);
            }
        }
    }

    /// Mostly the current version.
    fn expected(&mut self, date: Date) -> Option<u64> {
        let register = &self.registers[&date];
        match self.random.random_range(0..10) {
            0 => None,
            1 => Some(register.version.saturating_sub(1).max(1)),
            2 => Some(register.version + 1),
            _ => register.diary.map(|diary| diary.version),
        }
    }

    fn call(&mut self, call: Call) {
        let (Call::Save { date, .. }
        | Call::Delete { date, .. }
        | Call::Archive { date, .. }
        | Call::Read { date }) = call
        else {
            return;
        };
        let fate = self.random.random_range(0..20);
        if fate == 0 {
            // Never applied.
            self.record(call, Outcome::Indeterminate);
            return;
        }
        let register = self.registers.get_mut(&date).expect("a known date");
        let outcome = register.apply(&call, self.now);
        match fate {
            1 => self.record(call, Outcome::Indeterminate),
            2 => {
                // Applied after the client gave up.
                let start = self.now - self.random.random_range(2 * STEP..9 * STEP);
                let end = start + STEP;
                let outcome = Outcome::Indeterminate;
                self.history.push(Record {
                    client: 0,
                    start,
                    end,
                    call,
                    outcome,
                    shows_since: None,
                });
            }
            _ => self.record(call, outcome),
        }
    }

    fn list(&mut self, call: Call) {
        let has_deletions = matches!(call, Call::Versions { .. });
        let mut seen = Vec::new();
        for (date, register) in &self.registers {
            let deleted = Seen {
                version: register.version,
                archived: false,
                deleted: true,
                title: None,
                content: None,
            };
            let shown = match register.diary {
                Some(diary) if has_deletions => Some(Seen { title: None, content: None, ..diary }),
                Some(diary) => Some(Seen { content: None, ..diary }),
                None => (has_deletions && register.version > 0).then_some(deleted),
            };
            seen.extend(shown.map(|shown| (*date, shown)));
        }
        self.record(call, Outcome::Dates(seen));
    }

    /// Requests a summary, or the next step of one.
    fn step_summary(&mut self) {
        let unfinished =
            self.summaries.iter_mut().rev().find(|(_, summary)| !summary.status.is_final());
        let Some((_, summary)) = unfinished else {
            let id = Uuid::from_u128(self.random.random());
            let state = SeenSummary {
                status: SummaryStatus::Queued,
                revision: 1,
                progress: None,
                result: None,
            };
            self.summaries.push((id, state));
            let day = u8::try_from(1 + self.summaries.len() % 200).expect("small");
            let week = Date::new(2026, 1 + day / 28, 1 + day % 28).expect("a date");
            self.record(Call::Request { week, force: true }, Outcome::Accepted(id));
            return;
        };
        match (summary.status, self.random.random_range(0..4)) {
            (SummaryStatus::Queued, _) => {
                summary.status = SummaryStatus::Running;
                summary.revision += 1;
            }
            (_, 0) => {
                summary.status = SummaryStatus::Completed;
                summary.revision += 1;
                summary.progress = None;
                summary.result = Some(self.now.to_string());
            }
            (_, 1) => {
                summary.status = SummaryStatus::Queued;
                summary.revision += 1;
                summary.progress = None;
            }
            _ => {
                let characters = summary.progress.map_or(0, |(_, characters)| characters);
                summary.progress = Some((1, characters + 5));
            }
        }
    }

    fn look_at_summary(&mut self) {
        if self.summaries.is_empty() {
            return;
        }
        let nth = self.random.random_range(0..self.summaries.len());
        let (summary, state) = self.summaries[nth].clone();
        self.record(Call::Look { summary }, Outcome::Summary(state));
    }

    /// Finishes all summaries, and reads everything once more.
    fn finish(mut self) -> Generated {
        self.now += 20 * STEP;
        for date in self.dates.clone() {
            let outcome = Outcome::Diary(self.registers[&date].diary);
            self.record(Call::Read { date }, outcome);
        }
        for (summary, mut state) in self.summaries.clone() {
            if !state.status.is_final() {
                state.status = SummaryStatus::Failed;
                state.revision += 1;
                state.progress = None;
            }
            self.record(Call::Look { summary }, Outcome::Summary(state));
        }
        let dates = self.registers.iter();
        Generated {
            dates: dates.map(|(date, it)| (*date, (it.version, it.diary))).collect(),
            end: self.now + 20 * STEP,
            history: self.history,
        }
    }
}
