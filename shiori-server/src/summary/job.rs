//! The state machine. Each step is a pure function from a job to the job that follows, or to the
//! reason why nothing follows. The store applies a step only to the very job it was computed from.

use std::{collections::BTreeMap, time::Duration};

use shiori_sdk::{
    Date, FailureKind, Progress, Revision, SummaryFailure, SummaryId, SummaryStatus, Timestamp,
    UserId, Version, Week,
};
use shiori_worker::protocol::LeaseToken;

use super::SummaryPolicy;

/// All that is known of one summary, but for its result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SummaryJob {
    /// Names the summary.
    pub id: SummaryId,
    /// Who asked for it.
    pub user: UserId,
    /// The week.
    pub week: Week,
    /// Where it is in its life.
    pub status: SummaryStatus,
    /// Grows by one with every step that those who wait should see.
    pub revision: Revision,
    /// How often a worker has taken it and not given it back unused.
    pub attempts: u32,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When a worker first took it.
    pub started_at: Option<Timestamp>,
    /// When it reached its final status.
    pub finished_at: Option<Timestamp>,
    /// No worker may take it before.
    pub not_before: Timestamp,
    /// When its hint is to be offered to the queue again.
    pub next_hint_at: Timestamp,
    /// Who works on it, while it runs.
    pub lease: Option<Lease>,
    /// The lease that completed it, so that the same result sent again is recognised.
    pub completed_by: Option<LeaseToken>,
    /// The version of each day's diary that the last claim read.
    pub versions_read: BTreeMap<Date, Version>,
    /// How far the run is.
    pub progress: Option<Progress>,
    /// Why it failed, or why its last attempt did.
    pub failure: Option<SummaryFailure>,
    /// The W3C `traceparent` of the request.
    pub trace: Option<String>,
}

/// A worker's hold on a summary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Proves the hold.
    pub token: LeaseToken,
    /// When it ends without a heartbeat.
    pub expires_at: Timestamp,
    /// What the worker calls itself.
    pub worker: String,
}

/// The summary cannot be claimed: it is leased, has ended, is not due, or was tried too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotClaimable;

/// The lease is no longer the job's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseLost;

/// The summary has ended already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SummaryFinal;

/// What follows from a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completion {
    /// The job is to become this one, and the result to be stored with it.
    Completed(Box<SummaryJob>),
    /// This very lease has completed it before; there is nothing to do.
    AlreadyCompleted,
}

