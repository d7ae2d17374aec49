//! The state of the fake server, and the dispatch of requests to its parts.

use std::time::Duration;

use hyper::{StatusCode, header::USER_AGENT};

use super::{
    accounts::Accounts,
    diaries::Diaries,
    request::ApiRequest,
    response::{ApiError, ApiResponse},
    route::Route,
    sessions::Sessions,
    summaries::Summaries,
};
use crate::types::{
    ErrorCode, PartialText, SignedUp, Summary, SummaryId, Timestamp, UserId, VerifyRequest,
    limits::MAX_EMOTION_DAYS,
};

pub(super) struct State {
    /// The fake's time. It only moves when a test advances it.
    pub(super) now: Timestamp,
    pub(super) accounts: Accounts,
    pub(super) sessions: Sessions,
    pub(super) diaries: Diaries,
    pub(super) summaries: Summaries,
}

/// How long a device is known after its last login.
const DEVICE_TTL: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// How long a client should wait if a part of the server is unavailable.
const UNAVAILABLE_RETRY_AFTER: Duration = Duration::from_secs(1);

/// 503: the store of the summaries is unavailable.
fn unavailable() -> ApiError {
    ApiError::new(503, ErrorCode::Unavailable).with_retry_after(UNAVAILABLE_RETRY_AFTER)
}

fn device_cookie(token: &str) -> String {
    let max_age = DEVICE_TTL.as_secs();
    format!("device={token}; Path=/api/user/login; Max-Age={max_age}; HttpOnly; SameSite=Strict")
}

impl State {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            now,
            accounts: Accounts::default(),
            sessions: Sessions::default(),
            diaries: Diaries::default(),
            summaries: Summaries::default(),
        }
    }

    /// The response to a request, without waiting.
    pub(super) fn handle(&mut self, request: &ApiRequest) -> Result<ApiResponse, ApiError> {
        let now = self.now;
        if request.route.needs_summaries() && self.summaries.are_unavailable {
            self.user(request)?;
            return Err(unavailable());
        }
        match request.route {
            Route::SignUp => {
                let user_id = self.accounts.sign_up(&request.body()?, now)?;
                Ok(ApiResponse::with_status(StatusCode::CREATED, &SignedUp { user_id }))
            }
            Route::LogIn => {
                let device = request.cookie("device");
                let (user, device) = self.accounts.log_in(&request.body()?, device, now)?;
                let user_agent = request.header(USER_AGENT).map(str::to_owned);
                let response = self.sessions.open(user, user_agent, now);
                Ok(response.with_cookie(&device_cookie(&device)))
            }
            Route::Account => {
                let user = self.user(request)?;
                Ok(ApiResponse::ok(&self.accounts.info(user)?))
            }
            Route::Rename => {
                let user = self.user(request)?;
                Ok(ApiResponse::ok(&self.accounts.rename(user, request.body()?)?))
            }
            Route::ChangePassword => {
                let caller = self.sessions.caller(request, now)?;
                let device = self.accounts.change_password(caller.user, &request.body()?, now)?;
                self.sessions.end_others(caller);
                Ok(ApiResponse::done().with_cookie(&device_cookie(&device)))
            }
            Route::DeleteAccount => {
                let caller = self.sessions.caller(request, now)?;
                self.accounts.delete(caller.user, &request.body()?, now)?;
                self.diaries.erase(caller.user);
                self.summaries.erase(caller.user);
                Ok(self.sessions.end_all(caller.user))
            }
            Route::Refresh => self.sessions.refresh(request, now),
            Route::Verify => {
                let body: VerifyRequest = request.body()?;
                self.sessions.verify(&body.access_token, now)?;
                Ok(ApiResponse::done())
            }
            Route::LogOut => {
                let caller = self.sessions.caller(request, now)?;
                Ok(self.sessions.log_out(caller))
            }
            Route::Sessions => {
                let caller = self.sessions.caller(request, now)?;
                Ok(ApiResponse::ok(&self.sessions.list(caller, now)))
            }
            Route::Revoke => {
                let user = self.user(request)?;
                self.sessions.revoke(user, request.id()?)?;
                Ok(ApiResponse::done())
            }
            Route::Export => {
                let user = self.user(request)?;
                self.export(user)
            }
            Route::Get
            | Route::Save
            | Route::Delete
            | Route::Archive
            | Route::List
            | Route::Emotions
            | Route::Revisions
            | Route::Revision
            | Route::PurgeRevisions => self.handle_diary(request),
            Route::Versions | Route::ReadMany | Route::Changes => self.many_diaries(request),
            Route::RequestSummary => {
                let user = self.user(request)?;
                self.summaries.request(user, request, &self.diaries, now)
            }
            Route::Summary | Route::Events => {
                let user = self.user(request)?;
                Ok(ApiResponse::ok(&self.summaries.view(user, request.id()?)?))
            }
            Route::Cancel => {
                let user = self.user(request)?;
                self.summaries.cancel(user, request.id()?, now)?;
                Ok(ApiResponse::done())
            }
            Route::Reflection => {
                let user = self.user(request)?;
                self.summaries.reflection(user, request, &self.diaries)
            }
        }
    }

    /// The response to a request for diaries.
    fn handle_diary(&mut self, request: &ApiRequest) -> Result<ApiResponse, ApiError> {
        let now = self.now;
        let caller = self.sessions.caller(request, now)?;
        let user = caller.user;
        match request.route {
            Route::Save => self.diaries.save(caller, request, &self.summaries, now),
            Route::Delete => self.diaries.delete(user, request, &self.summaries, now),
            Route::Archive => self.diaries.archive(user, request, &self.summaries, now),
            Route::List => {
                Ok(ApiResponse::ok(&self.diaries.list(user, request.range()?, &self.summaries)))
            }
            Route::Emotions => {
                let range = request.range_of(MAX_EMOTION_DAYS)?;
                Ok(ApiResponse::ok(&self.diaries.emotions(user, range, &self.summaries)))
            }
            Route::Revisions => self.diaries.revisions(user, request, now),
            Route::Revision => self.diaries.revision(user, request, now),
            Route::PurgeRevisions => self.diaries.purge_revisions(user, request),
            _ => self.diaries.get(user, request, &self.summaries),
        }
    }

    /// The user's summary, unless the summaries are unavailable.
    pub(super) fn available_summary(
        &mut self,
        user: UserId,
        id: SummaryId,
    ) -> Result<Summary, ApiError> {
        if self.summaries.are_unavailable {
            return Err(unavailable());
        }
        self.summaries.view(user, id)
    }

    /// The user's summary and its text so far, unless the summaries are unavailable.
    pub(super) fn available_text(
        &mut self,
        user: UserId,
        id: SummaryId,
    ) -> Result<(Summary, Option<PartialText>), ApiError> {
        let summary = self.available_summary(user, id)?;
        Ok((summary, self.summaries.partial_text(user, id)))
    }

    /// Authenticates a request.
    pub(super) fn user(&mut self, request: &ApiRequest) -> Result<UserId, ApiError> {
        self.sessions.caller(request, self.now).map(|caller| caller.user)
    }
}
