//! The contract of [`SummaryStore`].

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use shiori_sdk::{
    Date, DateRange, DayEmotion, Distribution, Emotion, FailureKind, Progress, ProgressPhase,
    SummaryFailure, SummaryId, SummaryStatus, Timestamp, UserId, Version, Week,
};
use shiori_worker::protocol::{LeaseToken, TextSoFar, TokenUsage};

use crate::{
    store::{
        DueJobs, DueKind, InsertOutcome, PAGE_RESULTS, Page, QueuedRow, ResultPlace, ResultRecord,
        RowId, StoreError, StoredResult, SummaryQuota, SummaryStore,
    },
    summary::{AttemptFailure, Completion, SummaryJob, SummaryPolicy},
};

type Store = Arc<dyn SummaryStore>;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_771_200_000_000 + seconds * 1000)
}

fn week(start: u8) -> Week {
    Week::starting(Date::new(2026, 2, start).expect("a real day")).expect("a week")
}

/// At most this many unfinished summaries, and any number per day.
fn unfinished(unfinished: u32) -> SummaryQuota {
    SummaryQuota { unfinished, per_day: None }
}

fn policy() -> SummaryPolicy {
    SummaryPolicy::default()
}

fn job(user: UserId, start: u8, now: i64) -> SummaryJob {
    SummaryJob::new(user, week(start), None, at(now), &policy())
}

async fn insert(store: &Store, job: &SummaryJob) {
    let outcome = store.insert(job, unfinished(100)).await.expect("the store is available");
    assert!(matches!(outcome, InsertOutcome::Inserted), "{outcome:?}");
}

async fn get(store: &Store, job: &SummaryJob) -> SummaryJob {
    store.get(job.id).await.expect("the store is available").expect("a job")
}

async fn step(store: &Store, from: &SummaryJob, to: &SummaryJob) {
    assert!(store.compare_and_swap(from, to, None).await.expect("the store is available"));
}

fn versions(week: Week) -> BTreeMap<Date, Version> {
    week.dates().map(|date| (date, Version::new(3))).collect()
}

fn claimed(job: &SummaryJob, now: i64) -> (SummaryJob, LeaseToken) {
    let token = LeaseToken::new();
    let worker = "계약".to_owned();
    let job = job.claim(worker, token, versions(job.week), at(now), &policy()).expect("claimable");
    (job, token)
}

fn completed(job: &SummaryJob, token: LeaseToken, now: i64) -> SummaryJob {
    match job.complete(token, at(now)) {
        Ok(Completion::Completed(job)) => *job,
        other => panic!("{other:?}"),
    }
}

fn result(week: Week, label: Emotion, now: i64) -> ResultRecord {
    let mut weights = [1.0; 7];
    weights[label.index()] = 4.0;
    let distribution = Distribution::from_weights(weights);
    let day = |date| DayEmotion { date, label, confidence: 0.4, distribution };
    ResultRecord {
        reflection: format!("{label}의 한 주"),
        engine: "extractive/1".to_owned(),
        emotion_engine: "lexicon/1".to_owned(),
        emotions: week.dates().map(day).collect(),
        truncated: week.dates().skip(2).take(usize::from(label == Emotion::Happiness)).collect(),
        usage: (label == Emotion::Happiness)
            .then_some(TokenUsage { prompt_tokens: 2_400, completion_tokens: 310 }),
        generated_at: at(now),
    }
}

/// Inserts a job and completes it.
async fn finish(store: &Store, job: &SummaryJob, label: Emotion, now: i64) -> SummaryJob {
    insert(store, job).await;
    let (running, token) = claimed(job, now);
    step(store, job, &running).await;
    let done = completed(&running, token, now);
    let stored = store.compare_and_swap(&running, &done, Some(&result(job.week, label, now))).await;
    assert!(stored.expect("the store is available"));
    done
}

/// A job round-trips unchanged in every state.
pub async fn every_field_of_a_job_round_trips(store: Store) {
    let mut first = job(UserId::new(), 16, 0);
    first.trace = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
    assert_eq!(store.get(first.id).await.expect("the store is available"), None);
    insert(&store, &first).await;
    assert_eq!(get(&store, &first).await, first);
    let (running, token) = claimed(&first, 1);
    step(&store, &first, &running).await;
    assert_eq!(get(&store, &first).await, running);
    let progress = Progress { phase: ProgressPhase::Writing, characters: 120 };
    let beaten = running.heartbeat(token, Some(progress), None, at(5), &policy()).expect("held");
    step(&store, &running, &beaten).await;
    assert_eq!(get(&store, &first).await, beaten);
    let reason =
        SummaryFailure { kind: FailureKind::ModelUnavailable, message: "응답 없음".to_owned() };
    let failure =
        AttemptFailure { reason, retryable: true, retry_after: None, costs_attempt: true };
    let queued = beaten.fail(token, &failure, 0.5, at(6), &policy()).expect("leased");
    step(&store, &beaten, &queued).await;
    assert_eq!(get(&store, &first).await, queued);
    let cancelled = queued.cancel(at(7)).expect("unfinished");
    step(&store, &queued, &cancelled).await;
    assert_eq!(get(&store, &first).await, cancelled);
}

