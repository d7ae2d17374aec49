use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use reqwest::{
    Url,
    header::{ACCEPT_LANGUAGE, HeaderMap, HeaderValue, USER_AGENT},
};

use crate::{
    Auth, CallOptions, ConflictPolicy, Diaries, Error, ErrorCode, PollingPolicy, Reflections,
    Result, RetryBudget, RetryPolicy, Summaries, TokenStore, Weeks,
    error::ErrorKind,
    session::Session,
    transport::{Answer, Call, Refusal, Transport},
};

/// A client of a Shiori server.
///
/// Clones are cheap and share everything: the session, the connections, the retry budget. Every
/// future of the SDK may be dropped at any await; the client stays usable.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    options: Arc<CallOptions>,
}

/// What the clones of a client share.
pub(crate) struct Shared {
    pub(crate) transport: Transport,
    pub(crate) session: Session,
    /// As the client was built, for what it does by itself.
    pub(crate) options: Arc<CallOptions>,
}

impl Client {
    /// A client of the server at this base URL, to be set up further. Nothing is sent yet.
    pub fn builder(base_url: impl Into<String>) -> ClientBuilder {
        ClientBuilder {
            base_url: base_url.into(),
            options: CallOptions::default(),
            budget: RetryBudget::default(),
            user_agent: concat!("shiori-sdk/", env!("CARGO_PKG_VERSION")).to_owned(),
            accept_language: None,
            token_store: None,
            http: None,
        }
    }

    /// How this client makes its calls.
    pub fn options(&self) -> &CallOptions {
        &self.options
    }

    /// The same client, making its calls with other options. It shares everything else: session,
    /// connections, retry budget.
    pub fn with_options(&self, options: CallOptions) -> Self {
        Self { shared: self.shared.clone(), options: Arc::new(options) }
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
        &self.shared
    }

    /// Sends a request as the one who is signed in. The access token is renewed if the server
    /// rejects it.
    pub(crate) async fn send(&self, call: &Call) -> Result<Answer, Refusal> {
        let session = &self.shared.session;
        let tokens = session.tokens().await.map_err(Refusal::bare)?;
        let mut sent = self.send_as(Some(&tokens.access), call).await;
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
            sent = self.send_as(Some(&renewed.access), call).await;
        }
        if let Err(Refusal { error, .. }) = &sent
            && matches!(error.code(), Some(ErrorCode::SessionExpired | ErrorCode::RefreshReused))
        {
            session.end(&tokens).await;
        }
        sent
    }

    /// Sends a request with this access token, or as nobody.
    pub(crate) async fn send_as(
        &self,
        token: Option<&str>,
        call: &Call,
    ) -> Result<Answer, Refusal> {
        self.shared.transport.send(&self.options, call, token).await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base_url", &self.shared.transport.base.as_str())
            .field("session", &self.shared.session)
            .finish_non_exhaustive()
    }
}

/// Sets a [`Client`] up. Made by [`Client::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is built"]
pub struct ClientBuilder {
    base_url: String,
    options: CallOptions,
    budget: RetryBudget,
    user_agent: String,
    accept_language: Option<String>,
    token_store: Option<Arc<dyn TokenStore>>,
    http: Option<reqwest::Client>,
}

impl ClientBuilder {
    /// How calls are made, all at once. The setters below change one thing each.
    pub fn options(self, options: CallOptions) -> Self {
        Self { options, ..self }
    }

    /// How requests are repeated. Default: 3 attempts.
    pub fn retry_policy(self, retry: RetryPolicy) -> Self {
        Self { options: self.options.with_retry_policy(retry), ..self }
    }

    /// How saves that met a conflict are repeated. Default: 16 saves within 10 s.
    pub fn conflict_policy(self, conflict: ConflictPolicy) -> Self {
        Self { options: self.options.with_conflict_policy(conflict), ..self }
    }

    /// How summaries are waited for. Default: long-polls of 20 s, for 180 s in all.
    pub fn polling_policy(self, polling: PollingPolicy) -> Self {
        Self { options: self.options.with_polling_policy(polling), ..self }
    }

    /// How long one attempt of a request may take. Default 15 s. Connecting may take 5 s of it.
    pub fn attempt_timeout(self, attempt_timeout: Duration) -> Self {
        Self { options: self.options.with_attempt_timeout(attempt_timeout), ..self }
    }

