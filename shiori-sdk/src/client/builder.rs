use std::{sync::Arc, time::Duration};

use reqwest::{
    Url,
    header::{ACCEPT_LANGUAGE, HeaderMap, HeaderValue, USER_AGENT},
};

use super::Client;
use crate::{
    session::{Session, TokenStore},
    transport::{
        Transport,
        error::{Error, ErrorKind, Result},
        hook::{ExtraHeaders, RequestHook},
        options::CallOptions,
        retry::{ConflictPolicy, PollingPolicy, RetryBudget, RetryPolicy},
    },
};

/// The timeout of connecting, which is part of an attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Configures a [`Client`]. Created by [`Client::builder`].
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
    pub(super) fn new(base_url: String) -> Self {
        Self {
            base_url,
            options: CallOptions::default(),
            budget: RetryBudget::default(),
            user_agent: concat!("shiori-sdk/", env!("CARGO_PKG_VERSION")).to_owned(),
            accept_language: None,
            token_store: None,
            http: None,
        }
    }

    /// Sets all options of the calls. The setters below change one option each.
    pub fn options(self, options: CallOptions) -> Self {
        Self { options, ..self }
    }

    /// How failed requests are retried. Default: 3 attempts.
    pub fn retry_policy(self, retry: RetryPolicy) -> Self {
        Self { options: self.options.with_retry_policy(retry), ..self }
    }

    /// How saves are retried after a version conflict. Default: 16 saves within 10 s.
    pub fn conflict_policy(self, conflict: ConflictPolicy) -> Self {
        Self { options: self.options.with_conflict_policy(conflict), ..self }
    }

    /// How the SDK waits for summaries. Default: long-polls of 20 s, 180 s in total.
    pub fn polling_policy(self, polling: PollingPolicy) -> Self {
        Self { options: self.options.with_polling_policy(polling), ..self }
    }

    /// The timeout of one attempt of a request. Default 15 s, of which connecting may take 5 s.
    pub fn attempt_timeout(self, attempt_timeout: Duration) -> Self {
        Self { options: self.options.with_attempt_timeout(attempt_timeout), ..self }
    }

    /// The timeout of all attempts of a request together. Default 60 s.
    pub fn call_timeout(self, call_timeout: Duration) -> Self {
        Self { options: self.options.with_call_timeout(call_timeout), ..self }
    }

    /// Bounds the retries of this client and its clones. Default: a separate budget with 500 tokens.
    /// Pass a clone of another client's budget to share it.
    pub fn retry_budget(self, budget: RetryBudget) -> Self {
        Self { budget, ..self }
    }

    /// The `User-Agent` header. Default `shiori-sdk/` and the version.
    pub fn user_agent(self, user_agent: impl Into<String>) -> Self {
        Self { user_agent: user_agent.into(), ..self }
    }

    /// The language of the server's messages, for example `ko` or `en`. Default: the server's
    /// default.
    pub fn accept_language(self, language: impl Into<String>) -> Self {
        Self { accept_language: Some(language.into()), ..self }
    }

    /// Headers to add to every request, for example for a gateway. Default: none.
    pub fn headers(mut self, headers: ExtraHeaders) -> Self {
        self.options.headers = headers;
        self
    }

    /// Adds a hook that is called for every attempt of a request.
    pub fn hook(self, hook: impl RequestHook + 'static) -> Self {
        Self { options: self.options.with_hook(Arc::new(hook)), ..self }
    }

    /// Stores the session, so that it survives restarts. Default: no store. The client loads the
    /// stored session when it is built.
    pub fn token_store(self, store: impl TokenStore + 'static) -> Self {
        Self { token_store: Some(Arc::new(store)), ..self }
    }

    /// Uses this HTTP client, for example with a proxy or root certificates. It should neither
    /// follow redirects, which would send the token to another server, nor retry requests.
    ///
    /// Not covered by semantic versioning: it changes with the major version of reqwest.
    #[cfg(feature = "unstable-reqwest")]
    pub fn reqwest_client(self, http: reqwest::Client) -> Self {
        Self { http: Some(http), ..self }
    }

    /// Builds the client.
    ///
    /// # Errors
    ///
    /// [`Error`] of kind [`ErrorKind::Config`] if the base URL is not an `http` or `https` URL, if
    /// it is `https` and the crate was built without TLS, or if a header value is invalid;
    /// [`ErrorKind::TokenStore`] if the stored session cannot be loaded.
    pub fn build(self) -> Result<Client> {
        let base_url = parse_base_url(&self.base_url)?;
        let headers = self.own_headers()?;
        let http = match self.http {
            Some(http) => http,
            None => reqwest::Client::builder()
                .connect_timeout(CONNECT_TIMEOUT.min(self.options.attempt_timeout))
                // A redirect would send the token to another server.
                .redirect(reqwest::redirect::Policy::none())
                // The transport retries.
                .retry(reqwest::retry::never())
                .tcp_nodelay(true)
                .build()
                .map_err(|error| Error::new(ErrorKind::Config).with_source(error.without_url()))?,
        };
        let transport = Transport { http, base_url, headers, budget: self.budget };
        let options = Arc::new(self.options);
        let session = Session::new(transport, options.clone(), self.token_store)?;
        Ok(Client { session: Arc::new(session), options })
    }

    /// The headers of every request that have a setter of their own.
    fn own_headers(&self) -> Result<HeaderMap> {
        let value = |text: &str, reason: &'static str| {
            HeaderValue::from_str(text).map_err(|_| config(reason))
        };
        let mut headers = HeaderMap::new();
        let user_agent = value(&self.user_agent, "the user agent is not a valid header value")?;
        headers.insert(USER_AGENT, user_agent);
        if let Some(language) = &self.accept_language {
            let language = value(language, "the language is not a valid header value")?;
            headers.insert(ACCEPT_LANGUAGE, language);
        }
        Ok(headers)
    }
}

fn parse_base_url(url: &str) -> Result<Url> {
    let base_url = Url::parse(url).map_err(|_| config("the base URL is not a URL"))?;
    if !base_url.username().is_empty() || base_url.password().is_some() {
        return Err(config("the base URL must not contain credentials"));
    }
    match base_url.scheme() {
        "http" => Ok(base_url),
        "https" if cfg!(any(feature = "rustls", feature = "native-tls")) => Ok(base_url),
        "https" => Err(config("https needs the feature `rustls` or `native-tls`")),
        _ => Err(config("the base URL is neither http nor https")),
    }
}

fn config(reason: &'static str) -> Error {
    Error::new(ErrorKind::Config).with_source(reason)
}
