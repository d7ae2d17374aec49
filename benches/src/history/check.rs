//! The check of a whole history.

use std::collections::BTreeSet;

use shiori_sdk::Date;

use crate::{
    anomaly::Anomaly,
    record::{Call, Outcome, Record},
    register, summaries,
};

/// The anomalies of a history, ordered by time.
pub(crate) fn check(history: &[Record]) -> Vec<Anomaly> {
    let mut anomalies: Vec<Anomaly> =
        dates(history).into_iter().flat_map(|date| register::check(date, history)).collect();
    anomalies.extend(summaries::check(history));
    anomalies.sort_by_key(|anomaly| anomaly.at);
    anomalies
}

/// All dates that calls or responses name.
fn dates(history: &[Record]) -> BTreeSet<Date> {
    let mut dates = BTreeSet::new();
    for record in history {
        match record.call {
            Call::Save { date, .. }
            | Call::Delete { date, .. }
            | Call::Archive { date, .. }
            | Call::Read { date } => {
                dates.insert(date);
            }
            _ => {}
        }
        if let Outcome::Dates(seen) = &record.outcome {
            dates.extend(seen.iter().map(|(date, _)| *date));
        }
    }
    dates
}