/// Of 16 concurrent requests for one week, one is inserted and all others return its id.
pub async fn of_concurrent_requests_for_a_week_one_is_inserted(store: Store) {
    let user = UserId::new();
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (store, job) = (store.clone(), job(user, 16, 0));
            tokio::spawn(async move {
                match store.insert(&job, unfinished(100)).await.expect("the store is available") {
                    InsertOutcome::Inserted => (job.id, true),
                    InsertOutcome::Unfinished(other) => (other.id, false),
                    other => panic!("one request is within the limit: {other:?}"),
                }
            })
        })
        .collect();
    let mut seen = Vec::new();
    for task in tasks {
        seen.push(task.await.expect("no panic"));
    }
    assert_eq!(seen.iter().filter(|(_, inserted)| *inserted).count(), 1, "{seen:?}");
    assert!(seen.iter().all(|(id, _)| *id == seen[0].0), "{seen:?}");
}

/// The number of unfinished summaries is limited; finished ones do not count.
pub async fn unfinished_requests_are_bounded(store: Store) {
    let user = UserId::new();
    let insert =
        async |job: &SummaryJob| store.insert(job, unfinished(2)).await.expect("available");
    let (first, third) = (job(user, 1, 0), job(user, 3, 0));
    for job in [&first, &job(user, 2, 0)] {
        let outcome = insert(job).await;
        assert!(matches!(outcome, InsertOutcome::Inserted), "{outcome:?}");
    }
    let outcome = insert(&third).await;
    assert!(matches!(outcome, InsertOutcome::TooMany), "{outcome:?}");
    let outcome = insert(&job(user, 2, 0)).await;
    assert!(matches!(outcome, InsertOutcome::Unfinished(_)), "{outcome:?}");
    step(&store, &first, &first.cancel(at(1)).expect("unfinished")).await;
    let outcome = insert(&third).await;
    assert!(matches!(outcome, InsertOutcome::Inserted), "{outcome:?}");
    let outcome = store.insert(&job(UserId::new(), 1, 0), unfinished(0)).await.expect("available");
    assert!(matches!(outcome, InsertOutcome::TooMany), "{outcome:?}");
}

/// Of 16 concurrent steps from the same job, one is applied.
pub async fn of_concurrent_steps_one_succeeds(store: Store) {
    let queued = job(UserId::new(), 16, 0);
    insert(&store, &queued).await;
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (store, queued) = (store.clone(), queued.clone());
            tokio::spawn(async move {
                let (running, token) = claimed(&queued, 1);
                let won = store.compare_and_swap(&queued, &running, None).await;
                won.expect("the store is available").then_some(token)
            })
        })
        .collect();
    let mut winners = Vec::new();
    for task in tasks {
        winners.extend(task.await.expect("no panic"));
    }
    assert_eq!(winners.len(), 1);
    let lease = get(&store, &queued).await.lease.expect("leased");
    assert!(lease.token == winners[0]);
}

/// An extended lease is not expired by a step computed before the heartbeat, although the revision
/// is the same.
pub async fn a_heartbeat_makes_an_older_step_stale(store: Store) {
    let queued = job(UserId::new(), 16, 0);
    insert(&store, &queued).await;
    let (running, token) = claimed(&queued, 0);
    step(&store, &queued, &running).await;
    let taken = running.expire_lease(0.5, at(30), &policy()).expect("an expired lease");
    let beaten = running.heartbeat(token, None, None, at(30), &policy()).expect("held");
    step(&store, &running, &beaten).await;
    assert!(!store.compare_and_swap(&running, &taken, None).await.expect("the store is available"));
    assert_eq!(get(&store, &queued).await, beaten);
}

/// A heartbeat with this text, which does not extend the lease. Returns the next job.
async fn write(
    store: &Store,
    job: &SummaryJob,
    token: LeaseToken,
    (number, text): (u32, &str),
) -> SummaryJob {
    let next = job.heartbeat(token, None, Some(number), job.requested_at, &policy()).expect("held");
    let text = TextSoFar { number, text: text.to_owned() };
    let swapped = store.swap_text(job, &next, &text).await;
    assert!(swapped.expect("the store is available"));
    next
}

/// The text so far of the job's current run.
async fn partial_text(store: &Store, job: &SummaryJob) -> Option<(u32, String)> {
    let found = store.partial_text(job.id, job.revision).await.expect("the store is available");
    found.map(|found| {
        assert_eq!(found.revision, job.revision);
        (found.number, found.text)
    })
}

/// Inserts a job and claims it.
async fn running(store: &Store, user: UserId, start: u8) -> (SummaryJob, LeaseToken) {
    let queued = job(user, start, 0);
    insert(store, &queued).await;
    let (running, token) = claimed(&queued, 1);
    step(store, &queued, &running).await;
    (running, token)
}

