//! Changes of repeated saves.

use uuid::Uuid;

use super::{CALLS, OTHER_TEXT, SEEDS, rejects, saved};
use crate::{
    anomaly::AnomalyKind::ReplayDiffers,
    check::check,
    generator::{Generated, seen, valid_history},
    record::{Call, Outcome, Seen},
};

/// Adds a save with an id; its repetition receives this outcome.
fn replay(generated: &mut Generated, outcome: impl Fn(u64, Seen) -> Outcome) {
    let (date, version, diary) = generated.first_date();
    let expected = diary.map(|diary| diary.version);
    let save_id = Some(Uuid::from_u128(1));
    let call = Call::Save { date, expected, save_id, text: OTHER_TEXT };
    let version = version + 1;
    generated.append(call.clone(), saved(version, diary.is_none()));
    let shown = seen(version, OTHER_TEXT, diary.is_some_and(|diary| diary.archived));
    generated.append(Call::Read { date }, Outcome::Diary(Some(shown)));
    generated.append(call, outcome(version, shown));
}

#[test]
fn a_replay_with_another_response() {
    let first = |version: u64, created, updated_at| Outcome::Saved {
        version,
        created,
        replayed: true,
        updated_at,
    };
    rejects(&[ReplayDiffers], |generated| {
        replay(generated, |_, seen| Outcome::Conflict(Some(seen)));
        true
    });
    rejects(&[ReplayDiffers], |generated| {
        replay(generated, |version, _| first(version + 1, false, 0));
        true
    });
    rejects(&[ReplayDiffers], |generated| {
        let is_vacant = generated.first_date().2.is_none();
        replay(generated, |version, _| first(version, !is_vacant, 0));
        true
    });
    rejects(&[ReplayDiffers], |generated| {
        let is_vacant = generated.first_date().2.is_none();
        replay(generated, |version, _| first(version, is_vacant, 1));
        true
    });
    // Applied twice.
    rejects(&[ReplayDiffers], |generated| {
        let is_vacant = generated.first_date().2.is_none();
        replay(generated, |version, _| saved(version, is_vacant));
        true
    });
}

#[test]
fn a_correct_replay_is_accepted() {
    for seed in 0..SEEDS {
        let mut generated = valid_history(seed, CALLS);
        let created = generated.first_date().2.is_none();
        replay(&mut generated, |version, _| Outcome::Saved {
            version,
            created,
            replayed: true,
            updated_at: 0,
        });
        assert_eq!(check(&generated.history), []);
    }
}
