//! The check of the summaries.

use std::collections::{BTreeMap, BTreeSet};

use shiori_sdk::{Date, SummaryStatus};
use uuid::Uuid;

use crate::{
    anomaly::{
        Anomaly,
        AnomalyKind::{
            self, DoubledSummary, FinalSummaryChanged, ProgressBackwards, SummaryLost,
            SummaryNeverFinal,
        },
    },
    record::{Call, Outcome, Record, SeenSummary},
};

/// The server keeps this many of the newest finished summaries of a week.
const KEPT: usize = 5;

/// The anomalies of all summaries. The last look at each was after the run, when no fault was active
/// and every summary had had the time to finish.
pub(crate) fn check(history: &[Record]) -> Vec<Anomaly> {
    let mut summaries: BTreeMap<Uuid, Observed<'_>> = BTreeMap::new();
    let mut weeks: BTreeMap<Date, BTreeSet<Uuid>> = BTreeMap::new();
    for record in history {
        match (&record.call, &record.outcome) {
            (Call::Request { week, .. }, Outcome::Accepted(id) | Outcome::Completed(id)) => {
                weeks.entry(*week).or_default().insert(*id);
                let observed = summaries.entry(*id).or_default();
                observed.week = observed.week.or(Some(*week));
                observed.requests.push(record);
            }
            (Call::Look { summary }, Outcome::Summary(seen)) => {
                summaries.entry(*summary).or_default().looks.push((record, seen));
            }
            (Call::Look { summary } | Call::Cancel { summary }, Outcome::NotFound) => {
                summaries.entry(*summary).or_default().missing.push(record);
            }
            (Call::Cancel { summary }, Outcome::Cancelled) => {
                summaries.entry(*summary).or_default().cancelled.push(record);
            }
            _ => {}
        }
    }
    let mut anomalies = Vec::new();
    for (id, observed) in &mut summaries {
        observed.looks.sort_by_key(|(record, _)| record.end);
        let of_week = observed.week.and_then(|week| weeks.get(&week)).map_or(0, BTreeSet::len);
        observed.check(*id, of_week > KEPT, &mut anomalies);
    }
    for ids in weeks.values() {
        check_week(ids, &summaries, &mut anomalies);
    }
    anomalies
}

/// What was seen of one summary.
#[derive(Default)]
struct Observed<'a> {
    /// Its week.
    week: Option<Date>,
    /// Its requests.
    requests: Vec<&'a Record>,
    /// Its states, in the order in which they had been received.
    looks: Vec<(&'a Record, &'a SeenSummary)>,
    /// Calls that did not find it.
    missing: Vec<&'a Record>,
    /// Acknowledged cancellations.
    cancelled: Vec<&'a Record>,
}

impl Observed<'_> {
    fn check(&self, id: Uuid, may_be_deleted: bool, anomalies: &mut Vec<Anomaly>) {
        let mut add = |kind: AnomalyKind, at: u64, details: String| {
            anomalies.push(Anomaly { kind, subject: format!("summary {id}"), at, details });
        };
        if let (Some(missing), false) = (self.missing.first(), may_be_deleted) {
            add(SummaryLost, missing.end, "it was accepted, and not found later".to_owned());
        }
        self.check_order(&mut add);
        let is_final = |seen: &SeenSummary| seen.status.is_final();
        let finals = self.looks.iter().filter(|(_, seen)| is_final(seen));
        let mut finals = finals.clone().map(|(record, seen)| (record, *seen));
        let Some((_, first)) = finals.next() else {
            if !may_be_deleted && !self.requests.is_empty() {
                let status = self.looks.last().map_or("unknown", |(_, seen)| seen.status.as_str());
                let last = self.looks.last().map(|(record, _)| record.end);
                let at = last.or_else(|| self.requests.first().map(|record| record.end));
                add(SummaryNeverFinal, at.unwrap_or(0), format!("its status is {status}"));
            }
            return;
        };
        if let Some((record, seen)) = finals.find(|(_, seen)| *seen != first) {
            let [one, other] = [first, seen].map(|seen| (seen.status.as_str(), seen.revision));
            let details = format!("{one:?} and {other:?} are both final, or their results differ");
            add(FinalSummaryChanged, record.end, details);
        } else if let Some(cancelled) = self.cancelled.first()
            && first.status != SummaryStatus::Cancelled
        {
            let details = format!("it was cancelled, but is {}", first.status.as_str());
            add(FinalSummaryChanged, cancelled.end, details);
        }
    }

    /// No look shows an older state than one that was known before it began.
    fn check_order(&self, add: &mut impl FnMut(AnomalyKind, u64, String)) {
        let mut by_start = self.looks.clone();
        by_start.sort_by_key(|(record, _)| record.start);
        let mut ended = self.looks.iter().peekable();
        let mut newest: Option<&SeenSummary> = None;
        let mut last: Option<&SeenSummary> = None;
        for (record, seen) in by_start {
            while let Some(&(_, known)) = ended.next_if(|(known, _)| known.end < record.start) {
                if newest.is_none_or(|newest| order(known) > order(newest)) {
                    newest = Some(known);
                }
                last = last.or(Some(known).filter(|known| known.status.is_final()));
            }
            if let Some(last) = last
                && last != seen
            {
                let [last, seen] = [last, seen].map(|it| (it.status.as_str(), it.revision));
                add(FinalSummaryChanged, record.end, format!("{last:?} was final before {seen:?}"));
                return;
            }
            let Some(known) = newest else { continue };
            if order(seen) >= order(known) {
                continue;
            }
            let details = format!(
                "revision {} with progress {:?} was known before revision {} with progress {:?}",
                known.revision, known.progress, seen.revision, seen.progress
            );
            add(ProgressBackwards, record.end, details);
            return;
        }
    }
}

/// States of a summary are ordered by this.
fn order(seen: &SeenSummary) -> (u64, Option<(u8, u32)>) {
    (seen.revision, seen.progress)
}

/// No second summary of a week is accepted while another one is unfinished.
fn check_week(
    ids: &BTreeSet<Uuid>,
    summaries: &BTreeMap<Uuid, Observed<'_>>,
    anomalies: &mut Vec<Anomaly>,
) {
    let of_week = || ids.iter().filter_map(|id| Some((id, summaries.get(id)?)));
    for (id, observed) in of_week() {
        let known = observed.requests.iter().map(|record| record.end).min();
        let unfinished = observed.looks.iter().filter(|(_, seen)| !seen.status.is_final());
        let unfinished = unfinished.map(|(record, _)| record.start).max();
        let (Some(known), Some(unfinished)) = (known, unfinished) else { continue };
        let second = of_week().filter(|(other, _)| *other != id).find_map(|(other, observed)| {
            let meanwhile = |record: &&&Record| {
                matches!(record.outcome, Outcome::Accepted(_))
                    && record.start > known
                    && record.end < unfinished
            };
            Some((other, observed.requests.iter().find(meanwhile)?))
        });
        if let Some((other, record)) = second {
            let details =
                format!("summary {other} of its week was accepted while it was unfinished");
            let subject = format!("summary {id}");
            anomalies.push(Anomaly { kind: DoubledSummary, subject, at: record.end, details });
        }
    }
}
