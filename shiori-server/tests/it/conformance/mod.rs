//! What the API promises, held to by the real server and by the SDK's `FakeShiori` alike.
//!
//! Each function is one promise, and asks for the same of both. [`alike`] asks both the same at
//! random, and compares every answer.

mod accounts;
mod alike;
mod diaries;
mod edges;
mod summaries;

use std::{collections::HashMap, sync::Mutex, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};
use shiori_sdk::{
    FailureKind, Progress, SummaryId, Timestamp,
    testing::{FakeShiori, Person},
};
use shiori_server::WorkerMode;
use shiori_worker::ManualClock;

use crate::house::{Answer, House, Raw, fresh_email};

/// A server that is held to the promises.
pub trait Subject {
    async fn start() -> Self;

    fn url(&self) -> String;

    /// Moves the server's time.
    fn advance(&self, by: Duration);

    /// A worker takes the summary; whether it gets it.
    async fn claim(&self, id: SummaryId) -> bool;

    /// The worker tells how far it is; whether it still has the summary.
    async fn progress(&self, id: SummaryId, progress: Progress) -> bool;

    /// The worker hands its text over, and every day neutral; whether it still had the summary.
    async fn complete(&self, id: SummaryId, reflection: &str) -> bool;

    /// The worker gives up for good; whether it still had the summary.
    async fn fail(&self, id: SummaryId, kind: FailureKind) -> bool;

    async fn stop(self);
}

/// The real server, with the test as its worker.
pub struct Real {
    house: House,
    clock: ManualClock,
    worker: Raw,
    claims: Mutex<HashMap<SummaryId, Value>>,
}

impl Real {
    async fn post(&self, path: &str, body: &Value) -> bool {
        let answer = self.worker.post(path, body).await;
        assert!(matches!(answer.status, 200 | 409), "{}", answer.text);
        answer.status == 200
    }

    /// What the worker was given when it took the summary.
    fn claimed(&self, id: SummaryId) -> Option<Value> {
        self.claims.lock().unwrap().get(&id).cloned()
    }
}

impl Subject for Real {
    async fn start() -> Self {
        let clock = ManualClock::at(Timestamp::now());
        let injected = clock.clone();
        let house = House::with(move |config| {
            config.worker = WorkerMode::None;
            config.clock = std::sync::Arc::new(injected);
            // However far time is moved, the worker lives.
            config.summaries.lease = Duration::from_secs(365 * 24 * 60 * 60);
        })
        .await;
        let worker = Raw::with_token(&house.url(), &house.internal_token());
        Self { house, clock, worker, claims: Mutex::default() }
    }

    fn url(&self) -> String {
        self.house.url()
    }

    fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    async fn claim(&self, id: SummaryId) -> bool {
        let path = format!("/api/internal/summaries/{id}/claim");
        let answer = self.worker.post(&path, &json!({"worker_id": "시험"})).await;
        if answer.status != 200 {
            refused(&answer, 409, "not_claimable");
            return false;
        }
        self.claims.lock().unwrap().insert(id, answer.json()["data"].clone());
        true
    }

    async fn progress(&self, id: SummaryId, progress: Progress) -> bool {
        let Some(claim) = self.claimed(id) else { return false };
        let beat = json!({"lease_token": claim["lease_token"], "progress": progress});
        self.post(&format!("/api/internal/summaries/{id}/heartbeat"), &beat).await
    }

    async fn complete(&self, id: SummaryId, reflection: &str) -> bool {
        let Some(claim) = self.claimed(id) else { return false };
        let day = |day: &Value| {
            json!({"date": day["date"], "label": "중립", "confidence": 1.0,
                "distribution": {"중립": 1.0}})
        };
        let days: Vec<_> = claim["days"].as_array().unwrap().iter().map(day).collect();
        let body = json!({
            "summary_id": id, "lease_token": claim["lease_token"], "reflection": reflection,
            "engine": "fake/1", "emotion_engine": "fake/1", "emotion_results": days,
        });
        self.post("/api/internal/summarize/result", &body).await
    }

    async fn fail(&self, id: SummaryId, kind: FailureKind) -> bool {
        let Some(claim) = self.claimed(id) else { return false };
        let body = json!({"lease_token": claim["lease_token"], "kind": kind,
            "message": kind.as_str(), "retryable": false});
        self.post(&format!("/api/internal/summaries/{id}/failure"), &body).await
    }

    async fn stop(self) {
        self.house.stop().await;
    }
}

impl Subject for FakeShiori {
    async fn start() -> Self {
        Self::start()
    }

    fn url(&self) -> String {
        self.url()
    }

    fn advance(&self, by: Duration) {
        self.advance(by);
    }

    async fn claim(&self, id: SummaryId) -> bool {
        self.summaries().start(id)
    }

    async fn progress(&self, id: SummaryId, progress: Progress) -> bool {
        self.summaries().progress(id, progress)
    }

    async fn complete(&self, id: SummaryId, reflection: &str) -> bool {
        self.summaries().complete(id, reflection)
    }

    async fn fail(&self, id: SummaryId, kind: FailureKind) -> bool {
        self.summaries().fail(id, kind)
    }

    async fn stop(self) {}
}

