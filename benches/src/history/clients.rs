//! The clients: each sends one call after the other, and records it.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use shiori_sdk::Date;
use tokio::time::sleep;
use uuid::Uuid;

use crate::{
    api::Api,
    options::Options,
    record::{Call, Outcome, Record},
};

/// The pause after a call without a definite outcome.
const PAUSE_AFTER_FAULT: Duration = Duration::from_millis(50);

/// Saves that may be repeated.
const REPEATABLE: usize = 64;

/// What the clients of a run share.
pub(crate) struct Shared {
    /// The time 0 of the history.
    pub(crate) started: Instant,
    /// Whether the clients end.
    pub(crate) is_over: AtomicBool,
    dates: Vec<Date>,
    next_text: AtomicU64,
    next_week: AtomicU64,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    history: Vec<Record>,
    /// The last version that a response has shown; `None` without a diary.
    versions: BTreeMap<Date, Option<u64>>,
    saves: VecDeque<Call>,
    weeks: Vec<Date>,
    summaries: Vec<Uuid>,
    /// The same summaries.
    seen: HashSet<Uuid>,
}

impl Shared {
    /// A run on this number of dates.
    pub(crate) fn new(dates: u32) -> Self {
        Self {
            started: Instant::now(),
            is_over: AtomicBool::new(false),
            dates: (0..i64::from(dates)).filter_map(|nth| day(HOT, nth)).collect(),
            next_text: AtomicU64::new(1),
            next_week: AtomicU64::new(0),
            known: Mutex::default(),
        }
    }

    /// The dates that all clients use.
    pub(crate) fn dates(&self) -> &[Date] {
        &self.dates
    }

    /// The accepted summaries.
    pub(crate) fn summaries(&self) -> Vec<Uuid> {
        self.known().summaries.clone()
    }

    /// The history so far, ordered by the ends of the calls.
    pub(crate) fn take_history(&self) -> Vec<Record> {
        let mut history = std::mem::take(&mut self.known().history);
        history.sort_by_key(|record| record.end);
        history
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nanoseconds since the start.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Sends a call once and records it.
    pub(crate) async fn call(&self, client: u32, api: &Api, call: Call) -> Outcome {
        let start = self.now();
        let outcome = api.send(&call).await;
        let end = self.now();
        let record =
            Record { client, start, end, call, outcome: outcome.clone(), shows_since: None };
        self.known().add(record);
        outcome
    }
}

/// The first of the dates that all clients use.
const HOT: (i16, u8, u8) = (2026, 2, 16);

/// The first of the weeks that have one diary.
const FRESH: (i16, u8, u8) = (1990, 1, 1);

fn day((year, month, day): (i16, u8, u8), after: i64) -> Option<Date> {
    Date::new(year, month, day).ok()?.plus_days(after)
}

impl Known {
    fn add(&mut self, record: Record) {
        match (&record.call, &record.outcome) {
            (Call::Save { date, .. }, Outcome::Saved { version, .. })
            | (Call::Archive { date, .. }, Outcome::Archived(version)) => {
                self.versions.insert(*date, Some(*version));
            }
            (Call::Delete { date, .. }, Outcome::Deleted | Outcome::NotFound) => {
                self.versions.insert(*date, None);
            }
            (
                Call::Save { date, .. } | Call::Read { date },
                Outcome::Conflict(seen) | Outcome::Diary(seen),
            ) => {
                self.versions.insert(*date, seen.map(|seen| seen.version));
            }
            (Call::Request { .. }, Outcome::Accepted(id) | Outcome::Completed(id))
                if self.seen.insert(*id) =>
            {
                self.summaries.push(*id);
            }
            _ => {}
        }
        self.history.push(record);
    }
}

/// A client with its random numbers.
pub(crate) struct Client<'a> {
    number: u32,
    api: &'a Api,
    shared: &'a Shared,
    max_pause: Duration,
    /// The share of calls that are chosen among those for summaries.
    summaries: f64,
    random: StdRng,
}

impl<'a> Client<'a> {
    /// A client of a run.
    pub(crate) fn new(number: u32, api: &'a Api, shared: &'a Shared, options: &Options) -> Self {
        let random = StdRng::seed_from_u64(options.seed.wrapping_add(u64::from(number)));
        let max_pause = Duration::from_millis(options.max_pause_ms);
        let summaries = f64::from(options.summaries) / 100.0;
        Self { number, api, shared, max_pause, summaries, random }
    }

