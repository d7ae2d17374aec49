//! The state of the fake, and what each request does to it. Nothing here waits or knows HTTP's
//! connections.

use super::{
    accounts::{Accounts, Caller},
    diaries::Diaries,
    summaries::Summaries,
    wire::{ApiError, ApiRequest, ApiResponse, Route},
};
use crate::Timestamp;

pub(super) struct State {
    /// The fake's clock. It moves only when a test moves it.
    pub(super) now: Timestamp,
    pub(super) accounts: Accounts,
    pub(super) diaries: Diaries,
    pub(super) summaries: Summaries,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            now: Timestamp::now(),
            accounts: Accounts::default(),
            diaries: Diaries::default(),
            summaries: Summaries::default(),
        }
    }

    /// The response to every request that does not wait.
    pub(super) fn respond(&mut self, request: &ApiRequest) -> Result<ApiResponse, ApiError> {
        let now = self.now;
        match request.route {
            Route::SignUp => return self.accounts.sign_up(request),
            Route::LogIn => return self.accounts.log_in(request, now),
            Route::Refresh => return self.accounts.refresh(request, now),
            Route::Verify => return self.accounts.verify(request, now),
            _ => {}
        }
        let caller = self.caller(request)?;
        let (accounts, diaries) = (&mut self.accounts, &mut self.diaries);
        match request.route {
            Route::LogOut => Ok(accounts.log_out(caller)),
            Route::Sessions => Ok(accounts.list_sessions(caller, now)),
            Route::Revoke => accounts.revoke(caller, request),
            Route::Get => diaries.get(caller.user, request, &self.summaries),
            Route::Save => diaries.save(caller.user, request, &self.summaries, now),
            Route::Delete => diaries.delete(caller.user, request, &self.summaries),
            Route::Archive => diaries.archive(caller.user, request, &self.summaries, now),
            Route::List => diaries.list(caller.user, request, &self.summaries),
            _ => self.respond_about_summaries(caller.user, request),
        }
    }

    /// The caller of a request, by its access token.
    pub(super) fn caller(&mut self, request: &ApiRequest) -> Result<Caller, ApiError> {
        self.accounts.caller(request, self.now)
    }
}