/// One who is signed in on one device, and speaks HTTP by hand.
pub struct Device {
    pub raw: Raw,
    /// The access token.
    pub access: String,
    /// The refresh token, as the `Cookie` header wants it.
    pub cookie: String,
}

impl Device {
    /// Somebody new.
    pub async fn of_somebody(subject: &impl Subject) -> (Self, String) {
        let email = fresh_email();
        let account = json!({"email": email, "password": Person::PASSWORD, "nickname": "손"});
        let stranger = Raw::stranger(&subject.url());
        assert_eq!(stranger.post("/api/user/signup", &account).await.status, 201);
        (Self::of(subject, &email).await, email)
    }

    /// One more device of somebody.
    pub async fn of(subject: &impl Subject, email: &str) -> Self {
        let credentials = json!({"email": email, "password": Person::PASSWORD});
        let answer = Raw::stranger(&subject.url()).post("/api/user/login", &credentials).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let access = answer.json()["data"]["token"].as_str().unwrap().to_owned();
        let raw = Raw::with_token(&subject.url(), &access);
        Self { raw, access, cookie: cookie(&answer) }
    }

    /// Renews with the tokens of before, or with others.
    pub async fn refresh(&self, access: &str, cookie: &str) -> Answer {
        let request = self.raw.request(Method::POST, "/api/auth/refresh");
        let body = json!({ "access_token": access });
        Answer::to(request.header("cookie", cookie).json(&body)).await
    }
}

/// The cookie that an answer sets.
pub fn cookie(answer: &Answer) -> String {
    let set = answer.headers["set-cookie"].to_str().unwrap();
    set.split(';').next().unwrap().to_owned()
}

/// The answer refuses, so and no other way.
#[track_caller]
pub fn refused(answer: &Answer, status: u16, error: &str) {
    assert_eq!((answer.status, answer.error().as_str()), (status, error), "{}", answer.text);
}

/// The data of an answer that does not refuse.
#[track_caller]
pub fn data(answer: &Answer, status: u16) -> Value {
    let json = answer.json();
    assert_eq!((answer.status, &json["code"]), (status, &json!(status)), "{}", answer.text);
    assert!(json.get("error").is_none(), "{}", answer.text);
    assert_eq!(answer.headers["content-type"], "application/json");
    json["data"].clone()
}

/// Holds both servers to the promises of these modules.
macro_rules! promises {
    ($($module:ident: [$($promise:ident),* $(,)?]),* $(,)?) => {
        mod real {
            $($(
                #[tokio::test(flavor = "multi_thread")]
                async fn $promise() {
                    super::keeps::<super::Real, _>(async |server| super::$module::$promise(server).await).await;
                }
            )*)*
        }

        mod fake {
            $($(
                #[tokio::test(flavor = "multi_thread")]
                async fn $promise() {
                    super::keeps::<super::FakeShiori, _>(async |server| super::$module::$promise(server).await).await;
                }
            )*)*
        }
    };
}

async fn keeps<S: Subject, P: AsyncFnOnce(&S)>(promise: P) {
    let server = S::start().await;
    promise(&server).await;
    server.stop().await;
}

promises! {
    edges: [
        what_is_nowhere_is_not_found_and_other_methods_are_not_allowed,
        without_a_good_token_nothing_is_told,
        bodies_are_json_of_a_bounded_size,
        request_ids_are_echoed_or_made,
    ],
    accounts: [
        accounts_are_checked_field_by_field,
        an_address_is_taken_once,
        a_login_gives_a_token_and_a_cookie,
        wrong_credentials_are_told_alike_and_throttled,
        devices_are_listed_and_end_alone,
        a_logout_ends_the_session_at_once,
        an_access_token_expires_and_is_renewed,
        a_refresh_token_rotates_and_is_good_once,
        a_session_ends_when_nobody_refreshes_it,
    ],
    diaries: [
        a_diary_is_created_replaced_and_read,
        the_loser_is_told_the_winner,
        of_racing_first_saves_one_wins,
        a_repeated_save_is_answered_as_the_first_time,
        a_save_id_is_remembered_as_long_as_promised,
        what_is_no_diary_is_refused_and_leaves_nothing_behind,
        the_limits_themselves_are_within_the_limits,
        an_unchanged_diary_is_not_sent_again,
        a_listing_is_ordered_and_bounded,
        a_deleted_diary_is_gone_and_its_versions_are_not,
        archiving_is_a_save_of_its_own,
        another_persons_diary_is_as_good_as_none,
    ],
    summaries: [
        an_incomplete_week_is_refused_with_its_dates,
        what_is_no_week_is_refused,
        a_request_is_accepted_once,
        a_summary_goes_from_queued_to_completed,
        a_finished_summary_is_returned_until_a_diary_changes,
        a_failed_summary_says_why,
        a_diary_that_is_gone_when_a_worker_comes_fails_the_summary,
        an_unfinished_summary_can_be_called_off,
        a_long_poll_is_answered_when_something_happens_or_time_is_over,
        waits_are_bounded,
        events_are_told_one_by_one_and_resumed,
        another_persons_summary_is_as_good_as_none,
        unfinished_summaries_are_bounded,
        the_newest_request_decides_a_days_status,
    ],
}
