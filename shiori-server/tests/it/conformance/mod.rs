//! Conformance tests of the API, run against the real server and against the SDK's `FakeShiori`.
//!
//! [`differential`] sends the same random requests to both and compares every response.

mod accounts;
mod changes;
mod diaries;
mod differential;
mod edges;
mod emotions;
mod exports;
mod revisions;
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

use crate::fixtures::fresh_email;
use crate::raw_client::{RawClient, RawResponse};
use crate::test_server::TestServer;

/// A server under test.
pub trait Target {
    async fn start() -> Self;

    fn url(&self) -> String;

    /// Advances the server's clock.
    fn advance(&self, by: Duration);

    /// Claims the summary as a worker. Returns whether the claim succeeded.
    async fn claim(&self, id: SummaryId) -> bool;

    /// Reports progress. Returns whether the lease is valid.
    async fn progress(&self, id: SummaryId, progress: Progress) -> bool;

    /// Reports the text so far with this number. Returns whether the lease is valid.
    async fn write(&self, id: SummaryId, number: u32, text: &str) -> bool;

    /// Submits a result in which every day is neutral. Returns whether the lease was valid.
    async fn complete(&self, id: SummaryId, reflection: &str) -> bool;

    /// Reports a permanent failure. Returns whether the lease was valid.
    async fn fail(&self, id: SummaryId, kind: FailureKind) -> bool;

    async fn stop(self);
}

/// The real server; the test is its worker.
pub struct RealServer {
    server: TestServer,
    clock: ManualClock,
    worker: RawClient,
    claims: Mutex<HashMap<SummaryId, Value>>,
}

impl RealServer {
    async fn post(&self, path: &str, body: &Value) -> bool {
        let response = self.worker.post(path, body).await;
        assert!(matches!(response.status, 200 | 409), "{}", response.text);
        response.status == 200
    }

    /// The response to the claim of the summary.
    fn claimed(&self, id: SummaryId) -> Option<Value> {
        self.claims.lock().unwrap().get(&id).cloned()
    }
}

impl Target for RealServer {
    async fn start() -> Self {
        let clock = ManualClock::at(Timestamp::now());
        let injected = clock.clone();
        let server = TestServer::with_config(move |config| {
            config.worker = WorkerMode::None;
            config.clock = std::sync::Arc::new(injected);
            // Leases must not expire when the clock is advanced.
            config.summaries.lease = Duration::from_secs(365 * 24 * 60 * 60);
        })
        .await;
        let worker = RawClient::with_token(&server.url(), &server.internal_token());
        Self { server, clock, worker, claims: Mutex::default() }
    }

    fn url(&self) -> String {
        self.server.url()
    }

    fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    async fn claim(&self, id: SummaryId) -> bool {
        let path = format!("/api/internal/summaries/{id}/claim");
        let response = self.worker.post(&path, &json!({"worker_id": "시험"})).await;
        if response.status != 200 {
            assert_error(&response, 409, "not_claimable");
            return false;
        }
        self.claims.lock().unwrap().insert(id, response.json()["data"].clone());
        true
    }

    async fn progress(&self, id: SummaryId, progress: Progress) -> bool {
        let Some(claim) = self.claimed(id) else { return false };
        let beat = json!({"lease_token": claim["lease_token"], "progress": progress});
        self.post(&format!("/api/internal/summaries/{id}/heartbeat"), &beat).await
    }

    async fn write(&self, id: SummaryId, number: u32, text: &str) -> bool {
        let Some(claim) = self.claimed(id) else { return false };
        let text = json!({"number": number, "text": text});
        let beat = json!({"lease_token": claim["lease_token"], "text": text});
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
        self.server.stop().await;
    }
}

impl Target for FakeShiori {
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

    async fn write(&self, id: SummaryId, _: u32, text: &str) -> bool {
        self.summaries().write(id, text)
    }

    async fn complete(&self, id: SummaryId, reflection: &str) -> bool {
        self.summaries().complete(id, reflection)
    }

    async fn fail(&self, id: SummaryId, kind: FailureKind) -> bool {
        self.summaries().fail(id, kind)
    }

    async fn stop(self) {}
}

/// A signed-in device that uses HTTP directly.
pub struct Device {
    pub raw: RawClient,
    /// The access token.
    pub access: String,
    /// The refresh token as the value of a `Cookie` header.
    pub cookie: String,
}

impl Device {
    /// Signs up a new user and signs in; returns the device and the e-mail address.
    pub async fn sign_up(target: &impl Target) -> (Self, String) {
        let email = fresh_email();
        let account = json!({"email": email, "password": Person::PASSWORD, "nickname": "손"});
        let stranger = RawClient::anonymous(&target.url());
        assert_eq!(stranger.post("/api/user/signup", &account).await.status, 201);
        (Self::log_in(target, &email).await, email)
    }

    /// Signs in another device of this user.
    pub async fn log_in(target: &impl Target, email: &str) -> Self {
        let credentials = json!({"email": email, "password": Person::PASSWORD});
        let response =
            RawClient::anonymous(&target.url()).post("/api/user/login", &credentials).await;
        assert_eq!(response.status, 200, "{}", response.text);
        let access = response.json()["data"]["token"].as_str().unwrap().to_owned();
        let raw = RawClient::with_token(&target.url(), &access);
        Self { raw, access, cookie: cookie(&response) }
    }

