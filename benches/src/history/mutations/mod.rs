//! Tests of the checker: it accepts valid histories, and rejects each kind of change to them by name.

mod replays;
mod summaries;

use shiori_sdk::Date;
use uuid::Uuid;

use crate::{
    anomaly::AnomalyKind::{self, *},
    check::check,
    generator::{Generated, seen, valid_history},
    record::{Call, Outcome, Record, Seen},
};

/// Seeds of each test.
const SEEDS: u64 = 60;

/// Calls of a history.
const CALLS: usize = 400;

/// A text that no generated save has.
const OTHER_TEXT: u64 = 1_000_000;

#[test]
fn valid_histories_have_no_anomaly() {
    for seed in 0..200 {
        let found = check(&valid_history(seed, CALLS).history);
        assert!(found.is_empty(), "seed {seed}: {found:#?}");
    }
}

/// More saves than a server remembers, also of absent diaries.
#[test]
fn long_valid_histories_have_no_anomaly() {
    for seed in 0..4 {
        let found = check(&valid_history(seed, 6000).history);
        assert!(found.is_empty(), "seed {seed}: {found:#?}");
    }
}

/// `SHIORI_HISTORY_CALLS` sets the number of calls; the time of the check is printed.
#[test]
#[allow(clippy::print_stdout)] // a measurement
fn a_very_long_valid_history_has_no_anomaly() {
    let given = std::env::var("SHIORI_HISTORY_CALLS").ok();
    let calls = given.map_or(20_000, |calls| calls.parse().expect("a number"));
    let history = valid_history(1, calls).history;
    let started = std::time::Instant::now();
    let found = check(&history);
    println!("{} calls checked in {:?}", history.len(), started.elapsed());
    assert!(found.is_empty(), "{found:#?}");
}

/// Applies the change to many valid histories and expects one of these anomalies in each. A change
/// that finds nothing to change returns false.
fn rejects(expected: &[AnomalyKind], change: impl Fn(&mut Generated) -> bool) {
    let mut changed = 0;
    for seed in 0..SEEDS {
        let mut generated = valid_history(seed, CALLS);
        if !change(&mut generated) {
            continue;
        }
        changed += 1;
        let found = check(&generated.history);
        let kinds: Vec<_> = found.iter().map(|anomaly| anomaly.kind).collect();
        assert!(
            kinds.iter().any(|kind| expected.contains(kind)),
            "seed {seed}: expected {expected:?}, found {found:#?}"
        );
    }
    assert!(changed > SEEDS / 3, "only {changed} histories could be changed");
}

impl Generated {
    fn first_date(&self) -> (Date, u64, Option<Seen>) {
        let (date, (version, diary)) = self.dates.first_key_value().expect("dates");
        (*date, *version, *diary)
    }

    /// Adds a call after all others.
    fn append(&mut self, call: Call, outcome: Outcome) {
        self.insert(self.end, self.end + 10, call, outcome);
        self.end += 20;
    }

    fn insert(&mut self, start: u64, end: u64, call: Call, outcome: Outcome) {
        self.history.push(Record { client: 99, start, end, call, outcome, shows_since: None });
    }

    /// Adds an acknowledged save; returns its version.
    fn append_save(&mut self, date: Date, version: u64, diary: Option<Seen>, text: u64) -> u64 {
        let expected = diary.map(|diary| diary.version);
        let call = Call::Save { date, expected, save_id: None, text };
        self.append(call, saved(version + 1, diary.is_none()));
        version + 1
    }

    /// The first acknowledged save that replaces a version, and is its only attempt.
    fn replacing_save(&self) -> Option<Record> {
        let saves = self.history.iter().filter(|record| {
            let Call::Save { text, .. } = record.call else { return false };
            let same =
                |other: &&Record| matches!(other.call, Call::Save { text: of, .. } if of == text);
            self.history.iter().filter(same).count() == 1
        });
        let acknowledged = |record: &&Record| {
            matches!(record.call, Call::Save { expected: Some(_), .. })
                && matches!(record.outcome, Outcome::Saved { replayed: false, .. })
        };
        saves.filter(acknowledged).min_by_key(|record| record.start).cloned()
    }
}

fn saved(version: u64, created: bool) -> Outcome {
    Outcome::Saved { version, created, replayed: false, updated_at: 0 }
}

#[test]
fn a_lost_write() {
    rejects(&[LostWrite], |generated| {
        let (date, version, diary) = generated.first_date();
        generated.append_save(date, version, diary, OTHER_TEXT);
        generated.append(Call::Read { date }, Outcome::Diary(diary));
        true
    });
}

#[test]
fn a_doubled_version() {
    rejects(&[DoubledVersion], |generated| {
        let Some(Record { client, start, end, call, outcome, .. }) = generated.replacing_save()
        else {
            return false;
        };
        let Call::Save { date, expected, .. } = call else { return false };
        let call = Call::Save { date, expected, save_id: None, text: OTHER_TEXT };
        generated.history.push(Record { client, start, end, call, outcome, shows_since: None });
        true
    });
}

