//! The state machine of a summary. Each step is a pure function from a job to the next job or an
//! error. The store applies a step by compare-and-swap on the job from which it was computed.

use std::{collections::BTreeMap, time::Duration};

use shiori_sdk::{
    Date, FailureKind, Progress, Revision, SummaryFailure, SummaryId, SummaryStatus, Timestamp,
    UserId, Version, Week, backoff::MAX_RETRY_AFTER,
};
use shiori_worker::protocol::LeaseToken;

use super::SummaryPolicy;

/// The state of one summary, without its result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SummaryJob {
    /// The id of the summary.
    pub id: SummaryId,
    /// The user who requested it.
    pub user: UserId,
    /// The week.
    pub week: Week,
    /// The status.
    pub status: SummaryStatus,
    /// Grows by one with every step that waiters are notified of.
    pub revision: Revision,
    /// The number of counted claims. Claims that a stopping worker released do not count.
    pub attempts: u32,
    /// When it was requested.
    pub requested_at: Timestamp,
    /// When it was first claimed.
    pub started_at: Option<Timestamp>,
    /// When it reached its final status.
    pub finished_at: Option<Timestamp>,
    /// The earliest time of the next claim.
    pub not_before: Timestamp,
    /// When the dispatcher begins to check that the queue has its hint.
    pub next_hint_at: Timestamp,
    /// The lease of the worker, while it is running.
    pub lease: Option<Lease>,
    /// The lease that completed it, so that a repeated result is recognised.
    pub completed_by: Option<LeaseToken>,
    /// The diary versions that the last claim read.
    pub versions_read: BTreeMap<Date, Version>,
    /// The progress of the current attempt.
    pub progress: Option<Progress>,
    /// The number of the stored text so far of the current attempt; `None` without one.
    pub text_number: Option<u32>,
    /// Why it failed, or why its last attempt failed.
    pub failure: Option<SummaryFailure>,
    /// The W3C `traceparent` of the request.
    pub trace: Option<String>,
}

/// How long after a request attempts may be uncounted; the longest patience of a worker.
const MAX_UNCOUNTED: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest backoff after an uncounted attempt, because users wait for the language model to
/// recover.
const MAX_UNCOUNTED_PAUSE: Duration = Duration::from_secs(60);

/// A worker's lease of a summary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Identifies the lease in every later call.
    pub token: LeaseToken,
    /// When it expires without a heartbeat.
    pub expires_at: Timestamp,
    /// The name of the worker.
    pub worker: String,
}

/// Why a worker ended its attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptFailure {
    /// The reason, for the user.
    pub reason: SummaryFailure,
    /// Whether another attempt may succeed.
    pub retryable: bool,
    /// The shortest pause before another attempt.
    pub retry_after: Option<Duration>,
    /// Whether the attempt counts. It does not if it has not reached the language model, or was
    /// rejected by its rate limit.
    pub costs_attempt: bool,
}

/// The summary cannot be claimed: it has a lease or a final status, is not due, or has no attempt
/// left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotClaimable;

/// The job has another lease or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseLost;

/// The summary has a final status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SummaryFinal;

/// The outcome of [`SummaryJob::complete`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completion {
    /// The next job, to be stored together with the result.
    Completed(Box<SummaryJob>),
    /// This lease has already completed the job.
    AlreadyCompleted,
}

impl SummaryJob {
    /// A new, queued job.
    pub fn new(
        user: UserId,
        week: Week,
        trace: Option<String>,
        now: Timestamp,
        policy: &SummaryPolicy,
    ) -> Self {
        Self {
            id: SummaryId::new(),
            user,
            week,
            status: SummaryStatus::Queued,
            revision: Revision::new(1),
            attempts: 0,
            requested_at: now,
            started_at: None,
            finished_at: None,
            not_before: now,
            next_hint_at: now + policy.hint_timeout,
            lease: None,
            completed_by: None,
            versions_read: BTreeMap::new(),
            progress: None,
            text_number: None,
            failure: None,
            trace,
        }
    }

