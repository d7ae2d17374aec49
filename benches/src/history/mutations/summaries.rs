//! Changes of summaries.

use shiori_sdk::{Date, SummaryStatus};
use uuid::Uuid;

use super::rejects;
use crate::{
    anomaly::AnomalyKind::{
        DoubledSummary, FinalSummaryChanged, ProgressBackwards, SummaryLost, SummaryNeverFinal,
    },
    generator::Generated,
    record::{Call, Outcome, SeenSummary},
};

/// Adds a summary that was seen in these states.
fn append_summary(generated: &mut Generated, states: &[SeenSummary]) -> Uuid {
    let (id, week) = (Uuid::from_u128(7), Date::new(2027, 1, 4).expect("a date"));
    generated.append(Call::Request { week, force: true }, Outcome::Accepted(id));
    for state in states {
        generated.append(Call::Look { summary: id }, Outcome::Summary(state.clone()));
    }
    id
}

fn state(status: SummaryStatus, revision: u64, result: &str) -> SeenSummary {
    let result = Some(result.to_owned()).filter(|result| !result.is_empty());
    SeenSummary { status, revision, progress: None, result }
}

#[test]
fn a_changed_final_summary() {
    use SummaryStatus::{Completed, Failed, Queued, Running};
    for (first, second) in [
        (state(Completed, 3, "a"), state(Completed, 3, "b")),
        (state(Completed, 3, "a"), state(Completed, 5, "b")),
        (state(Completed, 3, "a"), state(Failed, 4, "b")),
        (state(Completed, 3, "a"), state(Running, 2, "")),
        (state(Completed, 3, "a"), state(Queued, 4, "")),
    ] {
        rejects(&[FinalSummaryChanged], |generated| {
            append_summary(generated, &[first.clone(), second.clone(), first.clone()]);
            true
        });
    }
    rejects(&[FinalSummaryChanged], |generated| {
        let summary = append_summary(generated, &[]);
        generated.append(Call::Cancel { summary }, Outcome::Cancelled);
        let seen = state(Completed, 3, "a");
        generated.append(Call::Look { summary }, Outcome::Summary(seen));
        true
    });
}

#[test]
fn a_summary_that_is_never_final() {
    rejects(&[SummaryNeverFinal], |generated| {
        append_summary(generated, &[state(SummaryStatus::Running, 2, "")]);
        true
    });
    rejects(&[SummaryNeverFinal], |generated| {
        append_summary(generated, &[]);
        true
    });
}

#[test]
fn a_lost_summary() {
    rejects(&[SummaryLost], |generated| {
        let summary = append_summary(generated, &[state(SummaryStatus::Running, 2, "")]);
        generated.append(Call::Look { summary }, Outcome::NotFound);
        true
    });
}

#[test]
fn progress_that_goes_back() {
    let running = |revision, progress| SeenSummary {
        progress,
        ..state(SummaryStatus::Running, revision, "")
    };
    for (first, second) in [
        (running(4, None), running(3, None)),
        (running(4, Some((1, 30))), running(4, Some((1, 20)))),
        (running(4, Some((1, 30))), running(4, Some((0, 30)))),
        (running(4, Some((1, 30))), running(4, None)),
    ] {
        rejects(&[ProgressBackwards], |generated| {
            let last = state(SummaryStatus::Completed, 5, "a");
            append_summary(generated, &[first.clone(), second.clone(), last]);
            true
        });
    }
}

#[test]
fn two_unfinished_summaries_of_a_week() {
    rejects(&[DoubledSummary], |generated| {
        let summary = append_summary(generated, &[]);
        let (other, week) = (Uuid::from_u128(8), Date::new(2027, 1, 4).expect("a date"));
        generated.append(Call::Request { week, force: true }, Outcome::Accepted(other));
        for (status, revision, result) in
            [(SummaryStatus::Running, 2, ""), (SummaryStatus::Completed, 3, "a")]
        {
            for summary in [summary, other] {
                let seen = state(status, revision, result);
                generated.append(Call::Look { summary }, Outcome::Summary(seen));
            }
        }
        true
    });
}
