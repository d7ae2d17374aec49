//! Whether repeated saves receive the first response.

use super::{
    Findings,
    calls::{Calls, Write},
    describe,
    times::{Times, index},
    versions::Versions,
};
use crate::{
    anomaly::AnomalyKind::ReplayDiffers,
    record::{Outcome, Record},
};

/// Checks the repeated saves of a date.
pub(super) fn check(calls: &Calls<'_>, versions: &Versions<'_>, findings: &mut Findings) {
    let written_before = Times::of(calls, versions).written_before();
    for write in calls.writes.iter().filter(|write| write.has_id) {
        check_responses(write, versions, findings);
        check_conflicts(write, versions, &written_before, findings);
    }
}

/// All acknowledged attempts received the same response, and at most one has applied the save.
fn check_responses(write: &Write<'_>, versions: &Versions<'_>, findings: &mut Findings) {
    let mut earlier: Option<u64> = None;
    for (version, records) in &write.acknowledged {
        // A save of an absent diary may be applied again after a deletion, once it is forgotten.
        let is_forgotten = earlier.is_some_and(|earlier| {
            write.expected.is_none() && versions.may_forget(earlier, *version)
        });
        if earlier.is_some() && !is_forgotten {
            let details = format!("it received version {version}, too: {}", describe(records[0]));
            findings.add(ReplayDiffers, records[0].end, details);
        }
        earlier = Some(*version);
        let response = |record: &Record| match record.outcome {
            Outcome::Saved { created, updated_at, .. } => Some((created, updated_at)),
            _ => None,
        };
        let applied =
            |record: &&&Record| matches!(record.outcome, Outcome::Saved { replayed: false, .. });
        let differs = records.iter().find(|record| response(record) != response(records[0]));
        let repeated = records.iter().filter(applied).nth(1);
        if let Some(record) = differs.or(repeated) {
            let details = format!("it differs from the first response: {}", describe(record));
            findings.add(ReplayDiffers, record.end, details);
        }
    }
}

/// A save that was certainly applied before an attempt began is no conflict.
fn check_conflicts(
    write: &Write<'_>,
    versions: &Versions<'_>,
    written_before: &[Option<u64>],
    findings: &mut Findings,
) {
    let Some((version, _)) = write.acknowledged.first_key_value() else { return };
    let applied = index(*version, written_before.len()).and_then(|nth| written_before[nth]);
    let Some(applied) = applied else { return };
    let rejected = write.attempts.iter().find_map(|record| match record.outcome {
        Outcome::Conflict(current) if record.start > applied => Some((record, current)),
        _ => None,
    });
    let Some((record, current)) = rejected else { return };
    // The conflict shows a version that was current after the save, unless the date has none.
    let last = versions.all.len() as u64;
    let current = current.map_or(last, |seen| seen.version.saturating_add(1));
    if !versions.may_forget(*version, current) {
        let details = format!("version {version} was saved before, but: {}", describe(record));
        findings.add(ReplayDiffers, record.end, details);
    }
}