    /// Whether the job can be claimed now under this token: it is queued and due, its lease has
    /// expired, or it has this lease and the claim is repeated because its response was lost.
    pub fn is_claimable(&self, token: LeaseToken, now: Timestamp, policy: &SummaryPolicy) -> bool {
        if self.is_leased_under(token, now) {
            return true;
        }
        match self.status {
            // Independent of the attempts, because the maximum may have been lowered, and every
            // summary must reach a final status.
            SummaryStatus::Queued => self.not_before <= now,
            SummaryStatus::Running => {
                self.is_lease_expired(now) && self.attempts < policy.max_attempts
            }
            _ => false,
        }
    }

    /// The time until a queued job is due; zero for other jobs.
    pub fn early_by(&self, now: Timestamp) -> Duration {
        match self.status {
            SummaryStatus::Queued => self.not_before.duration_since(now),
            _ => Duration::ZERO,
        }
    }

    fn is_leased_under(&self, token: LeaseToken, now: Timestamp) -> bool {
        let held = self.lease.as_ref().is_some_and(|lease| lease.token == token);
        self.status == SummaryStatus::Running && held && !self.is_lease_expired(now)
    }

    fn is_lease_expired(&self, now: Timestamp) -> bool {
        self.lease.as_ref().is_none_or(|lease| lease.expires_at <= now)
    }

    /// A worker claims the job; it has read these versions.
    ///
    /// # Errors
    ///
    /// [`NotClaimable`] unless [`SummaryJob::is_claimable`].
    pub fn claim(
        &self,
        worker: String,
        token: LeaseToken,
        versions_read: BTreeMap<Date, Version>,
        now: Timestamp,
        policy: &SummaryPolicy,
    ) -> Result<Self, NotClaimable> {
        if !self.is_claimable(token, now, policy) {
            return Err(NotClaimable);
        }
        let is_repeated = self.is_leased_under(token, now);
        Ok(Self {
            status: SummaryStatus::Running,
            attempts: self.attempts.saturating_add(u32::from(!is_repeated)),
            started_at: self.started_at.or(Some(now)),
            lease: Some(Lease { token, expires_at: now + policy.lease, worker }),
            versions_read,
            progress: None,
            failure: None,
            ..self.next_revision()
        })
    }

    /// Extends the lease and sets the progress and the number of the text so far, unless a later text
    /// is stored. The revision does not change.
    ///
    /// # Errors
    ///
    /// [`LeaseLost`] if the job has another lease or none.
    pub fn heartbeat(
        &self,
        token: LeaseToken,
        progress: Option<Progress>,
        text_number: Option<u32>,
        now: Timestamp,
        policy: &SummaryPolicy,
    ) -> Result<Self, LeaseLost> {
        let lease = self.lease_under(token)?;
        let lease = Lease { expires_at: lease.expires_at.max(now + policy.lease), ..lease.clone() };
        Ok(Self {
            lease: Some(lease),
            progress: progress.or(self.progress),
            text_number: self.text_number.max(text_number),
            ..self.clone()
        })
    }

    /// The worker has a result.
    ///
    /// # Errors
    ///
    /// [`LeaseLost`] if the job has another lease or none.
    pub fn complete(&self, token: LeaseToken, now: Timestamp) -> Result<Completion, LeaseLost> {
        if self.completed_by == Some(token) {
            return Ok(Completion::AlreadyCompleted);
        }
        self.lease_under(token)?;
        Ok(Completion::Completed(Box::new(Self {
            completed_by: Some(token),
            ..self.finished(SummaryStatus::Completed, now)
        })))
    }

