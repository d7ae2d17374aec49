use std::{fmt, sync::Arc, time::Duration};

use reqwest::{
    Url,
    header::{ACCEPT_LANGUAGE, HeaderMap, HeaderValue},
};

use crate::{
    Auth, ConflictPolicy, Diaries, Error, ErrorCode, PollingPolicy, Reflections, Result,
    RetryPolicy, Summaries, Weeks,
    error::ErrorKind,
    retry::RetryBudget,
    session::Session,
    transport::{Answer, Call, Refusal, Transport},
};

/// A client of a Shiori server.
///
/// Clones are cheap and share everything: the session, the connections, the retry budget. Every
/// future of the SDK may be dropped at any await; the client stays usable.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

/// What the clones of a client share.
pub(crate) struct Shared {
    pub(crate) transport: Transport,
    pub(crate) session: Session,
    pub(crate) conflict: ConflictPolicy,
    pub(crate) polling: PollingPolicy,
}

impl Client {
    /// A client of the server at this base URL, to be set up further. Nothing is sent yet.
    pub fn builder(base_url: impl Into<String>) -> ClientBuilder {
        ClientBuilder {
            base_url: base_url.into(),
            retry: RetryPolicy::default(),
            conflict: ConflictPolicy::default(),
            polling: PollingPolicy::default(),
            attempt_timeout: Duration::from_secs(15),
            call_timeout: Duration::from_secs(60),
            user_agent: concat!("shiori-sdk/", env!("CARGO_PKG_VERSION")).to_owned(),
            accept_language: None,
        }
    }

    /// Accounts and sessions.
    pub fn auth(&self) -> Auth {
        Auth::new(self.clone())
    }

    /// Diaries.
    pub fn diaries(&self) -> Diaries {
        Diaries::new(self.clone())
    }

    /// Weekly summaries.
    pub fn summaries(&self) -> Summaries {
        Summaries::new(self.clone())
    }

    /// The reflections that summaries made.
    pub fn reflections(&self) -> Reflections {
        Reflections::new(self.clone())
    }

    /// What is known of a week.
    pub fn weeks(&self) -> Weeks {
        Weeks::new(self.clone())
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0
    }

    /// Sends a request as the one who is signed in. The access token is renewed if the server
    /// rejects it.
    pub(crate) async fn send(&self, call: &Call) -> Result<Answer, Refusal> {
        let Shared { transport, session, .. } = &*self.0;
        let tokens = session.tokens().await.map_err(Refusal::bare)?;
        let mut sent = transport.send(call, Some(&tokens.access)).await;
        let rejected = |refusal: &Refusal| refusal.error.code() == Some(&ErrorCode::Unauthorized);
        if sent.as_ref().err().is_some_and(rejected) {
            // A 401 says that nothing was applied.
            session.renew(&tokens.access).await.map_err(Refusal::bare)?;
            let renewed = session.tokens().await.map_err(Refusal::bare)?;
            // Somebody else may have signed in meanwhile; what one person asked for is never
            // asked for in the name of another.
            if renewed.login != tokens.login {
                return sent;
            }
            sent = transport.send(call, Some(&renewed.access)).await;
        }
        if let Err(Refusal { error, .. }) = &sent
            && matches!(error.code(), Some(ErrorCode::SessionExpired | ErrorCode::RefreshReused))
        {
            session.end();
        }
        sent
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base_url", &self.0.transport.base.as_str())
            .field("session", &self.0.session)
            .finish_non_exhaustive()
    }
}

/// Sets a [`Client`] up. Made by [`Client::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is built"]
pub struct ClientBuilder {
    base_url: String,
    retry: RetryPolicy,
    conflict: ConflictPolicy,
    polling: PollingPolicy,
    attempt_timeout: Duration,
    call_timeout: Duration,
    user_agent: String,
    accept_language: Option<String>,
}

impl ClientBuilder {
    /// How requests are repeated. Default: 3 attempts.
    pub fn retry_policy(self, retry: RetryPolicy) -> Self {
        Self { retry, ..self }
    }

    /// How saves that met a conflict are repeated.
    pub fn conflict_policy(self, conflict: ConflictPolicy) -> Self {
        Self { conflict, ..self }
    }

    /// How summaries are waited for.
    pub fn polling_policy(self, polling: PollingPolicy) -> Self {
        Self { polling, ..self }
    }

    /// How long one attempt of a request may take. Default 15 s.
    pub fn attempt_timeout(self, attempt_timeout: Duration) -> Self {
        Self { attempt_timeout, ..self }
    }

    /// How long all attempts of a request may take together. Default 60 s.
    pub fn call_timeout(self, call_timeout: Duration) -> Self {
        Self { call_timeout, ..self }
    }

    /// What the client calls itself. Default `shiori-sdk/` and the version.
    pub fn user_agent(self, user_agent: impl Into<String>) -> Self {
        Self { user_agent: user_agent.into(), ..self }
    }

    /// The language of the server's messages, e.g. `ko` or `en`. Default: the server's own.
    pub fn accept_language(self, language: impl Into<String>) -> Self {
        Self { accept_language: Some(language.into()), ..self }
    }

    /// The client.
    ///
    /// # Errors
    ///
    /// [`Error`] of kind [`ErrorKind::Config`] when the base URL is not an `http` or `https` URL,
    /// when it is `https` and the crate was built without TLS, or when a header value is not one.
    pub fn build(self) -> Result<Client> {
        let config = |reason: &'static str| Error::new(ErrorKind::Config).with_source(reason);
        let base = Url::parse(&self.base_url).map_err(|_| config("the base URL is not a URL"))?;
        if !base.username().is_empty() || base.password().is_some() {
            return Err(config("the base URL must hold no credentials"));
        }
        match base.scheme() {
            "http" => {}
            "https" if cfg!(any(feature = "rustls", feature = "native-tls")) => {}
            "https" => return Err(config("https needs the feature `rustls` or `native-tls`")),
            _ => return Err(config("the base URL is neither http nor https")),
        }
        let mut headers = HeaderMap::new();
        if let Some(language) = &self.accept_language {
            let value = HeaderValue::from_str(language)
                .map_err(|_| config("the language is not a header value"))?;
            headers.insert(ACCEPT_LANGUAGE, value);
        }
        let http = reqwest::Client::builder()
            .user_agent(&self.user_agent)
            .default_headers(headers)
            .connect_timeout(Duration::from_secs(5).min(self.attempt_timeout))
            // A redirect would carry the token to somewhere else.
            .redirect(reqwest::redirect::Policy::none())
            // Retries are this crate's own.
            .retry(reqwest::retry::never())
            .tcp_nodelay(true)
            .build()
            .map_err(|error| Error::new(ErrorKind::Config).with_source(error.without_url()))?;
        let transport = Transport {
            http,
            base,
            retry: self.retry,
            attempt_timeout: self.attempt_timeout,
            call_timeout: self.call_timeout,
            budget: RetryBudget::new(),
        };
        let shared = |weak: &std::sync::Weak<Shared>| Shared {
            transport,
            session: Session::new(weak.clone()),
            conflict: self.conflict,
            polling: self.polling,
        };
        Ok(Client(Arc::new_cyclic(shared)))
    }
}