    /// How long all attempts of a request may take together. Default 60 s.
    pub fn call_timeout(self, call_timeout: Duration) -> Self {
        Self { options: self.options.with_call_timeout(call_timeout), ..self }
    }

    /// What bounds the retries of this client and its clones. Default: a budget of their own with
    /// 500 tokens. A clone of another client's budget is shared with that client.
    pub fn retry_budget(self, budget: RetryBudget) -> Self {
        Self { budget, ..self }
    }

    /// What the client calls itself. Default `shiori-sdk/` and the version.
    pub fn user_agent(self, user_agent: impl Into<String>) -> Self {
        Self { user_agent: user_agent.into(), ..self }
    }

    /// The language of the server's messages, e.g. `ko` or `en`. Default: the server's own.
    pub fn accept_language(self, language: impl Into<String>) -> Self {
        Self { accept_language: Some(language.into()), ..self }
    }

    /// Where the session is kept over restarts. Default: nowhere. The store is read when the
    /// client is built; whoever was signed in then still is.
    pub fn token_store(self, store: impl TokenStore + 'static) -> Self {
        Self { token_store: Some(Arc::new(store)), ..self }
    }

    /// Sends requests through this HTTP client, for proxies, root certificates and the like. It
    /// should follow no redirects, for they would carry the token to somewhere else, and repeat
    /// nothing by itself.
    ///
    /// Outside of the crate's promise of stability: the next major version of reqwest changes it.
    #[cfg(feature = "unstable-reqwest")]
    pub fn reqwest_client(self, http: reqwest::Client) -> Self {
        Self { http: Some(http), ..self }
    }

    /// The client.
    ///
    /// # Errors
    ///
    /// [`Error`] of kind [`ErrorKind::Config`] when the base URL is not an `http` or `https` URL,
    /// when it is `https` and the crate was built without TLS, or when a header value is not one;
    /// [`ErrorKind::TokenStore`] when the session that was kept cannot be read.
    pub fn build(self) -> Result<Client> {
        let base = base_url(&self.base_url)?;
        let headers = self.headers()?;
        let http = match self.http {
            Some(http) => http,
            None => reqwest::Client::builder()
                .connect_timeout(Duration::from_secs(5).min(self.options.attempt_timeout))
                // A redirect would carry the token to somewhere else.
                .redirect(reqwest::redirect::Policy::none())
                // Retries are this crate's own.
                .retry(reqwest::retry::never())
                .tcp_nodelay(true)
                .build()
                .map_err(|error| Error::new(ErrorKind::Config).with_source(error.without_url()))?,
        };
        let kept = match &self.token_store {
            Some(store) => store
                .load()
                .map_err(|error| Error::new(ErrorKind::TokenStore).with_source(error))?,
            None => None,
        };
        let transport = Transport { http, base, headers, budget: self.budget };
        let options = Arc::new(self.options);
        let shared = |weak: &Weak<Shared>| Shared {
            transport,
            session: Session::new(weak.clone(), self.token_store, kept),
            options: options.clone(),
        };
        Ok(Client { shared: Arc::new_cyclic(shared), options })
    }

    /// The headers of every request.
    fn headers(&self) -> Result<HeaderMap> {
        let value = |text: &str, reason: &'static str| {
            HeaderValue::from_str(text).map_err(|_| config(reason))
        };
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, value(&self.user_agent, "the user agent is no header value")?);
        if let Some(language) = &self.accept_language {
            headers.insert(ACCEPT_LANGUAGE, value(language, "the language is no header value")?);
        }
        Ok(headers)
    }
}

fn base_url(url: &str) -> Result<Url> {
    let base = Url::parse(url).map_err(|_| config("the base URL is not a URL"))?;
    if !base.username().is_empty() || base.password().is_some() {
        return Err(config("the base URL must hold no credentials"));
    }
    match base.scheme() {
        "http" => Ok(base),
        "https" if cfg!(any(feature = "rustls", feature = "native-tls")) => Ok(base),
        "https" => Err(config("https needs the feature `rustls` or `native-tls`")),
        _ => Err(config("the base URL is neither http nor https")),
    }
}

fn config(reason: &'static str) -> Error {
    Error::new(ErrorKind::Config).with_source(reason)
}