    /// The worker's attempt failed. A retryable failure requeues the job while attempts are left.
    /// An attempt is not counted if its worker stopped or, for a day after the request, if the
    /// failure does not cost an attempt.
    ///
    /// # Errors
    ///
    /// [`LeaseLost`] if the job has another lease or none.
    pub fn fail(
        &self,
        token: LeaseToken,
        failure: &AttemptFailure,
        jitter: f64,
        now: Timestamp,
        policy: &SummaryPolicy,
    ) -> Result<Self, LeaseLost> {
        self.lease_under(token)?;
        let reason = failure.reason.clone();
        if !failure.retryable {
            return Ok(self.failed(reason, now));
        }
        let is_worker_stopping = reason.kind == FailureKind::WorkerLost;
        if is_worker_stopping {
            let uncounted = Self { attempts: self.attempts.saturating_sub(1), ..self.clone() };
            return Ok(uncounted.requeued(reason, now, policy));
        }
        let is_old = now.duration_since(self.requested_at) >= MAX_UNCOUNTED;
        let is_counted = failure.costs_attempt || is_old;
        if is_counted && self.attempts >= policy.max_attempts {
            return Ok(self.failed(reason, now));
        }
        let backoff = if is_counted {
            policy.backoff().pause(self.attempts, jitter)
        } else {
            // Each claim and each requeue is a revision.
            let claims = u32::try_from(self.revision.get() / 2).unwrap_or(u32::MAX);
            policy.backoff().pause(claims, jitter).min(MAX_UNCOUNTED_PAUSE)
        };
        // Up to a quarter longer, so that jobs with the same `Retry-After` do not all retry at the
        // same time.
        let retry_after = failure.retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
        let retry_after = retry_after + (retry_after / 4).mul_f64(jitter.clamp(0.0, 1.0));
        let attempts = self.attempts.saturating_sub(u32::from(!is_counted));
        // The last attempt is due when the patience ends, even if the model's `Retry-After` is
        // longer.
        let patience_ends = self.requested_at + policy.llm_patience.get();
        let due = if now < patience_ends {
            (now + backoff.max(retry_after)).min(patience_ends)
        } else {
            now + backoff
        };
        Ok(Self { attempts, ..self.requeued(reason, due, policy) })
    }

    /// Whether the summary has waited longer than this patience, so that its next attempt is the
    /// last.
    pub fn is_overdue(&self, patience: Duration, now: Timestamp) -> bool {
        now.duration_since(self.requested_at) >= patience
    }

    /// Requeues a job whose lease has expired, or fails it after the last attempt. `None` while the
    /// lease is valid.
    pub fn expire_lease(
        &self,
        jitter: f64,
        now: Timestamp,
        policy: &SummaryPolicy,
    ) -> Option<Self> {
        if self.status != SummaryStatus::Running || !self.is_lease_expired(now) {
            return None;
        }
        let failure = SummaryFailure {
            kind: FailureKind::WorkerLost,
            message: "the worker stopped sending heartbeats".to_owned(),
        };
        Some(if self.attempts >= policy.max_attempts {
            self.failed(failure, now)
        } else if self.attempts == 1 {
            // The first lost worker is probably not caused by the summary.
            self.requeued(failure, now, policy)
        } else {
            self.requeued(failure, now + policy.backoff().pause(self.attempts, jitter), policy)
        })
    }

    /// The user cancels the summary.
    ///
    /// # Errors
    ///
    /// [`SummaryFinal`] if it has a final status.
    pub fn cancel(&self, now: Timestamp) -> Result<Self, SummaryFinal> {
        if self.status.is_final() {
            return Err(SummaryFinal);
        }
        Ok(self.finished(SummaryStatus::Cancelled, now))
    }

    /// Fails the job before a claim, because its input is invalid.
    ///
    /// # Errors
    ///
    /// [`SummaryFinal`] if it has a final status.
    pub fn reject(&self, failure: SummaryFailure, now: Timestamp) -> Result<Self, SummaryFinal> {
        if self.status.is_final() {
            return Err(SummaryFinal);
        }
        Ok(self.failed(failure, now))
    }

    fn lease_under(&self, token: LeaseToken) -> Result<&Lease, LeaseLost> {
        match &self.lease {
            Some(lease) if lease.token == token && self.status == SummaryStatus::Running => {
                Ok(lease)
            }
            _ => Err(LeaseLost),
        }
    }

    /// The job with the next revision, and without the text of its run.
    fn next_revision(&self) -> Self {
        Self { revision: self.revision.next(), text_number: None, ..self.clone() }
    }

    fn requeued(&self, failure: SummaryFailure, due: Timestamp, policy: &SummaryPolicy) -> Self {
        Self {
            status: SummaryStatus::Queued,
            not_before: due,
            next_hint_at: due + policy.hint_timeout,
            lease: None,
            progress: None,
            failure: Some(failure),
            ..self.next_revision()
        }
    }

