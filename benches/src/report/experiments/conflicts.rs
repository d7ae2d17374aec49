//! Many writers of one day: saves of one version, of which exactly one succeeds, and appends under
//! different conflict policies, which should all succeed.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, Instant},
};

use rand::{SeedableRng, rngs::StdRng};
use shiori_benches::{Contender, Pacing, contenders};
use shiori_sdk::{Client, Date, Diaries, Document, Draft, Precondition};
use tokio::{task::JoinSet, time::sleep};

use super::{Context, calls::as_usize};
use crate::{
    Result,
    diarist::sign_up,
    figures::{Better, Experiment, Figures, Point, Unit},
    load::Sample,
    site::Site,
};

/// The subject of concurrent saves of one version.
pub(crate) const RACE: &str = "saves of one version";

/// The statistic with the number of successful saves of one version.
pub(crate) const SUCCESSES: &str = "successes";

/// The statistic with the number of saves per successful append.
pub(crate) const SAVES_PER_SUCCESS: &str = "saves per success";

/// The statistic with the share of saves that were rejected.
pub(crate) const REJECTED: &str = "rejected with a conflict";

/// The statistic with the share of writers that gave up.
pub(crate) const GAVE_UP: &str = "gave up";

/// Runs both experiments.
///
/// # Errors
///
/// If a site cannot be set up.
pub(crate) async fn run(context: &Context, figures: &mut Figures) -> Result<()> {
    let mut sites = Vec::new();
    for profile in &context.profiles {
        let site = Site::open(*profile, None, 0, None).await?;
        let (client, _) = sign_up(site.place.url(), &context.http).await?;
        // Connections for all writers.
        race(&client, 128).await;
        sites.push((*profile, site, client));
    }
    for _ in 0..context.plan.repeats {
        for (profile, _, client) in &sites {
            for writers in &context.plan.writers {
                let rounds = rounds(context, || race(client, as_usize(*writers))).await;
                let at = f64::from(*writers);
                let point = Point::new(profile.name(), Experiment::Race, RACE, at);
                rounds.add_to(figures, &point);
                for contender in contenders() {
                    let is_rival = !matches!((contender.start)(), Pacing::Shiori(_));
                    if is_rival && !context.plan.rival_writers.contains(writers) {
                        continue;
                    }
                    let name = plain(contender.name);
                    let rounds = self::rounds(context, || append(client, contender, *writers));
                    let point = Point::new(profile.name(), Experiment::Conflicts, &name, at);
                    rounds.await.add_to(figures, &point);
                }
            }
        }
    }
    for (_, site, _) in sites {
        site.close().await;
    }
    Ok(())
}

/// A name without Markdown.
pub(crate) fn plain(name: &str) -> String {
    name.replace(['*', '`'], "")
}

/// Several rounds of one kind.
#[derive(Debug, Default)]
struct Rounds {
    times: Sample,
    count: u32,
    outcome: Outcome,
}

/// What happened to the saves of a round.
#[derive(Debug, Clone, Copy, Default)]
struct Outcome {
    saves: u32,
    conflicts: u32,
    successes: u32,
    gave_up: u32,
}

/// Repeats rounds until the time of the plan is over.
async fn rounds<F>(context: &Context, mut round: impl FnMut() -> F) -> Rounds
where
    F: Future<Output = (Duration, Outcome)>,
{
    let started = Instant::now();
    let mut rounds = Rounds::default();
    while rounds.count == 0 || started.elapsed() < context.plan.round_time {
        let (took, outcome) = round().await;
        rounds.count += 1;
        rounds.times.record(took);
        rounds.outcome.saves += outcome.saves;
        rounds.outcome.conflicts += outcome.conflicts;
        rounds.outcome.successes += outcome.successes;
        rounds.outcome.gave_up += outcome.gave_up;
    }
    rounds
}

impl Rounds {
    fn add_to(&self, figures: &mut Figures, point: &Point) {
        let Outcome { saves, conflicts, successes, gave_up } = self.outcome;
        let time = self.times.quantile_ms(0.5);
        figures.add(point, "p50", Unit::Milliseconds, Better::Lower, time);
        if point.experiment == Experiment::Race {
            let successes = f64::from(successes) / f64::from(self.count);
            figures.add(point, SUCCESSES, Unit::Number, Better::Neither, successes);
            return;
        }
        let per_success = f64::from(saves) / f64::from(successes.max(1));
        figures.add(point, SAVES_PER_SUCCESS, Unit::Number, Better::Lower, per_success);
        let percent = |part: u32, all: u32| 100.0 * f64::from(part) / f64::from(all.max(1));
        let rejected = percent(conflicts, saves);
        figures.add(point, REJECTED, Unit::Percent, Better::Neither, rejected);
        let gave_up = percent(gave_up, successes + gave_up);
        figures.add(point, GAVE_UP, Unit::Percent, Better::Lower, gave_up);
    }
}

