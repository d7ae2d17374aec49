//! The check of one date: a register with compare-and-set whose versions count its writes.
//!
//! The versions order the writes, so no order has to be searched. Version v was written at an unknown
//! time `t(v)`, and `t(1) < t(2) < …`. A write that began at s and was acknowledged at e demands
//! `s ≤ t(v) ≤ e`; a response with version v to a call from s to e demands that v was current in
//! between: `t(v) ≤ e` and `s ≤ t(v + 1)`. These are bounds of single times, so the history of the
//! date is linearizable exactly if the earliest times that the lower bounds permit exceed no upper
//! bound.
//!
//! A call without a definite outcome may have been applied at any time after its start, at most once.
//! A write names the version that it replaces, so its version is known, too; only a save that expects
//! no diary may have any version after a deletion, which is determined by its text. Where several such
//! calls may have written a version that nobody has seen, the check uses what all of them have in
//! common. A response without a diary fits each time at which the date had none; if there are
//! several, the check demands only that one of them is possible. So the check reports no valid history,
//! and in these two cases it may miss an invalid one.

mod calls;
mod replays;
mod times;
mod versions;

use shiori_sdk::Date;

use self::{calls::Calls, versions::Versions};
use crate::{
    anomaly::{Anomaly, AnomalyKind},
    record::Record,
};

/// Anomalies of one date that are reported; one cause may have many effects.
const MAX_REPORTED: usize = 20;

/// The anomalies of one date, from the calls that concern it.
pub(crate) fn check(date: Date, records: &[&Record]) -> Vec<Anomaly> {
    let mut findings = Findings { subject: date.to_string(), anomalies: Vec::new() };
    let calls = Calls::of(date, records);
    let versions = Versions::assign(&calls, &mut findings);
    times::check(&calls, &versions, &mut findings);
    replays::check(&calls, &versions, &mut findings);
    findings.anomalies.sort_by_key(|anomaly| anomaly.at);
    findings.anomalies.truncate(MAX_REPORTED);
    findings.anomalies
}

/// Collects the anomalies of one date.
struct Findings {
    subject: String,
    anomalies: Vec<Anomaly>,
}

impl Findings {
    fn add(&mut self, kind: AnomalyKind, at: u64, details: String) {
        self.anomalies.push(Anomaly { kind, subject: self.subject.clone(), at, details });
    }

    fn is_empty(&self) -> bool {
        self.anomalies.is_empty()
    }
}

/// A record in the details of an anomaly.
fn describe(record: &Record) -> String {
    let [start, end] = [record.start, record.end].map(|at| at / 1_000_000);
    format!("{} of client {} from {start} to {end} ms", record.call.name(), record.client)
}