#[test]
fn two_texts_of_one_version() {
    rejects(&[DoubledVersion], |generated| {
        let (date, version, diary) = generated.first_date();
        let version = generated.append_save(date, version, diary, OTHER_TEXT);
        let (text, expected) = (OTHER_TEXT + 1, Some(version - 1));
        let call = Call::Save { date, expected, save_id: None, text };
        generated.append(call, Outcome::Indeterminate);
        let shown = seen(version, text, diary.is_some_and(|diary| diary.archived));
        generated.append(Call::Read { date }, Outcome::Diary(Some(shown)));
        true
    });
}

#[test]
fn two_archive_states_of_one_version() {
    rejects(&[DoubledVersion], |generated| {
        let (date, version, Some(_)) = generated.first_date() else { return false };
        let call = Call::Archive { date, expected: version, archived: true };
        generated.append(call, Outcome::Archived(version + 1));
        let shown = Seen {
            version: version + 1,
            archived: false,
            deleted: false,
            title: None,
            content: None,
        };
        let call = Call::Versions { start: date, end: date };
        generated.append(call, Outcome::Dates(vec![(date, shown)]));
        true
    });
}

#[test]
fn a_gap() {
    rejects(&[Gap], |generated| {
        let (date, version, diary) = generated.first_date();
        // Nobody has written the version between.
        let version = generated.append_save(date, version, diary, OTHER_TEXT) + 1;
        let shown = seen(version, OTHER_TEXT, diary.is_some_and(|diary| diary.archived));
        generated.append(Call::Read { date }, Outcome::Diary(Some(shown)));
        true
    });
    rejects(&[Gap], |generated| {
        let (date, ..) = generated.first_date();
        let shown = seen(u64::MAX, OTHER_TEXT, false);
        generated.append(Call::Read { date }, Outcome::Diary(Some(shown)));
        true
    });
}

/// Appends a save and a read that shows the state before it, and may show the state this long after the
/// response to the save. `None` without a diary.
fn append_stale_read(generated: &mut Generated, after_save: i64) -> Option<()> {
    let (date, version, diary) = generated.first_date();
    let diary = diary?;
    let saved = generated.append_save(date, version, Some(diary), OTHER_TEXT);
    let save_ended = generated.history.last()?.end;
    generated.append(Call::Read { date }, Outcome::Diary(Some(diary)));
    generated.history.last_mut()?.shows_since = save_ended.checked_add_signed(after_save);
    let shown = seen(saved, OTHER_TEXT, diary.archived);
    generated.append(Call::Read { date }, Outcome::Diary(Some(shown)));
    Some(())
}

#[test]
fn a_read_that_may_show_an_older_state_is_valid() {
    for seed in 0..SEEDS {
        let mut generated = valid_history(seed, CALLS);
        append_stale_read(&mut generated, -1);
        let found = check(&generated.history);
        assert!(found.is_empty(), "seed {seed}: {found:#?}");
    }
}

#[test]
fn a_stale_read() {
    rejects(&[StaleRead], |generated| {
        let (date, version, diary) = generated.first_date();
        let Some(diary) = diary else { return false };
        generated.append_save(date, version, Some(diary), OTHER_TEXT);
        generated.append(Call::Read { date }, Outcome::Diary(Some(diary)));
        let shown = seen(version + 1, OTHER_TEXT, diary.archived);
        generated.append(Call::Read { date }, Outcome::Diary(Some(shown)));
        true
    });
    // It may show an older state, but not one that is as old.
    rejects(&[StaleRead], |generated| append_stale_read(generated, 1).is_some());
    // It shows no diary, although one was read before.
    rejects(&[StaleRead], |generated| {
        let (date, _, Some(diary)) = generated.first_date() else { return false };
        generated.append(Call::Read { date }, Outcome::Diary(None));
        generated.append(Call::Read { date }, Outcome::Diary(Some(diary)));
        true
    });
}

#[test]
fn a_future_read() {
    rejects(&[FutureRead], |generated| {
        let Some(save) = generated.replacing_save() else { return false };
        let (&Call::Save { date, text, .. }, &Outcome::Saved { version, .. }) =
            (&save.call, &save.outcome)
        else {
            return false;
        };
        let shown = seen(version, text, false);
        let shown = Outcome::Dates(vec![(date, Seen { content: None, ..shown })]);
        let call = Call::List { start: date, end: date };
        generated.insert(save.start - 2, save.start - 1, call, shown);
        true
    });
}

#[test]
fn a_version_before_the_write_of_an_older_one() {
    rejects(&[OutOfOrder], |generated| {
        let (date, version, diary) = generated.first_date();
        let (start, end) = (generated.end, generated.end + 1);
        generated.end += 10;
        generated.append_save(date, version, diary, OTHER_TEXT);
        let (text, expected) = (OTHER_TEXT + 1, Some(version + 1));
        let call = Call::Save { date, expected, save_id: None, text };
        generated.insert(start, end, call, saved(version + 2, false));
        true
    });
}