/// A date that was not used before.
fn fresh_date() -> Date {
    static NEXT: AtomicI64 = AtomicI64::new(0);
    let first = Date::new(1990, 1, 1).expect("a date");
    first.plus_days(NEXT.fetch_add(1, Ordering::Relaxed)).expect("fewer dates than there are")
}

/// All writers save over the same version concurrently and do not retry conflicts.
async fn race(client: &Client, writers: usize) -> (Duration, Outcome) {
    let date = fresh_date();
    let draft = |n: usize| Draft::new("경주", Document::from_text(&format!("{n} 번")));
    let first = client.diaries().save(date, draft(0), Precondition::IfAbsent).await;
    let mut outcome = Outcome::default();
    let Ok(first) = first else {
        outcome.gave_up = 1;
        return (Duration::ZERO, outcome);
    };
    let started = Instant::now();
    let mut saves = JoinSet::new();
    for writer in 0..writers {
        let precondition = Precondition::IfVersion(first.version);
        saves.spawn(client.diaries().save(date, draft(writer), precondition).send());
    }
    while let Some(saved) = saves.join_next().await {
        outcome.saves += 1;
        match saved {
            Ok(Ok(_)) => outcome.successes += 1,
            Ok(Err(error)) if error.is_conflict() => outcome.conflicts += 1,
            _ => outcome.gave_up += 1,
        }
    }
    (started.elapsed(), outcome)
}

/// All writers append a line to the same new day concurrently, under this policy.
async fn append(client: &Client, contender: Contender, writers: u32) -> (Duration, Outcome) {
    let date = fresh_date();
    let started = Instant::now();
    let mut appends = JoinSet::new();
    for writer in 0..writers {
        let diaries = client.diaries();
        let line = format!("{writer} 번째 줄");
        appends.spawn(async move {
            match (contender.start)() {
                Pacing::Shiori(_) => append_with_sdk(&diaries, date, &line).await,
                pacing => append_with(&diaries, date, &line, contender, pacing).await,
            }
        });
    }
    let mut all = Outcome::default();
    while let Some(outcome) = appends.join_next().await {
        let outcome = outcome.expect("an append does not panic");
        all.saves += outcome.saves;
        all.conflicts += outcome.conflicts;
        all.successes += outcome.successes;
        all.gave_up += outcome.gave_up;
    }
    (started.elapsed(), all)
}

/// The SDK's own retries.
async fn append_with_sdk(diaries: &Diaries, date: Date, line: &str) -> Outcome {
    let append = |mut draft: Draft| async move {
        draft.content.push_paragraph(line);
        draft
    };
    match diaries.update(date, append).await {
        Ok(saved) => Outcome {
            saves: saved.report.attempts,
            conflicts: saved.report.conflicts,
            successes: 1,
            gave_up: 0,
        },
        // The number of saves of a failed update is not known; it counts as one.
        Err(_) => Outcome { saves: 1, conflicts: 1, successes: 0, gave_up: 1 },
    }
}

/// The same with the pauses of another policy. After a pause, the day is read again.
async fn append_with(
    diaries: &Diaries,
    date: Date,
    line: &str,
    contender: Contender,
    mut pacing: Pacing,
) -> Outcome {
    let mut random = StdRng::from_rng(&mut rand::rng());
    let mut outcome = Outcome::default();
    let started = Instant::now();
    let Ok(mut current) = diaries.get(date).await else {
        return Outcome { gave_up: 1, ..outcome };
    };
    loop {
        let read = current.as_ref().map_or(0, |diary| diary.version.get());
        let mut draft = current.as_ref().map_or_else(Draft::default, Draft::from);
        draft.content.push_paragraph(line);
        let precondition = Precondition::unchanged_since(current.as_ref());
        let sent = Instant::now();
        outcome.saves += 1;
        let Err(error) = diaries.save(date, draft, precondition).await else {
            return Outcome { successes: 1, ..outcome };
        };
        let round_trip = sent.elapsed();
        let Some(conflict) = error.as_conflict() else { return Outcome { gave_up: 1, ..outcome } };
        outcome.conflicts += 1;
        let now = conflict.current.as_ref().map_or(0, |diary| diary.version.get());
        let pause = pacing.pause(now.saturating_sub(read), round_trip, &mut random);
        let is_late = started.elapsed() + pause >= contender.deadline;
        if outcome.saves >= contender.attempts || is_late {
            return Outcome { gave_up: 1, ..outcome };
        }
        sleep(pause).await;
        current = match diaries.get(date).await {
            Ok(current) => current,
            Err(_) => return Outcome { gave_up: 1, ..outcome },
        };
    }
}
