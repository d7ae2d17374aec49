//! Accounts and sessions, as a person sees them.

use reqwest::Method;

use crate::{
    Client, Credentials, NewAccount, Result, SessionId, SessionInfo, SignedUp, UserId,
    VerifyRequest,
    client::Shared,
    error::ErrorKind,
    session::Tokens,
    transport::{Call, Replay},
};

/// Accounts and sessions. Made by [`Client::auth`].
#[derive(Debug, Clone)]
pub struct Auth {
    client: Client,
}

impl Auth {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Creates an account. It does not sign in.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) with code `email_taken`, or `invalid_request` when a field breaks its rule: the
    /// password needs at least 8 characters with a letter, a digit and a special character.
    pub async fn signup(&self, email: &str, password: &str, nickname: &str) -> Result<UserId> {
        let body = NewAccount {
            email: email.to_owned(),
            password: password.into(),
            nickname: nickname.to_owned(),
        };
        let call = Call::new(Method::POST, "/api/user/signup", Replay::Unsafe).json(&body);
        let answer = self.client.send_as(None, &call).await?;
        Ok(answer.data::<SignedUp>()?.user_id)
    }

    /// Signs in. The tokens are kept inside the client, are shared by its clones, and are renewed
    /// by themselves.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) with code `bad_credentials`, or `too_many_attempts` with a time to
    /// wait; of kind [`ErrorKind::TokenStore`] when the session could not be kept: it holds all the
    /// same, until this client is gone.
    pub async fn login(&self, email: &str, password: &str) -> Result<()> {
        let body = Credentials { email: email.to_owned(), password: password.into() };
        // An answer that was lost leaves a session that nobody uses; it expires.
        let call = Call::new(Method::POST, "/api/user/login", Replay::Safe).json(&body);
        let answer = self.client.send_as(None, &call).await?;
        self.shared().session.begin(Tokens::from_answer(&answer)?).await
    }

    /// Renews the access token now. Calls do so by themselves when it is time.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) of kind [`ErrorKind::SignedOut`] when nobody is signed in or the session has
    /// ended.
    pub async fn refresh(&self) -> Result<()> {
        let shared = self.shared();
        let token = shared.session.current()?.access;
        shared.session.renew(&token).await
    }

    /// Ends the session, on the server and here. Without one there is nothing to do.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) when the server could not be told; the tokens here are forgotten all the same.
    pub async fn logout(&self) -> Result<()> {
        let call = Call::new(Method::DELETE, "/api/user/logout", Replay::Safe);
        let session = &self.shared().session;
        let Ok(tokens) = session.current() else { return Ok(()) };
        let told = self.client.send(&call).await;
        session.end(&tokens).await;
        match told {
            Ok(_) => Ok(()),
            // It had ended already.
            Err(refusal) if refusal.error.kind() == ErrorKind::SignedOut => Ok(()),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Asks the server whether the access token is good.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) with code `token_decode_error` when it is not.
    pub async fn verify(&self) -> Result<()> {
        let access_token = self.shared().session.current()?.access.to_string();
        let call = Call::new(Method::POST, "/api/auth/verify", Replay::Safe)
            .json(&VerifyRequest { access_token });
        self.client.send_as(None, &call).await?;
        Ok(())
    }

    /// The devices that are signed in, this one among them.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) when the server does not answer or nobody is signed in.
    pub async fn sessions(&self) -> Result<Vec<SessionInfo>> {
        self.client.send(&Call::get("/api/auth/sessions")).await?.data()
    }

    /// Signs another device out.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) of kind [`ErrorKind::NotFound`] when the caller has no such session.
    pub async fn revoke(&self, id: SessionId) -> Result<()> {
        let path = format!("/api/auth/sessions/{id}");
        match self.client.send(&Call::new(Method::DELETE, path, Replay::Safe)).await {
            Ok(_) => Ok(()),
            // The first attempt has done it, and its answer was lost.
            Err(refusal) if refusal.repeated && refusal.error.kind() == ErrorKind::NotFound => {
                Ok(())
            }
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Whether this client holds a session. The server may have ended it meanwhile.
    pub fn is_signed_in(&self) -> bool {
        self.shared().session.current().is_ok()
    }

    fn shared(&self) -> &Shared {
        self.client.shared()
    }
}