#[test]
fn a_conflict_without_cause() {
    // The current version is the expected one.
    rejects(&[ConflictWithoutCause], |generated| {
        let (date, _, diary) = generated.first_date();
        let expected = diary.map(|diary| diary.version);
        let call = Call::Save { date, expected, save_id: None, text: OTHER_TEXT };
        generated.append(call, Outcome::Conflict(diary));
        true
    });
    // The version was replaced before the call.
    rejects(&[ConflictWithoutCause], |generated| {
        let (date, version, diary) = generated.first_date();
        let Some(diary) = diary else { return false };
        generated.append_save(date, version, Some(diary), OTHER_TEXT);
        let (expected, text) = (Some(version + 1), OTHER_TEXT + 1);
        let call = Call::Save { date, expected, save_id: None, text };
        generated.append(call, Outcome::Conflict(Some(diary)));
        true
    });
    // There was no diary to delete, although nobody had deleted it.
    rejects(&[ConflictWithoutCause], |generated| {
        let (date, version, Some(_)) = generated.first_date() else { return false };
        generated.append(Call::Delete { date, expected: version }, Outcome::NotFound);
        true
    });
}

#[test]
fn a_write_over_another_version() {
    rejects(&[PreconditionIgnored], |generated| {
        let (date, version, diary) = generated.first_date();
        let version = generated.append_save(date, version, diary, OTHER_TEXT);
        let (text, expected) = (OTHER_TEXT + 1, Some(version - 1));
        let call = Call::Save { date, expected, save_id: None, text };
        generated.append(call, saved(version + 1, false));
        true
    });
    // A save of an absent diary replaced one.
    rejects(&[PreconditionIgnored], |generated| {
        let (date, version, Some(_)) = generated.first_date() else { return false };
        generated.append_save(date, version, None, OTHER_TEXT);
        true
    });
}

#[test]
fn a_resurrected_diary() {
    // An old version is read after its deletion.
    rejects(&[Resurrected], |generated| {
        let (date, version, diary) = generated.first_date();
        let version = generated.append_save(date, version, diary, OTHER_TEXT);
        generated.append(Call::Delete { date, expected: version }, Outcome::Deleted);
        let shown = seen(version, OTHER_TEXT, diary.is_some_and(|diary| diary.archived));
        generated.append(Call::Read { date }, Outcome::Diary(Some(shown)));
        true
    });
    // A repeated save restored the text as a new version.
    rejects(&[Resurrected], |generated| {
        let (date, version, diary) = generated.first_date();
        if let Some(diary) = diary {
            let expected = diary.version;
            generated.append(Call::Delete { date, expected }, Outcome::Deleted);
        }
        let version = version + u64::from(diary.is_some());
        let save_id = Some(Uuid::from_u128(1));
        let call = Call::Save { date, expected: None, save_id, text: OTHER_TEXT };
        generated.append(call.clone(), saved(version + 1, true));
        generated.append(Call::Delete { date, expected: version + 1 }, Outcome::Deleted);
        generated.append(call, Outcome::Indeterminate);
        let shown = seen(version + 3, OTHER_TEXT, false);
        generated.append(Call::Read { date }, Outcome::Diary(Some(shown)));
        true
    });
    // The version of the deletion has a text.
    rejects(&[Resurrected], |generated| {
        let (date, version, diary) = generated.first_date();
        let version = generated.append_save(date, version, diary, OTHER_TEXT);
        generated.append(Call::Delete { date, expected: version }, Outcome::Deleted);
        let shown = seen(version + 1, OTHER_TEXT, false);
        generated.append(Call::Read { date }, Outcome::Diary(Some(shown)));
        true
    });
}

#[test]
fn title_and_content_of_different_saves() {
    rejects(&[TornWrite], |generated| {
        let (date, _, Some(diary)) = generated.first_date() else { return false };
        let shown = Seen { title: Some(OTHER_TEXT), ..diary };
        generated.append(Call::Read { date }, Outcome::Diary(Some(shown)));
        true
    });
}

#[test]
fn a_text_of_no_save() {
    rejects(&[Phantom], |generated| {
        let (date, version, diary) = generated.first_date();
        let call = Call::Archive { date, expected: version, archived: true };
        if diary.is_none() {
            return false;
        }
        generated.append(call, Outcome::Indeterminate);
        let shown = seen(version + 1, OTHER_TEXT, true);
        generated.append(Call::Read { date }, Outcome::Diary(Some(shown)));
        true
    });
    // A save that was rejected.
    rejects(&[Phantom], |generated| {
        let (date, version, diary) = generated.first_date();
        let Some(diary) = diary else { return false };
        let expected = Some(version + 7);
        let call = Call::Save { date, expected, save_id: None, text: OTHER_TEXT };
        generated.append(call, Outcome::Conflict(Some(diary)));
        let shown = seen(version + 1, OTHER_TEXT, diary.archived);
        generated.append(Call::Read { date }, Outcome::Diary(Some(shown)));
        true
    });
}
