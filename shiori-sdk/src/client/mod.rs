//! The client and its builder. The modules of the resources, such as `diary`, add their methods to
//! [`Client`], so that nothing here depends on them.

mod builder;
mod events;

use std::{fmt, sync::Arc};

use reqwest::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};

use crate::{
    session::{Auth, Session},
    transport::{
        error::{Error, ErrorKind, Result, WasSent},
        error_of,
        options::CallOptions,
        request::{FailedRequest, Request, Response},
    },
};
pub use builder::ClientBuilder;
pub(crate) use events::EventStream;

/// A client of a Shiori server.
///
/// Clones are cheap and share the session, the connections and the retry budget. Every future of
/// the SDK can be dropped at any await; the client stays usable.
#[derive(Clone)]
pub struct Client {
    session: Arc<Session>,
    options: Arc<CallOptions>,
}

impl Client {
    /// A builder for a client of the server at this base URL. Nothing is sent yet.
    pub fn builder(base_url: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(base_url.into())
    }

    /// The options of this client's calls.
    pub fn options(&self) -> &CallOptions {
        &self.options
    }

    /// A client with other options that shares the session, the connections and the retry budget
    /// with this one.
    pub fn with_options(&self, options: CallOptions) -> Self {
        Self { session: self.session.clone(), options: Arc::new(options) }
    }

    /// Accounts and sessions.
    pub fn auth(&self) -> Auth {
        Auth::new(self.session.clone(), self.options.clone())
    }

    /// Sends a request with the access token, with retries.
    pub(crate) async fn send(&self, request: &Request) -> Result<Response, FailedRequest> {
        self.session.send(&self.options, request).await
    }

    /// Sends a request that ends the session, and removes the tokens when it has succeeded.
    pub(crate) async fn send_last(&self, request: &Request) -> Result<Response, FailedRequest> {
        self.session.send_last(&self.options, request).await
    }

    /// Keeps the device token of a response, for later logins.
    pub(crate) async fn keep_device(&self, response: &Response) {
        self.session.keep_device(response).await;
    }

    /// The login that began the session.
    pub(crate) fn login(&self) -> Result<uuid::Uuid> {
        self.session.login()
    }

    /// A client whose calls fail when the session of this login has ended, also if another one has
    /// begun: its user may be another.
    #[cfg(feature = "replica")]
    pub(crate) fn only_for(&self, login: uuid::Uuid) -> Self {
        let mut options = CallOptions::clone(&self.options);
        options.only_login = Some(login);
        self.with_options(options)
    }

    /// The URL of the server.
    #[cfg(feature = "replica")]
    pub(crate) fn base_url(&self) -> &str {
        self.session.base_url()
    }

    /// Sends a request for a stream once, and after a renewal of the session a second time. Returns as
    /// soon as the response headers have arrived; an error if the response is not of this content type.
    pub(crate) async fn open(
        &self,
        request: &Request,
        content_type: &str,
    ) -> Result<reqwest::Response> {
        let login = self.login()?;
        let mut response = self.session.open(&self.options, request).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            // The access token has expired; if the session has ended, this fails.
            self.auth().refresh().await?;
            // If another user has signed in since, the request must not be sent with that user's
            // token.
            if self.login()? != login {
                return Err(Error::new(ErrorKind::SignedOut));
            }
            response = self.session.open(&self.options, request).await?;
        }
        if !response.status().is_success() {
            return Err(error_of(response).await);
        }
        let is_expected =
            |value: &HeaderValue| value.as_bytes().starts_with(content_type.as_bytes());
        if response.headers().get(CONTENT_TYPE).is_some_and(is_expected) {
            Ok(response)
        } else {
            Err(Error::new(ErrorKind::InvalidResponse).with_sent(WasSent::Yes))
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("session", &self.session).finish_non_exhaustive()
    }
}