/// The last text of a run replaces those before, and a stale heartbeat stores none.
pub async fn the_last_text_of_a_run_is_kept(store: Store) {
    let (first, token) = running(&store, UserId::new(), 16).await;
    assert_eq!(partial_text(&store, &first).await, None);
    let second = write(&store, &first, token, (1, "조용한")).await;
    assert_eq!(get(&store, &first).await, second);
    let third = write(&store, &second, token, (2, "조용한 한 주")).await;
    assert_eq!(partial_text(&store, &third).await, Some((2, "조용한 한 주".to_owned())));
    // The lease expires at the same time, so only the number shows that these are stale.
    for stale in [&first, &second] {
        let text = TextSoFar { number: 9, text: "늦은 글".to_owned() };
        let now = stale.requested_at;
        let next = stale.heartbeat(token, None, Some(9), now, &policy()).expect("held");
        assert!(!store.swap_text(stale, &next, &text).await.expect("the store is available"));
        let cancelled = second.cancel(at(3)).expect("unfinished");
        let swapped = store.compare_and_swap(stale, &cancelled, None).await;
        assert!(!swapped.expect("the store is available"));
    }
    assert_eq!(partial_text(&store, &third).await, Some((2, "조용한 한 주".to_owned())));
    // A heartbeat without a text keeps it.
    let beaten = third.heartbeat(token, None, None, at(4), &policy()).expect("held");
    step(&store, &third, &beaten).await;
    let withdrawn = write(&store, &beaten, token, (3, "")).await;
    assert_eq!(partial_text(&store, &withdrawn).await, Some((3, String::new())));
    // The longest text, in the characters with the most bytes.
    let longest = "👍".repeat(4000);
    let last = write(&store, &withdrawn, token, (u32::MAX, &longest)).await;
    assert_eq!(partial_text(&store, &last).await, Some((u32::MAX, longest)));
}

/// A step that ends the run of a job under its lease.
type Ending<'a> = &'a dyn Fn(&SummaryJob, LeaseToken) -> SummaryJob;