    /// Refreshes with these tokens.
    pub async fn refresh(&self, access: &str, cookie: &str) -> RawResponse {
        let request = self.raw.request(Method::POST, "/api/auth/refresh");
        let body = json!({ "access_token": access });
        RawResponse::send(request.header("cookie", cookie).json(&body)).await
    }
}

/// The cookie that a response sets.
pub fn cookie(response: &RawResponse) -> String {
    let set = response.headers["set-cookie"].to_str().unwrap();
    set.split(';').next().unwrap().to_owned()
}

/// Asserts the status and the error name of a response.
#[track_caller]
pub fn assert_error(response: &RawResponse, status: u16, error: &str) {
    assert_eq!((response.status, response.error().as_str()), (status, error), "{}", response.text);
}

/// The data of a successful response.
#[track_caller]
pub fn data(response: &RawResponse, status: u16) -> Value {
    let json = response.json();
    assert_eq!((response.status, &json["code"]), (status, &json!(status)), "{}", response.text);
    assert!(json.get("error").is_none(), "{}", response.text);
    assert_eq!(response.headers["content-type"], "application/json");
    json["data"].clone()
}

/// Runs the tests of these modules against both servers.
macro_rules! conformance_tests {
    ($($module:ident: [$($test:ident),* $(,)?]),* $(,)?) => {
        mod real {
            $($(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    super::run::<super::RealServer, _>(async |server| super::$module::$test(server).await).await;
                }
            )*)*
        }

        mod fake {
            $($(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    super::run::<super::FakeShiori, _>(async |server| super::$module::$test(server).await).await;
                }
            )*)*
        }
    };
}

async fn run<S: Target, P: AsyncFnOnce(&S)>(test: P) {
    let server = S::start().await;
    test(&server).await;
    server.stop().await;
}

conformance_tests! {
    edges: [
        unknown_paths_return_404_and_other_methods_405,
        without_a_valid_token_every_route_returns_401,
        bodies_are_json_of_a_bounded_size,
        bodies_are_parsed_strictly,
        encoded_bodies_are_rejected,
        request_ids_are_echoed_or_generated,
    ],
    accounts: [
        accounts_are_checked_field_by_field,
        nicknames_are_counted_in_grapheme_clusters,
        a_password_is_accepted_in_every_normal_form,
        an_email_address_has_one_account,
        a_login_returns_a_token_and_a_cookie,
        wrong_credentials_are_indistinguishable_and_throttled,
        a_known_device_is_throttled_separately,
        sessions_of_devices_are_listed_and_revoked_separately,
        a_logout_ends_the_session_at_once,
        an_access_token_expires_and_is_renewed,
        a_refresh_token_rotates_and_can_be_used_once,
        a_session_that_is_not_refreshed_expires,
        the_account_is_read_and_renamed,
        a_new_password_ends_all_other_sessions,
        passwords_of_requests_are_throttled_apart_from_logins,
        a_deleted_account_is_gone,
    ],
    diaries: [
        a_diary_is_created_replaced_and_read,
        a_conflict_returns_the_current_diary,
        of_concurrent_first_saves_one_succeeds,
        a_repeated_save_is_replayed,
        a_repeated_save_does_not_restore_a_deleted_diary,
        save_ids_are_recognised_up_to_the_limit,
        invalid_diaries_are_rejected_and_not_stored,
        control_characters_are_rejected_in_titles_and_kept_in_texts,
        titles_are_counted_in_grapheme_clusters,
        values_at_the_limits_are_accepted,
        an_unchanged_diary_returns_304,
        every_change_of_a_response_changes_its_entity_tag,
        personal_responses_are_revalidated,
        a_listing_is_ordered_and_bounded,
        a_deleted_diary_is_not_found_and_its_versions_continue,
        archiving_is_a_compare_and_swap,
        other_users_diaries_are_not_found,
    ],
    changes: [
        versions_contain_every_date_that_had_a_diary,
        unchanged_versions_return_304,
        invalid_ranges_of_versions_are_rejected,
        every_change_is_streamed_as_a_hint,
        a_watch_yields_the_versions_of_all_devices,
        many_diaries_are_read_at_once,
        invalid_reads_are_rejected,
        large_reads_are_continued,
    ],
    revisions: [
        replaced_texts_are_listed_and_read,
        autosaves_are_not_kept,
        a_text_older_than_10_minutes_is_kept,
        a_deleted_text_is_kept_until_it_is_purged,
        revisions_expire_and_are_bounded,
    ],
    emotions: [
        emotions_are_listed_and_counted,
        emotions_of_ten_years_are_read_at_once,
    ],
    exports: [
        an_export_contains_everything_once,
        the_export_of_a_new_account_is_complete,
        an_export_is_imported_into_another_account,
        a_rejected_diary_does_not_stop_an_import,
    ],
    summaries: [
        an_incomplete_week_is_rejected_with_the_missing_dates,
        invalid_weeks_are_rejected,
        a_repeated_request_returns_the_same_summary,
        a_summary_goes_from_queued_to_completed,
        a_finished_summary_is_reused_until_a_diary_changes,
        a_failed_summary_has_a_reason,
        a_diary_deleted_before_the_claim_fails_the_summary,
        an_unfinished_summary_can_be_cancelled,
        a_long_poll_returns_on_a_change_or_at_its_timeout,
        waits_are_bounded,
        events_are_streamed_in_order_and_resumed,
        the_text_so_far_is_streamed_and_polled,
        other_users_summaries_return_404,
        unfinished_summaries_are_bounded,
        the_newest_request_decides_a_days_status,
    ],
}
