//! Accounts and sessions.

use std::sync::Arc;

use reqwest::header::COOKIE;

use super::{
    Session,
    tokens::{DEVICE_COOKIE, Tokens, find_cookie},
};
use crate::{
    transport::{
        error::{ErrorKind, Result},
        options::CallOptions,
        request::Request,
    },
    types::{
        Credentials, InvitationCode, NewAccount, SessionId, SessionInfo, SignedUp, UserId,
        VerifyRequest,
    },
};

/// Accounts and sessions. Created by [`Client::auth`](crate::Client::auth).
#[derive(Debug, Clone)]
pub struct Auth {
    session: Arc<Session>,
    options: Arc<CallOptions>,
}

impl Auth {
    pub(crate) fn new(session: Arc<Session>, options: Arc<CallOptions>) -> Self {
        Self { session, options }
    }

    /// Creates an account. It does not sign in.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) with code `email_taken`, or `invalid_request` if a field is invalid:
    /// the password needs at least 8 characters with a letter, a digit and a special character. With
    /// code `signup_closed` or `invalid_invitation` if the server does not accept the account, and
    /// `too_many_attempts` with the time to wait.
    pub async fn signup(&self, email: &str, password: &str, nickname: &str) -> Result<UserId> {
        self.create_account(email, password, nickname, None).await
    }

    /// Creates an account with an invitation code, which some servers require. It does not sign in.
    ///
    /// # Errors
    ///
    /// As [`signup`](Self::signup), and [`Error`](crate::Error) with code `invalid_invitation`.
    pub async fn signup_with_invitation(
        &self,
        email: &str,
        password: &str,
        nickname: &str,
        code: impl Into<InvitationCode>,
    ) -> Result<UserId> {
        self.create_account(email, password, nickname, Some(code.into())).await
    }

    async fn create_account(
        &self,
        email: &str,
        password: &str,
        nickname: &str,
        invitation_code: Option<InvitationCode>,
    ) -> Result<UserId> {
        let body = NewAccount {
            email: email.to_owned(),
            password: password.into(),
            nickname: nickname.to_owned(),
            invitation_code,
        };
        let request = Request::post("/api/user/signup").json(&body)?;
        let response = self.session.send_anonymous(&self.options, &request).await?;
        Ok(response.data::<SignedUp>()?.user_id)
    }

    /// Signs in. The client and its clones share the tokens and renew them automatically.
    ///
    /// The client also keeps the server's device token, after a logout too, and sends it with the
    /// next login. So failed logins of strangers do not lock out this device.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) with code `bad_credentials`, or `too_many_attempts` with the time to
    /// wait; of kind [`ErrorKind::TokenStore`] if the session could not be stored. In that case the
    /// client is signed in nevertheless, until it is dropped.
    pub async fn login(&self, email: &str, password: &str) -> Result<()> {
        let body = Credentials { email: email.to_owned(), password: password.into() };
        // Idempotent: if a response is lost, its session is never used and expires.
        let mut request = Request::post("/api/user/login").idempotent().json(&body)?;
        if let Some(device) = self.session.device() {
            request = request.header(COOKIE, device);
        }
        let response = self.session.send_anonymous(&self.options, &request).await?;
        let device = find_cookie(&response.headers, DEVICE_COOKIE);
        self.session.begin(Tokens::from_response(&response)?, device).await
    }

    /// Renews the access token now. Calls renew it automatically when it is about to expire.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) of kind [`ErrorKind::SignedOut`] if the client is not signed in or
    /// the session has ended.
    pub async fn refresh(&self) -> Result<()> {
        let access = self.session.tokens()?.access;
        self.session.renew(&access).await
    }

    /// Ends the session, on the server and in this client. Does nothing if the client is not signed
    /// in.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) if the request fails. The tokens are removed from this client
    /// nevertheless.
    pub async fn logout(&self) -> Result<()> {
        let Ok(tokens) = self.session.tokens() else { return Ok(()) };
        let request = Request::delete("/api/user/logout");
        let result = self.session.send(&self.options, &request).await;
        self.session.end(&tokens).await;
        match result {
            Ok(_) => Ok(()),
            // The session had already ended.
            Err(failed) if failed.error.kind() == ErrorKind::SignedOut => Ok(()),
            Err(failed) => Err(failed.into()),
        }
    }

    /// Verifies the access token on the server.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) with code `token_decode_error` if it is invalid.
    pub async fn verify(&self) -> Result<()> {
        let body = VerifyRequest { access_token: self.session.tokens()?.access.to_string() };
        let request = Request::post("/api/auth/verify").idempotent().json(&body)?;
        self.session.send_anonymous(&self.options, &request).await?;
        Ok(())
    }

    /// Lists the sessions of the account, including this one.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) if the request fails or the client is not signed in.
    pub async fn sessions(&self) -> Result<Vec<SessionInfo>> {
        let request = Request::get("/api/auth/sessions");
        self.session.send(&self.options, &request).await?.data()
    }

    /// Ends another session of the account.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) of kind [`ErrorKind::NotFound`] if the account has no such session.
    pub async fn revoke(&self, id: SessionId) -> Result<()> {
        let request = Request::delete(format!("/api/auth/sessions/{id}"));
        match self.session.send(&self.options, &request).await {
            Ok(_) => Ok(()),
            // An earlier attempt was applied and its response was lost.
            Err(failed) if failed.maybe_applied && failed.error.kind() == ErrorKind::NotFound => {
                Ok(())
            }
            Err(failed) => Err(failed.into()),
        }
    }

    /// Whether this client has a session. The server may already have ended it.
    pub fn is_signed_in(&self) -> bool {
        self.session.tokens().is_ok()
    }
}