/// Each step that ends a run deletes its text, for every revision.
pub async fn the_text_of_a_run_ends_with_it(store: Store) {
    let reason = SummaryFailure { kind: FailureKind::ModelUnavailable, message: String::new() };
    let failure = |retryable| AttemptFailure {
        reason: reason.clone(),
        retryable,
        retry_after: None,
        costs_attempt: true,
    };
    let steps: [(&str, Ending<'_>); 7] = [
        ("completed", &|job, token| completed(job, token, 3)),
        ("failed", &|job, token| {
            job.fail(token, &failure(false), 0.5, at(3), &policy()).expect("leased")
        }),
        ("requeued", &|job, token| {
            job.fail(token, &failure(true), 0.5, at(3), &policy()).expect("leased")
        }),
        ("cancelled", &|job, _| job.cancel(at(3)).expect("unfinished")),
        ("abandoned", &|job, _| job.expire_lease(0.5, at(99), &policy()).expect("expired")),
        ("taken over", &|job, _| claimed(job, 99).0),
        ("claimed again", &|job, token| {
            let versions = versions(job.week);
            job.claim("계약".to_owned(), token, versions, at(3), &policy()).expect("the same lease")
        }),
    ];
    for (name, step) in steps {
        let (claimed, token) = running(&store, UserId::new(), 16).await;
        let writing = write(&store, &claimed, token, (1, "조용한 한 주")).await;
        let next = step(&writing, token);
        assert_eq!(next.text_number, None, "{name}");
        let record = result(next.week, Emotion::Neutral, 3);
        let record = (next.status == SummaryStatus::Completed).then_some(&record);
        let swapped = store.compare_and_swap(&writing, &next, record).await;
        assert!(swapped.expect("the store is available"), "{name}");
        for job in [&writing, &next] {
            assert_eq!(partial_text(&store, job).await, None, "{name}");
        }
        assert_eq!(get(&store, &next).await, next, "{name}");
        if let Ok(cancelled) = next.cancel(at(100)) {
            assert!(store.compare_and_swap(&next, &cancelled, None).await.expect("available"));
        }
    }
}

/// The result of a stale step is not stored.
pub async fn a_result_is_stored_atomically_with_its_step(store: Store) {
    let user = UserId::new();
    let queued = job(user, 16, 0);
    insert(&store, &queued).await;
    let (running, token) = claimed(&queued, 0);
    step(&store, &queued, &running).await;
    let cancelled = running.cancel(at(1)).expect("unfinished");
    step(&store, &running, &cancelled).await;
    let late = completed(&running, token, 2);
    let record = result(queued.week, Emotion::Happiness, 2);
    assert!(
        !store
            .compare_and_swap(&running, &late, Some(&record))
            .await
            .expect("the store is available")
    );
    assert_eq!(store.result(queued.id).await.expect("the store is available"), None);
    let found = store.latest_result(user, queued.week).await.expect("the store is available");
    assert_eq!(found, None);
    let tags = store.emotion_tags(user, queued.week.into()).await.expect("the store is available");
    assert!(tags.is_empty());
}

/// The newest result of a week is returned, with all fields.
pub async fn the_newest_result_is_found(store: Store) {
    let user = UserId::new();
    finish(&store, &job(user, 16, 0), Emotion::Sadness, 1).await;
    let newer = finish(&store, &job(user, 16, 2), Emotion::Happiness, 3).await;
    finish(&store, &job(user, 15, 4), Emotion::Anger, 5).await;
    let found = store.latest_result(user, week(16)).await.expect("the store is available");
    let found = found.expect("a job");
    assert_eq!(found.job, newer);
    let expected = result(week(16), Emotion::Happiness, 3);
    assert_eq!(found.result.reflection, expected.reflection);
    assert_eq!(found.result.engine, expected.engine);
    assert_eq!(found.result.emotion_engine, expected.emotion_engine);
    assert_eq!((found.result.truncated, found.result.usage), (expected.truncated, expected.usage));
    assert_eq!(found.result.generated_at, expected.generated_at);
    assert_eq!(found.result.emotions.len(), 7);
    for (stored, made) in found.result.emotions.iter().zip(&expected.emotions) {
        assert_eq!((stored.date, stored.label), (made.date, made.label));
        for emotion in Emotion::ALL {
            let difference =
                stored.distribution.probability(emotion) - made.distribution.probability(emotion);
            assert!(difference.abs() < 1e-3, "{stored:?}");
        }
    }
    let foreign =
        store.latest_result(UserId::new(), week(16)).await.expect("the store is available");
    assert_eq!(foreign, None);
}

/// Pages contain the results of all weeks once, with their emotions.
pub async fn pages_contain_every_result_once(store: Store) {
    let user = UserId::new();
    let mut expected = Vec::new();
    // Five results of each week are kept.
    for start in 1..=10 {
        for now in 0..5 {
            let done = finish(&store, &job(user, start, now), Emotion::Happiness, now).await;
            expected.push((done.week, done.id));
        }
    }
    finish(&store, &job(UserId::new(), 1, 0), Emotion::Sadness, 0).await;
    insert(&store, &job(user, 11, 0)).await;

    let (mut found, mut next) = (Vec::new(), Some(ResultPlace::first()));
    while let Some(place) = next {
        let page = store.results_page(user, &place).await.expect("the store is available");
        assert!(page.items.len() <= PAGE_RESULTS as usize);
        assert_eq!(page.unreadable, 0);
        for StoredResult { id, week, result } in page.items {
            let alone = store.result(id).await.expect("the store is available");
            assert_eq!(alone.as_ref(), Some(&result));
            assert_eq!(result.emotions.len(), 7);
            found.push((week, id));
        }
        next = page.next;
    }
    assert_eq!(found, expected);
    let none = store.results_page(UserId::new(), &ResultPlace::first()).await.expect("available");
    assert_eq!(none, Page { items: Vec::new(), unreadable: 0, next: None });
}

/// When a summary is finished, older ones of the week are deleted: five are kept, and in any case
/// the newest completed one and the newest that was not cancelled.
pub async fn the_newest_finished_summaries_of_a_week_are_kept(store: Store) {
    let user = UserId::new();
    let of_another = finish(&store, &job(UserId::new(), 16, 0), Emotion::Sadness, 0).await;
    let of_another_week = finish(&store, &job(user, 15, 0), Emotion::Sadness, 0).await;
    let mut jobs = Vec::new();
    for now in 0..8 {
        jobs.push(finish(&store, &job(user, 16, now), Emotion::Happiness, now).await);
    }
    let kept = async |jobs: &[SummaryJob]| -> Vec<bool> {
        let mut kept = Vec::new();
        for job in jobs {
            let found = store.get(job.id).await.expect("the store is available");
            let result = store.result(job.id).await.expect("the store is available");
            let has_result = job.status == SummaryStatus::Completed;
            assert_eq!(result.is_some(), found.is_some() && has_result, "deleted together");
            kept.push(found.is_some());
        }
        kept
    };
    assert_eq!(kept(&jobs).await, [false, false, false, true, true, true, true, true]);
    let fail = |job: &SummaryJob, now| {
        let reason = SummaryFailure { kind: FailureKind::Internal, message: String::new() };
        job.reject(reason, at(now)).expect("unfinished")
    };
    let failed = job(user, 16, 10);
    insert(&store, &failed).await;
    step(&store, &failed, &fail(&failed, 10)).await;
    let (completed, mut others) = (jobs.pop().expect("eight jobs"), Vec::new());
    for now in 11..17 {
        let cancelled = job(user, 16, now);
        insert(&store, &cancelled).await;
        step(&store, &cancelled, &cancelled.cancel(at(now)).expect("unfinished")).await;
        others.push(SummaryJob { status: SummaryStatus::Cancelled, ..cancelled });
    }
    assert_eq!(kept(&jobs).await, [false; 7]);
    assert_eq!(kept(&others).await, [false, true, true, true, true, true]);
    let failed = SummaryJob { status: SummaryStatus::Failed, ..failed };
    let elsewhere = [completed.clone(), failed, of_another, of_another_week];
    assert_eq!(kept(&elsewhere).await, [true; 4]);
    let found = store.latest_result(user, week(16)).await.expect("the store is available");
    assert_eq!(found.map(|found| found.job.id), Some(completed.id));
    let found = store.latest_completed(user, week(16)).await.expect("the store is available");
    assert_eq!(found.map(|found| found.id), Some(completed.id));
    let statuses = store.week_statuses(user, week(16).into()).await.expect("available");
    assert_eq!(statuses.last().map(|week| week.status), Some(SummaryStatus::Failed));
    // An unfinished summary does not count.
    let queued = job(user, 16, 20);
    insert(&store, &queued).await;
    assert_eq!(kept(&others[1..]).await, [true; 5]);
    step(&store, &queued, &queued.cancel(at(21)).expect("unfinished")).await;
    assert_eq!(kept(&others[1..]).await, [false, true, true, true, true]);
}

/// Concurrent requests for different weeks keep to the limit.
pub async fn concurrent_requests_for_different_weeks_are_bounded(store: Store) {
    let user = UserId::new();
    let tasks: Vec<_> = (1..=16)
        .map(|start| {
            let (store, job) = (store.clone(), job(user, start, 0));
            tokio::spawn(async move { store.insert(&job, unfinished(3)).await.expect("available") })
        })
        .collect();
    let mut inserted = 0;
    for task in tasks {
        match task.await.expect("no panic") {
            InsertOutcome::Inserted => inserted += 1,
            InsertOutcome::TooMany => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(inserted, 3);
}

/// The number of summaries of one day is limited, whatever became of them. Requests that return an
/// unfinished summary do not count, and each day in UTC starts anew.
pub async fn requests_of_a_day_are_bounded(store: Store) {
    const DAY: i64 = 24 * 60 * 60;
    let user = UserId::new();
    let quota = SummaryQuota { unfinished: 100, per_day: Some(10) };
    let insert = async |user, start, now| {
        let job = job(user, start, now);
        (store.insert(&job, quota).await.expect("the store is available"), job)
    };
    // The clock of the contract starts at midnight in UTC.
    let last_second = DAY - 1;
    for now in 0..10 {
        let (outcome, job) = insert(user, 16, last_second - now % 2).await;
        assert!(matches!(outcome, InsertOutcome::Inserted), "{now}: {outcome:?}");
        let (again, _) = insert(user, 16, last_second).await;
        assert!(matches!(again, InsertOutcome::Unfinished(_)), "{again:?}");
        // Old summaries of a week are deleted, and count nevertheless.
        step(&store, &job, &job.cancel(at(now)).expect("unfinished")).await;
    }
    for start in [16, 1] {
        let (outcome, _) = insert(user, start, last_second).await;
        assert!(matches!(outcome, InsertOutcome::TooManyOnDay(10)), "{outcome:?}");
    }
    let (outcome, _) = insert(UserId::new(), 16, last_second).await;
    assert!(matches!(outcome, InsertOutcome::Inserted), "another user: {outcome:?}");
    let (outcome, _) = insert(user, 16, DAY).await;
    assert!(matches!(outcome, InsertOutcome::Inserted), "the next day: {outcome:?}");

    let tasks: Vec<_> = (1..=15)
        .map(|start| {
            let (store, job) = (store.clone(), job(user, start, 2 * DAY));
            tokio::spawn(async move { store.insert(&job, quota).await.expect("available") })
        })
        .collect();
    let mut inserted = 0;
    for task in tasks {
        match task.await.expect("no panic") {
            InsertOutcome::Inserted => inserted += 1,
            InsertOutcome::TooManyOnDay(10) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(inserted, 10, "concurrent requests keep to the limit");
}

/// Weeks that overlap the range are listed, each with its newest request that was not cancelled.
pub async fn the_newest_request_of_each_week_is_listed(store: Store) {
    let user = UserId::new();
    finish(&store, &job(user, 16, 0), Emotion::Sadness, 1).await;
    let again = job(user, 16, 2);
    insert(&store, &again).await;
    let cancelled = job(user, 9, 3);
    insert(&store, &cancelled).await;
    step(&store, &cancelled, &cancelled.cancel(at(4)).expect("unfinished")).await;
    let overlapping = finish(&store, &job(user, 14, 5), Emotion::Sadness, 6).await;
    insert(&store, &job(user, 1, 7)).await;
    let day = |day| Date::new(2026, 2, day).expect("a real day");
    let range = DateRange::new(day(15), day(16)).expect("ordered");
    let coverage = store.week_statuses(user, range).await.expect("the store is available");
    let seen: Vec<_> = coverage.iter().map(|one| (one.week, one.status)).collect();
    assert_eq!(seen, [(week(16), SummaryStatus::Queued), (week(14), SummaryStatus::Completed)]);
    assert_eq!(coverage[1].versions_read, overlapping.versions_read);
}

/// The newest emotion tag of each day is listed.
pub async fn the_newest_emotion_of_each_day_is_listed(store: Store) {
    let user = UserId::new();
    finish(&store, &job(user, 10, 0), Emotion::Sadness, 1).await;
    finish(&store, &job(user, 14, 2), Emotion::Happiness, 3).await;
    let day = |day| Date::new(2026, 2, day).expect("a real day");
    let range = DateRange::new(day(13), day(14)).expect("ordered");
    let tags = store.emotion_tags(user, range).await.expect("the store is available");
    let labels: Vec<_> = tags.values().map(|tag| tag.label).collect();
    assert_eq!(labels, [Emotion::Sadness, Emotion::Happiness]);
}

/// The annotations of a day or of a range are its statuses and its emotions.
pub async fn annotations_are_statuses_and_emotions(store: Store) {
    let user = UserId::new();
    let day = |day| Date::new(2026, 2, day).expect("a real day");
    for (start, label) in [(10, Emotion::Sadness), (14, Emotion::Happiness)] {
        finish(&store, &job(user, start, i64::from(start)), label, i64::from(start) + 1).await;
    }
    insert(&store, &job(user, 14, 20)).await;
    // A day with both, a day with a status only, a day with neither, and all days.
    for (first, last, weeks, tags) in
        [(14, 14, 2, 1), (9, 9, 0, 0), (20, 20, 1, 1), (21, 21, 0, 0), (1, 28, 2, 11)]
    {
        let range = DateRange::new(day(first), day(last)).expect("ordered");
        let read = store.annotations(user, range).await.expect("the store is available");
        assert_eq!((read.weeks.len(), read.tags.len()), (weeks, tags), "{first} to {last}");
        assert_eq!(read.weeks, store.week_statuses(user, range).await.expect("available"));
        assert_eq!(read.tags, store.emotion_tags(user, range).await.expect("available"));
    }
}

/// Only jobs whose lease has expired are listed.
pub async fn only_expired_leases_are_listed(store: Store) {
    let user = UserId::new();
    // Far in the past, so that jobs of other tests in a shared store come later.
    let long_ago = -1_000_000_000;
    let (queued, lost, longer_lost) =
        (job(user, 1, long_ago), job(user, 2, long_ago), job(user, 3, long_ago));
    for job in [&queued, &lost, &longer_lost] {
        insert(&store, job).await;
    }
    let (lost_running, _) = claimed(&lost, long_ago + 1);
    step(&store, &lost, &lost_running).await;
    let (running, _) = claimed(&longer_lost, long_ago);
    step(&store, &longer_lost, &running).await;
    finish(&store, &job(user, 4, long_ago), Emotion::Neutral, long_ago).await;
    let list = async |now, limit| {
        store.list_expired(at(long_ago + now), limit).await.expect("the store is available")
    };
    let mine = |due: DueJobs| -> Vec<_> {
        due.jobs.into_iter().filter(|job| job.user == user).map(|job| job.id).collect()
    };
    let lease = i64::try_from(policy().lease.as_secs()).expect("short");
    assert_eq!(mine(list(lease - 1, 1000).await), []);
    assert_eq!(mine(list(lease, 1000).await), [longer_lost.id]);
    assert_eq!(mine(list(lease + 1, 1000).await), [longer_lost.id, lost.id]);
    assert_eq!(list(lease + 1, 1).await.len(), 1, "the limit is respected");
    for job in [&queued, &lost_running, &running] {
        let now = at(long_ago) + Duration::from_secs(1);
        step(&store, job, &job.cancel(now).expect("unfinished")).await;
    }
}

pub async fn an_erasure_leaves_nothing_of_its_user(store: Store) {
    let (user, other) = (UserId::new(), UserId::new());
    let mut jobs = Vec::new();
    for start in 1..=3 {
        jobs.push(finish(&store, &job(user, start, 0), Emotion::Happiness, 0).await);
    }
    let (running, token) = running(&store, user, 16).await;
    let running = write(&store, &running, token, (1, "조용한 한 주")).await;
    let of_another = finish(&store, &job(other, 1, 0), Emotion::Happiness, 0).await;
    for expected in [3, 1, 0] {
        assert_eq!(store.erase(user, 3).await.expect("erased"), expected);
    }
    for job in jobs.iter().chain([&running]) {
        assert_eq!(store.get(job.id).await.expect("available"), None);
        assert_eq!(store.result(job.id).await.expect("available"), None);
        assert_eq!(partial_text(&store, job).await, None);
    }
    let range = DateRange::from(week(1));
    assert!(store.emotion_tags(user, range).await.expect("available").is_empty());
    // The result of the running one is rejected.
    let done = completed(&running, token, 3);
    let found = result(running.week, Emotion::Happiness, 3);
    let swapped = store.compare_and_swap(&running, &done, Some(&found)).await;
    assert!(!swapped.expect("the store is available"));
    assert!(store.emotion_tags(user, running.week.into()).await.expect("available").is_empty());
    assert!(store.result(of_another.id).await.expect("available").is_some());
}

/// The places of the queued rows up to a time, in batches of this size.
async fn queued_rows(store: &Store, until: Timestamp, limit: u32) -> Vec<QueuedRow> {
    let mut rows = vec![QueuedRow::first()];
    loop {
        let after = rows.last().expect("has a first row");
        let batch = store.list_queued(after, until, limit).await.expect("the store is available");
        assert!(batch.len() <= limit as usize, "the limit is respected");
        if batch.is_empty() {
            return rows.split_off(1);
        }
        rows.extend(batch);
    }
}

/// A walk in batches visits every queued row once, ordered by the time of its first check, and
/// changes nothing.
pub async fn a_walk_visits_every_queued_row_once(store: Store) {
    let user = UserId::new();
    // Far in the past, so that jobs of other tests in a shared store come later.
    let long_ago = -1_200_000_000;
    // Five jobs with the same time, and two others.
    let jobs: Vec<_> = [1, 1, 0, 1, 2, 1, 1]
        .into_iter()
        .zip(1..)
        .map(|(later, start)| job(user, start, long_ago + later))
        .collect();
    let running = job(user, 10, long_ago);
    for job in jobs.iter().chain([&running]) {
        insert(&store, job).await;
    }
    let (leased, _) = claimed(&running, long_ago);
    step(&store, &running, &leased).await;
    finish(&store, &job(user, 11, long_ago), Emotion::Neutral, long_ago).await;

    let mut expected: Vec<_> =
        jobs.iter().map(|job| (job.next_hint_at.as_millis(), job.id)).collect();
    expected.sort_unstable();
    let timeout = i64::try_from(policy().hint_timeout.as_secs()).expect("short");
    for (until, visited) in [(-1, 0), (0, 1), (1, 6), (2, 7)] {
        for limit in [1, 2, 100] {
            let rows = queued_rows(&store, at(long_ago + timeout + until), limit).await;
            let places: Vec<_> = rows
                .into_iter()
                .filter_map(|row| Some((row.next_hint_at, row.id.summary()?)))
                .filter(|(_, id)| jobs.iter().any(|job| job.id == *id) || *id == running.id)
                .collect();
            assert_eq!(places, expected[..visited], "{until} {limit}");
        }
    }
    let start = QueuedRow::at(at(long_ago + timeout + 2));
    let rows = store.list_queued(&start, at(long_ago + timeout + 2), 1).await.expect("available");
    assert_eq!(rows[0].id, jobs[4].id.into(), "a place before all rows of its time");

    // More than one statement can have.
    let all: Vec<_> = (0..250).map(|nth| RowId::from(jobs[nth % jobs.len()].id)).collect();
    let unknown = [SummaryId::new().into(), RowId::new(vec![1]), leased.id.into()];
    let mut read: Vec<_> = store
        .read_queued(&[&all[..], &unknown].concat())
        .await
        .expect("the store is available")
        .jobs
        .into_iter()
        .map(|job| (job.next_hint_at.as_millis(), job.id))
        .collect();
    read.sort_unstable();
    read.dedup();
    assert_eq!(read, expected);
    for job in &jobs {
        assert_eq!(get(&store, job).await, *job);
        step(&store, job, &job.cancel(at(long_ago)).expect("unfinished")).await;
    }
    step(&store, &leased, &leased.cancel(at(long_ago)).expect("unfinished")).await;
    assert!(store.read_queued(&all[..7]).await.expect("available").is_empty());
    assert!(store.read_queued(&[]).await.expect("available").is_empty());
}

/// Queued jobs that were requested long ago and can be claimed are listed, the oldest first.
/// Other tests may use the same store at the same time.
pub async fn unfinished_jobs_are_counted(store: Store) {
    let long_ago = -(5 * 365 * 24 * 60 * 60);
    let user = UserId::new();
    let waiting = job(user, 1, long_ago);
    insert(&store, &waiting).await;
    let (running, _) = running(&store, user, 8).await;
    let counted = store.unfinished(10_000).await.expect("the store is available");
    assert!(counted.queued >= 1 && counted.running >= 1, "{counted:?}");
    assert!(counted.oldest.is_some_and(|oldest| oldest <= at(long_ago)), "{counted:?}");
    let counted = store.unfinished(1).await.expect("the store is available");
    assert_eq!((counted.queued, counted.running), (1, 1), "the number of rows is bounded");
    for job in [&waiting, &running] {
        step(&store, job, &job.cancel(at(0)).expect("unfinished")).await;
    }
}

pub async fn overdue_jobs_are_listed(store: Store) {
    let user = UserId::new();
    let long_ago = -1_800_000_000;
    let newer = job(user, 1, long_ago + 10);
    let oldest = job(user, 2, long_ago);
    let running = job(user, 3, long_ago);
    let later = job(user, 4, long_ago + 11);
    for job in [&newer, &oldest, &running, &later] {
        insert(&store, job).await;
    }
    let (leased, token) = claimed(&running, long_ago);
    step(&store, &running, &leased).await;
    let before = at(long_ago + 10);
    let list = async |now, limit| {
        store.list_overdue(before, at(long_ago + now), limit).await.expect("the store is available")
    };
    assert_eq!(list(10, 10).await, [oldest.id, newer.id]);
    assert_eq!(list(10, 1).await, [oldest.id]);
    let reason = SummaryFailure { kind: FailureKind::ModelUnavailable, message: String::new() };
    let retry_after = Some(Duration::from_secs(100));
    let failure = AttemptFailure { reason, retryable: true, retry_after, costs_attempt: false };
    let requeued = leased.fail(token, &failure, 0.0, at(long_ago), &policy()).expect("leased");
    step(&store, &leased, &requeued).await;
    assert_eq!(list(99, 10).await, [oldest.id, newer.id]);
    assert_eq!(list(100, 10).await.len(), 3);
    for job in [&newer, &oldest, &requeued, &later] {
        step(&store, job, &job.cancel(before).expect("unfinished")).await;
    }
}

/// The expired lease of a running job is handled although details of its row cannot be read.
/// `plant` changes the stored row; `more` are assignments for one engine.
pub async fn unreadable_details_do_not_stop_a_summary(
    store: Store,
    plant: impl AsyncFn(SummaryId, &str),
    more: &[&str],
) {
    // Far in the past, so that these rows are the first due rows in a shared store.
    let long_ago = -1_500_000_000;
    let details = [
        r#"failure = '{"kind":"new","message":""}'"#,
        "failure = 'not JSON', progress = '[]'",
        "lease_token = 'not a token', lease_worker = NULL",
        "lease_token = NULL, lease_worker = NULL, lease_expires = NULL",
        "lease_expires = NULL",
        "completed_by = 'not a token'",
        "versions_read = '[]'",
    ];
    for assignment in details.iter().chain(more) {
        let queued = job(UserId::new(), 16, long_ago);
        insert(&store, &queued).await;
        let (running, _) = claimed(&queued, long_ago);
        step(&store, &queued, &running).await;
        plant(queued.id, assignment).await;
        let now = at(long_ago + 3600);
        let due = store.list_expired(now, 1000).await.expect("the store is available");
        let found = due.jobs.into_iter().find(|job| job.id == queued.id).expect(assignment);
        let requeued = found.expire_lease(0.5, now, &policy()).expect(assignment);
        step(&store, &found, &requeued).await;
        assert_eq!(get(&store, &queued).await.status, SummaryStatus::Queued, "{assignment}");
        step(&store, &requeued, &requeued.cancel(now).expect("unfinished")).await;
        let statuses = store.week_statuses(queued.user, queued.week.into()).await;
        assert!(statuses.expect("the store is available").is_empty(), "{assignment}");
    }
}

/// An unreadable row is listed by its id and can be postponed. A new request for its week replaces
/// it, and its user can cancel it. `plant` changes the stored row.
pub async fn an_unreadable_row_is_set_aside_replaced_and_cancelled(
    store: Store,
    plant: impl AsyncFn(SummaryId, &str),
) {
    let long_ago = -2_000_000_000;
    let now = at(long_ago + 3600);
    for (kind, assignment) in [
        (DueKind::Hint, "revision = -1"),
        (DueKind::Lease, "revision = -1"),
        (DueKind::Hint, "start = 20260230"),
        (DueKind::Lease, "start = 20260230"),
        (DueKind::Hint, "not_before = 9223372036854775807"),
    ] {
        let queued = job(UserId::new(), 16, long_ago);
        insert(&store, &queued).await;
        if kind == DueKind::Lease {
            let (running, token) = claimed(&queued, long_ago);
            step(&store, &queued, &running).await;
            write(&store, &running, token, (1, "조용한 한 주")).await;
        }
        plant(queued.id, assignment).await;
        let read = store.get(queued.id).await;
        assert!(matches!(read, Err(StoreError::Corrupt { .. })), "{assignment}: {read:?}");
        let row = RowId::from(queued.id);
        let due_rows = async |now| match kind {
            DueKind::Lease => store.list_expired(now, 1000).await.expect("available"),
            DueKind::Hint => {
                let rows: Vec<_> = queued_rows(&store, now, 1000).await;
                let ids: Vec<_> = rows.into_iter().map(|row| row.id).collect();
                store.read_queued(&ids).await.expect("available")
            }
        };
        let lists_it = async || {
            let due = due_rows(now).await;
            assert!(due.jobs.iter().all(|job| job.id != queued.id), "{assignment}");
            due.unreadable.contains(&row)
        };
        assert!(lists_it().await, "{assignment}");
        let until = now + Duration::from_secs(1);
        store.postpone(kind, &row, until).await.expect("the store is available");
        assert!(!lists_it().await, "{assignment}");
        let statuses = store.week_statuses(queued.user, queued.week.into()).await;
        statuses.expect("other rows are readable");

        if assignment.starts_with("start") {
            let cancel = |user| store.cancel_unreadable(user, queued.id, now);
            assert!(
                !cancel(UserId::new()).await.expect("the store is available"),
                "other users cannot cancel it"
            );
            assert!(cancel(queued.user).await.expect("the store is available"), "{assignment}");
            assert!(
                !cancel(queued.user).await.expect("the store is available"),
                "it is already cancelled"
            );
        } else {
            let again = job(queued.user, 16, long_ago);
            let outcome =
                store.insert(&again, unfinished(1)).await.expect("the store is available");
            assert!(matches!(outcome, InsertOutcome::Inserted), "{assignment}: {outcome:?}");
            step(&store, &again, &again.cancel(now).expect("unfinished")).await;
        }
        assert!(!due_rows(until).await.unreadable.contains(&row), "{assignment}");
        let revision = claimed(&queued, long_ago).0.revision;
        let text = store.partial_text(queued.id, revision).await.expect("the store is available");
        assert_eq!(text, None, "{assignment}");
    }
}
