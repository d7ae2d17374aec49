//! The check of a whole history.

use std::collections::BTreeMap;

use shiori_sdk::Date;

use crate::{
    anomaly::Anomaly,
    record::{Outcome, Record},
    register, summaries,
};

/// The anomalies of a history, ordered by time.
pub(crate) fn check(history: &[Record]) -> Vec<Anomaly> {
    let by_date = by_date(history);
    let mut anomalies: Vec<Anomaly> =
        by_date.iter().flat_map(|(date, records)| register::check(*date, records)).collect();
    anomalies.extend(summaries::check(history));
    anomalies.sort_by_key(|anomaly| anomaly.at);
    anomalies
}

/// The calls that concern each date that a call or a response names.
fn by_date(history: &[Record]) -> BTreeMap<Date, Vec<&Record>> {
    let mut by_date: BTreeMap<Date, Vec<&Record>> = BTreeMap::new();
    let dates = |record: &Record| record.call.dates().filter(|dates| !dates.is_empty());
    for record in history {
        if let Outcome::Dates(seen) = &record.outcome {
            by_date.extend(seen.iter().map(|(date, _)| (*date, Vec::new())));
        } else if let Some(dates) = dates(record) {
            by_date.entry(*dates.start()).or_default();
        }
    }
    for record in history {
        let Some(dates) = dates(record) else { continue };
        for (_, records) in by_date.range_mut(dates) {
            records.push(record);
        }
    }
    by_date
}