    fn failed(&self, failure: SummaryFailure, now: Timestamp) -> Self {
        Self { failure: Some(failure), ..self.finished(SummaryStatus::Failed, now) }
    }

    fn finished(&self, status: SummaryStatus, now: Timestamp) -> Self {
        Self {
            status,
            finished_at: Some(now),
            lease: None,
            progress: None,
            failure: None,
            ..self.next_revision()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const POLICY: SummaryPolicy = SummaryPolicy {
        lease: Duration::from_secs(30),
        max_attempts: 3,
        required_days: 7,
        max_unfinished: 32,
        max_per_day: None,
        hint_timeout: Duration::from_secs(10),
        first_backoff: Duration::from_secs(2),
        max_backoff: Duration::from_secs(60),
        llm_patience: shiori_worker::Patience::DEFAULT,
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_771_200_000_000 + seconds * 1000)
    }

    fn requested() -> SummaryJob {
        let monday = Date::new(2026, 2, 16).expect("real");
        let week = Week::starting(monday).expect("a week");
        SummaryJob::new(UserId::new(), week, None, at(0), &POLICY)
    }

    fn claimed(job: &SummaryJob, now: Timestamp) -> (SummaryJob, LeaseToken) {
        let token = LeaseToken::new();
        let job = job.claim("w".into(), token, BTreeMap::new(), now, &POLICY).expect("claimable");
        (job, token)
    }

    fn model_down(retryable: bool, retry_after: Option<Duration>) -> AttemptFailure {
        let reason =
            SummaryFailure { kind: FailureKind::ModelUnavailable, message: "no response".into() };
        AttemptFailure { reason, retryable, retry_after, costs_attempt: true }
    }

    #[test]
    fn a_leased_summary_cannot_be_claimed_until_the_lease_expires() {
        let (running, _) = claimed(&requested(), at(0));
        let again =
            |now| running.claim("x".into(), LeaseToken::new(), BTreeMap::new(), now, &POLICY);
        assert_eq!(again(at(29)), Err(NotClaimable));
        assert!(running.expire_lease(0.5, at(29), &POLICY).is_none());
        assert_eq!(again(at(30)).map(|job| job.attempts), Ok(2));
        assert_eq!(
            running.expire_lease(0.5, at(30), &POLICY).map(|job| job.status),
            Some(SummaryStatus::Queued)
        );
    }

    #[test]
    fn a_heartbeat_extends_the_lease_and_keeps_the_revision() {
        let (running, token) = claimed(&requested(), at(0));
        let beaten = running.heartbeat(token, None, None, at(20), &POLICY).expect("held");
        assert_eq!(beaten.revision, running.revision);
        assert!(beaten.expire_lease(0.5, at(49), &POLICY).is_none());
        assert!(beaten.expire_lease(0.5, at(50), &POLICY).is_some());
        assert_eq!(
            running.heartbeat(LeaseToken::new(), None, None, at(1), &POLICY),
            Err(LeaseLost)
        );
    }

    #[test]
    fn a_later_text_is_kept() {
        let (running, token) = claimed(&requested(), at(0));
        let beat = |job: &SummaryJob, number| {
            job.heartbeat(token, None, number, at(1), &POLICY).expect("held")
        };
        let second = beat(&running, Some(2));
        assert_eq!(second.text_number, Some(2));
        for number in [None, Some(1), Some(2)] {
            assert_eq!(beat(&second, number).text_number, Some(2));
        }
        // A repeated claim begins a new run.
        let again = second.claim("w".into(), token, BTreeMap::new(), at(2), &POLICY);
        assert_eq!(again.expect("the same lease").text_number, None);
    }

    #[test]
    fn only_the_current_lease_can_complete_and_it_may_repeat_the_result() {
        let (first, old) = claimed(&requested(), at(0));
        let (second, new) = claimed(&first, at(31));
        assert_eq!(second.complete(old, at(32)), Err(LeaseLost));
        let Ok(Completion::Completed(done)) = second.complete(new, at(33)) else {
            panic!("expected a completion");
        };
        assert_eq!(done.status, SummaryStatus::Completed);
        assert_eq!(done.complete(new, at(34)), Ok(Completion::AlreadyCompleted));
        assert_eq!(done.complete(old, at(34)), Err(LeaseLost));
        assert_eq!(done.cancel(at(35)), Err(SummaryFinal));
    }

    #[test]
    fn a_failure_is_retried_after_the_longer_of_backoff_and_retry_after() {
        let (running, token) = claimed(&requested(), at(0));
        let retry = |after| {
            running.fail(token, &model_down(true, after), 1.0, at(5), &POLICY).expect("leased")
        };
        assert_eq!(retry(None).not_before, at(7));
        assert_eq!(retry(Some(Duration::from_secs(1))).not_before, at(7));
        // At most a quarter longer.
        assert_eq!(retry(Some(Duration::from_secs(20))).not_before, at(30));
        let exact = model_down(true, Some(Duration::from_secs(20)));
        let exact = running.fail(token, &exact, 0.0, at(5), &POLICY).expect("leased");
        assert_eq!(exact.not_before, at(25));
        let longest = retry(Some(Duration::MAX));
        assert_eq!(longest.not_before, at(900), "the end of the patience");
        let late =
            running.fail(token, &model_down(true, Some(Duration::MAX)), 1.0, at(901), &POLICY);
        assert_eq!(late.expect("leased").not_before, at(903), "only the backoff");
        let waiting = retry(None);
        assert!(!waiting.is_claimable(LeaseToken::new(), at(6), &POLICY));
        assert!(waiting.is_claimable(LeaseToken::new(), at(7), &POLICY));
        let permanent =
            running.fail(token, &model_down(false, None), 1.0, at(5), &POLICY).expect("leased");
        assert_eq!(permanent.status, SummaryStatus::Failed);
        assert_eq!(permanent.failure, Some(model_down(false, None).reason));
    }

    #[test]
    fn an_attempt_of_a_stopped_worker_is_not_counted() {
        let (running, token) = claimed(&requested(), at(0));
        let reason = SummaryFailure { kind: FailureKind::WorkerLost, message: "stopped".into() };
        let stopped =
            AttemptFailure { reason, retryable: true, retry_after: None, costs_attempt: true };
        let back = running.fail(token, &stopped, 1.0, at(5), &POLICY).expect("leased");
        assert_eq!((back.attempts, back.not_before), (0, at(5)));
        assert!(back.is_claimable(LeaseToken::new(), at(5), &POLICY));
    }

    /// For a day, an attempt that did not reach the model is not counted, but its pauses grow.
    #[test]
    fn an_uncounted_attempt_is_retried_without_limit_for_a_day() {
        let uncounted = AttemptFailure { costs_attempt: false, ..model_down(true, None) };
        let (mut job, mut now, mut claims) = (requested(), at(0), 0);
        let mut longest = Duration::ZERO;
        while now < at(24 * 60 * 60 - 1000) {
            let (running, token) = claimed(&job, now);
            assert!(running.attempts <= POLICY.max_attempts);
            job = running.fail(token, &uncounted, 1.0, now, &POLICY).expect("leased");
            assert_eq!((job.status, job.attempts), (SummaryStatus::Queued, 0));
            longest = longest.max(job.not_before.duration_since(now));
            (now, claims) = (job.not_before, claims + 1);
        }
        assert!(claims > 1000 && longest == MAX_UNCOUNTED_PAUSE, "{claims} {longest:?}");
        now = at(24 * 60 * 60);
        for nth in 1..=POLICY.max_attempts {
            let (running, token) = claimed(&job, now);
            job = running.fail(token, &uncounted, 1.0, now, &POLICY).expect("leased");
            assert_eq!(job.attempts, nth);
            now = job.not_before;
        }
        assert_eq!(job.status, SummaryStatus::Failed);
    }

    #[test]
    fn a_summary_is_overdue_after_its_patience() {
        let (job, patience) = (requested(), Duration::from_secs(900));
        assert!(!job.is_overdue(patience, at(899)) && job.is_overdue(patience, at(900)));
    }

    #[test]
    fn a_queued_summary_is_claimable_after_the_maximum_was_lowered() {
        let (running, token) = claimed(&requested(), at(0));
        let (running, _) = claimed(&running, at(31));
        let lowered = SummaryPolicy { max_attempts: 1, ..POLICY };
        assert!(!running.is_claimable(LeaseToken::new(), at(62), &lowered));
        let failed = running.expire_lease(0.5, at(62), &lowered).expect("expired");
        assert_eq!(failed.status, SummaryStatus::Failed);
        let queued = running.expire_lease(0.0, at(62), &POLICY).expect("expired");
        assert!(queued.is_claimable(token, at(62), &lowered));
    }

    #[derive(Debug, Clone)]
    enum Event {
        Claim,
        Heartbeat,
        Complete,
        Fail { retryable: bool, costs_attempt: bool },
        ExpireLease,
        Stale,
        Wait(u16),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            3 => Just(Event::Claim),
            1 => Just(Event::Heartbeat),
            1 => Just(Event::Complete),
            1 => any::<(bool, bool)>().prop_map(|(retryable, costs_attempt)| Event::Fail {
                retryable,
                costs_attempt,
            }),
            2 => Just(Event::ExpireLease),
            1 => Just(Event::Stale),
            3 => (0u16..120).prop_map(Event::Wait),
        ]
    }