    /// Sends calls until the run is over.
    pub(crate) async fn run(mut self) {
        while !self.shared.is_over.load(Ordering::Relaxed) {
            if !self.api.is_signed_in() && self.api.sign_in().await.is_err() {
                sleep(PAUSE_AFTER_FAULT).await;
                continue;
            }
            let call = self.next_call();
            let outcome = self.call(call.clone()).await;
            let pause = if outcome == Outcome::Indeterminate {
                // As the SDK does, whose attempts share the id.
                if matches!(call, Call::Save { save_id: Some(_), .. })
                    && self.random.random_bool(0.5)
                {
                    sleep(PAUSE_AFTER_FAULT).await;
                    self.call(call).await;
                }
                PAUSE_AFTER_FAULT
            } else {
                self.max_pause.mul_f64(self.random.random())
            };
            // A timer takes at least a millisecond.
            if !pause.is_zero() {
                sleep(pause).await;
            }
        }
    }

    async fn call(&self, call: Call) -> Outcome {
        self.shared.call(self.number, self.api, call).await
    }

    fn next_call(&mut self) -> Call {
        let dates = self.shared.dates();
        let date = dates[self.random.random_range(0..dates.len())];
        let (start, end) = (dates[0], dates[dates.len() - 1]);
        let chosen = if self.random.random_bool(self.summaries) { 54..70 } else { 0..100 };
        match self.random.random_range(chosen) {
            0..18 => Call::Read { date },
            18..26 => Call::List { start, end },
            26..34 => Call::Versions { start, end },
            34..44 => self.repeated_save().unwrap_or(Call::Read { date }),
            44..50 => {
                let expected = self.expected(date).unwrap_or(1);
                Call::Archive { date, expected, archived: self.random.random() }
            }
            50..54 => Call::Delete { date, expected: self.expected(date).unwrap_or(1) },
            54..57 => self.fresh_week(),
            57..60 => self.request(date),
            60..69 => self.summary().map_or(Call::Read { date }, |summary| Call::Look { summary }),
            69 if self.random.random_bool(0.3) => {
                self.summary().map_or(Call::Read { date }, |summary| Call::Cancel { summary })
            }
            _ => {
                let expected = self.expected(date);
                self.save(date, expected)
            }
        }
    }

    /// Mostly the last known version.
    fn expected(&mut self, date: Date) -> Option<u64> {
        let known = self.shared.known().versions.get(&date).copied().flatten();
        match self.random.random_range(0..20) {
            0 => None,
            1 => known.map(|version| version.saturating_sub(1).max(1)),
            2 => known.map(|version| version + 1),
            _ => known,
        }
    }

    fn save(&mut self, date: Date, expected: Option<u64>) -> Call {
        let save_id = self.random.random_bool(0.7).then(|| Uuid::from_u128(self.random.random()));
        let text = self.shared.next_text.fetch_add(1, Ordering::Relaxed);
        let call = Call::Save { date, expected, save_id, text };
        if save_id.is_some() && self.shared.dates().contains(&date) {
            let saves = &mut self.shared.known().saves;
            saves.push_back(call.clone());
            if saves.len() > REPEATABLE {
                saves.pop_front();
            }
        }
        call
    }

    /// A save that a client has sent before, perhaps through another server.
    fn repeated_save(&mut self) -> Option<Call> {
        let known = self.shared.known();
        let nth = self.random.random_range(0..REPEATABLE);
        known.saves.get(nth % known.saves.len().max(1)).cloned()
    }

    fn summary(&mut self) -> Option<Uuid> {
        let known = self.shared.known();
        // Mostly a recent one, which is unfinished.
        let recent = known.summaries.len().saturating_sub(8);
        let first = if self.random.random_bool(0.7) { recent } else { 0 };
        let nth = first..known.summaries.len();
        (!nth.is_empty()).then(|| known.summaries[self.random.random_range(nth)])
    }

    /// Saves the only diary of a new week.
    fn fresh_week(&mut self) -> Call {
        let nth = self.shared.next_week.fetch_add(1, Ordering::Relaxed);
        let week = i64::try_from(nth).ok().and_then(|nth| day(FRESH, nth * 7));
        let week = week.unwrap_or(self.shared.dates()[0]);
        self.shared.known().weeks.push(week);
        self.save(week, None)
    }

    /// Requests the summary of a recent week, or of one that all clients change.
    fn request(&mut self, date: Date) -> Call {
        let known = self.shared.known();
        let recent = known.weeks.len().saturating_sub(8)..known.weeks.len();
        let is_fresh = !recent.is_empty() && self.random.random_bool(0.9);
        let week = if is_fresh { known.weeks[self.random.random_range(recent)] } else { date };
        Call::Request { week, force: self.random.random_bool(0.2) }
    }
}