impl SummaryJob {
    /// A request just made.
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
            failure: None,
            trace,
        }
    }

    /// Whether a worker may take it now under this token: it is queued and due, its lease has run
    /// out, or it is this very lease, whose claim is made again because its answer was lost.
    pub fn is_claimable(&self, token: LeaseToken, now: Timestamp, policy: &SummaryPolicy) -> bool {
        if self.is_leased_under(token, now) {
            return true;
        }
        let free = match self.status {
            SummaryStatus::Queued => self.not_before <= now,
            SummaryStatus::Running => self.is_lease_expired(now),
            _ => false,
        };
        free && self.attempts < policy.max_attempts
    }

    fn is_leased_under(&self, token: LeaseToken, now: Timestamp) -> bool {
        let held = self.lease.as_ref().is_some_and(|lease| lease.token == token);
        self.status == SummaryStatus::Running && held && !self.is_lease_expired(now)
    }

    fn is_lease_expired(&self, now: Timestamp) -> bool {
        self.lease.as_ref().is_none_or(|lease| lease.expires_at <= now)
    }

    /// A worker takes it, having read these versions.
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
            attempts: self.attempts + u32::from(!is_repeated),
            started_at: self.started_at.or(Some(now)),
            lease: Some(Lease { token, expires_at: now + policy.lease, worker }),
            versions_read,
            progress: None,
            failure: None,
            ..self.next_revision()
        })
    }

    /// The worker is still on it. Those who wait see the progress, but the revision stays.
    ///
    /// # Errors
    ///
    /// [`LeaseLost`] when the job has another lease or none.
    pub fn heartbeat(
        &self,
        token: LeaseToken,
        progress: Option<Progress>,
        now: Timestamp,
        policy: &SummaryPolicy,
    ) -> Result<Self, LeaseLost> {
        let lease = self.lease_under(token)?;
        let lease = Lease { expires_at: lease.expires_at.max(now + policy.lease), ..lease.clone() };
        Ok(Self { lease: Some(lease), progress: progress.or(self.progress), ..self.clone() })
    }

    /// The worker hands over a result.
    ///
    /// # Errors
    ///
    /// [`LeaseLost`] when the job has another lease or none.
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

    /// The worker gives up. If another attempt may help and one is left, the summary is queued
    /// again; a worker that was stopped gives its attempt back.
    ///
    /// # Errors
    ///
    /// [`LeaseLost`] when the job has another lease or none.
    #[allow(clippy::too_many_arguments)] // each is a fact of its own
    pub fn fail(
        &self,
        token: LeaseToken,
        failure: SummaryFailure,
        retryable: bool,
        retry_after: Option<Duration>,
        jitter: f64,
        now: Timestamp,
        policy: &SummaryPolicy,
    ) -> Result<Self, LeaseLost> {
        self.lease_under(token)?;
        if !retryable {
            return Ok(self.failed(failure, now));
        }
        let handed_back = failure.kind == FailureKind::WorkerLost;
        if handed_back {
            let unused = Self { attempts: self.attempts.saturating_sub(1), ..self.clone() };
            return Ok(unused.requeued(failure, now, policy));
        }
        if self.attempts >= policy.max_attempts {
            return Ok(self.failed(failure, now));
        }
        let wait = policy.backoff(self.attempts, jitter).max(retry_after.unwrap_or_default());
        Ok(self.requeued(failure, now + wait, policy))
    }

    /// A lease has run out: the summary is queued again, or has failed if this was the last
    /// attempt. `None` if no lease has.
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
            message: "the worker was not heard of again".to_owned(),
        };
        Some(if self.attempts >= policy.max_attempts {
            self.failed(failure, now)
        } else if self.attempts == 1 {
            // A worker that died once says nothing against the summary.
            self.requeued(failure, now, policy)
        } else {
            self.requeued(failure, now + policy.backoff(self.attempts, jitter), policy)
        })
    }

    /// The hint is offered again. No revision: nothing has happened. `None` if it need not be.
    pub fn reschedule_hint(&self, now: Timestamp, policy: &SummaryPolicy) -> Option<Self> {
        let due = self.status == SummaryStatus::Queued
            && self.not_before <= now
            && self.next_hint_at <= now;
        due.then(|| Self { next_hint_at: now + policy.hint_timeout, ..self.clone() })
    }

    /// The person calls it off.
    ///
    /// # Errors
    ///
    /// [`SummaryFinal`] when it has ended.
    pub fn cancel(&self, now: Timestamp) -> Result<Self, SummaryFinal> {
        if self.status.is_final() {
            return Err(SummaryFinal);
        }
        Ok(self.finished(SummaryStatus::Cancelled, now))
    }

    /// The input turned out to be unfit before any worker took it.
    ///
    /// # Errors
    ///
    /// [`SummaryFinal`] when it has ended.
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

    fn next_revision(&self) -> Self {
        Self { revision: self.revision.next(), ..self.clone() }
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
        hint_timeout: Duration::from_secs(10),
        first_backoff: Duration::from_secs(2),
        max_backoff: Duration::from_secs(60),
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

    fn model_down() -> SummaryFailure {
        SummaryFailure { kind: FailureKind::ModelUnavailable, message: "no answer".into() }
    }

    #[test]
    fn a_leased_summary_is_nobody_elses_until_the_lease_runs_out() {
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
    fn a_heartbeat_extends_the_lease_and_is_no_revision() {
        let (running, token) = claimed(&requested(), at(0));
        let beaten = running.heartbeat(token, None, at(20), &POLICY).expect("held");
        assert_eq!(beaten.revision, running.revision);
        assert!(beaten.expire_lease(0.5, at(49), &POLICY).is_none());
        assert!(beaten.expire_lease(0.5, at(50), &POLICY).is_some());
        assert_eq!(running.heartbeat(LeaseToken::new(), None, at(1), &POLICY), Err(LeaseLost));
    }

    #[test]
    fn only_the_current_lease_completes_and_may_say_so_twice() {
        let (first, old) = claimed(&requested(), at(0));
        let (second, new) = claimed(&first, at(31));
        assert_eq!(second.complete(old, at(32)), Err(LeaseLost));
        let Ok(Completion::Completed(done)) = second.complete(new, at(33)) else {
            panic!("the lease is current");
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
            running.fail(token, model_down(), true, after, 1.0, at(5), &POLICY).expect("held")
        };
        assert_eq!(retry(None).not_before, at(7));
        assert_eq!(retry(Some(Duration::from_secs(1))).not_before, at(7));
        assert_eq!(retry(Some(Duration::from_secs(20))).not_before, at(25));
        let waiting = retry(None);
        assert!(!waiting.is_claimable(LeaseToken::new(), at(6), &POLICY));
        assert!(waiting.is_claimable(LeaseToken::new(), at(7), &POLICY));
        let permanent =
            running.fail(token, model_down(), false, None, 1.0, at(5), &POLICY).expect("held");
        assert_eq!(permanent.status, SummaryStatus::Failed);
        assert_eq!(permanent.failure, Some(model_down()));
    }

    #[test]
    fn a_worker_that_was_stopped_gives_its_attempt_back() {
        let (running, token) = claimed(&requested(), at(0));
        let stopped = SummaryFailure { kind: FailureKind::WorkerLost, message: "stopped".into() };
        let back = running.fail(token, stopped, true, None, 1.0, at(5), &POLICY).expect("held");
        assert_eq!((back.attempts, back.not_before), (0, at(5)));
        assert!(back.is_claimable(LeaseToken::new(), at(5), &POLICY));
    }

    #[test]
    fn a_hint_is_offered_again_only_when_it_is_overdue() {
        let job = requested();
        assert!(job.reschedule_hint(at(9), &POLICY).is_none());
        let hinted = job.reschedule_hint(at(10), &POLICY).expect("overdue");
        assert_eq!(hinted.revision, job.revision);
        assert!(hinted.reschedule_hint(at(19), &POLICY).is_none());
        assert!(hinted.reschedule_hint(at(20), &POLICY).is_some());
    }

    #[derive(Debug, Clone)]
    enum Event {
        Claim,
        Heartbeat,
        Complete,
        Fail { retryable: bool },
        ExpireLease,
        Stale,
        Wait(u16),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            3 => Just(Event::Claim),
            1 => Just(Event::Heartbeat),
            1 => Just(Event::Complete),
            1 => any::<bool>().prop_map(|retryable| Event::Fail { retryable }),
            2 => Just(Event::ExpireLease),
            1 => Just(Event::Stale),
            3 => (0u16..120).prop_map(Event::Wait),
        ]
    }

    proptest! {
        /// Whatever happens in whatever order: revisions grow, attempts are bounded, a lease is
        /// there exactly while it runs, an old lease never does anything, and what has ended
        /// never changes.
        #[test]
        fn every_history_is_sound(events in prop::collection::vec(event(), 0..80), jitter in 0.0..1.0f64) {
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
                    Event::Heartbeat => job.heartbeat(current, None, now, &POLICY).ok(),
                    Event::Complete => match job.complete(current, now) {
                        Ok(Completion::Completed(next)) => Some(*next),
                        _ => None,
                    },
                    Event::Fail { retryable } => job
                        .fail(current, model_down(), retryable, None, jitter, now, &POLICY)
                        .ok(),
                    Event::ExpireLease => job.expire_lease(jitter, now, &POLICY),
                    Event::Stale => {
                        for old in &tokens[..tokens.len() - 1] {
                            prop_assert_eq!(job.heartbeat(*old, None, now, &POLICY), Err(LeaseLost));
                            prop_assert_eq!(job.complete(*old, now), Err(LeaseLost));
                        }
                        None
                    }
                };
                if let Some(next) = next {
                    prop_assert!(!job.status.is_final());
                    prop_assert!(next.revision >= job.revision);
                    prop_assert!(next.revision > job.revision || next.status == job.status);
                    job = next;
                }
                prop_assert!(job.attempts <= POLICY.max_attempts);
                prop_assert_eq!(job.lease.is_some(), job.status == SummaryStatus::Running);
                prop_assert_eq!(job.finished_at.is_some(), job.status.is_final());
            }
            // And it always comes to an end: with no worker heard of again, taking back and
            // claiming alone reach a final status.
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