    proptest! {
        /// Revisions grow, attempts are bounded, a job has a lease only while it is running and a text
        /// only from its current run, old leases change nothing, and a final status never changes.
        #[test]
        fn every_sequence_of_steps_keeps_the_invariants(events in prop::collection::vec(event(), 0..80), jitter in 0.0..1.0f64) {
            let mut job = requested();
            let mut now = at(0);
            let mut tokens = vec![LeaseToken::new()];
            for event in events {
                let current = tokens[tokens.len() - 1];
                let next = match event {
                    Event::Wait(seconds) => {
                        now = now + Duration::from_secs(seconds.into());
                        None
                    }
                    Event::Claim => {
                        let token = LeaseToken::new();
                        let next = job.claim("w".into(), token, BTreeMap::new(), now, &POLICY).ok();
                        if next.is_some() {
                            tokens.push(token);
                        }
                        next
                    }
                    Event::Heartbeat => job.heartbeat(current, None, Some(1), now, &POLICY).ok(),
                    Event::Complete => match job.complete(current, now) {
                        Ok(Completion::Completed(next)) => Some(*next),
                        _ => None,
                    },
                    Event::Fail { retryable, costs_attempt } => {
                        let failure = AttemptFailure { costs_attempt, ..model_down(retryable, None) };
                        job.fail(current, &failure, jitter, now, &POLICY).ok()
                    }
                    Event::ExpireLease => job.expire_lease(jitter, now, &POLICY),
                    Event::Stale => {
                        for old in &tokens[..tokens.len() - 1] {
                            prop_assert_eq!(job.heartbeat(*old, None, None, now, &POLICY), Err(LeaseLost));
                            prop_assert_eq!(job.complete(*old, now), Err(LeaseLost));
                        }
                        None
                    }
                };
                if let Some(next) = next {
                    prop_assert!(!job.status.is_final());
                    prop_assert!(next.revision >= job.revision);
                    prop_assert!(next.revision > job.revision || next.status == job.status);
                    prop_assert!(next.revision == job.revision || next.text_number.is_none());
                    job = next;
                }
                prop_assert!(job.attempts <= POLICY.max_attempts);
                prop_assert_eq!(job.lease.is_some(), job.status == SummaryStatus::Running);
                prop_assert_eq!(job.finished_at.is_some(), job.status.is_final());
            }
            // Termination: without any heartbeat, claims and expiries reach a final status.
            for _ in 0..=POLICY.max_attempts {
                now = now + POLICY.max_backoff + POLICY.lease;
                if let Ok(next) = job.claim("w".into(), LeaseToken::new(), BTreeMap::new(), now, &POLICY) {
                    job = next;
                }
                now = now + POLICY.lease;
                if let Some(next) = job.expire_lease(jitter, now, &POLICY) {
                    job = next;
                }
            }
            prop_assert!(job.status.is_final(), "{job:?}");
        }
    }
}
