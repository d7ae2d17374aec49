//! The options of a call.

use std::{sync::Arc, time::Duration};

use uuid::Uuid;

use super::{
    error::Result,
    hook::{ExtraHeaders, Hooks, RequestHook},
    retry::{ConflictPolicy, PollingPolicy, RetryPolicy},
};

/// The options of a client's calls: timeouts and policies. [`Client::builder`](crate::Client::builder)
/// sets them for all calls, [`Client::with_options`](crate::Client::with_options) for some.
///
/// ```no_run
/// # async fn example(client: shiori_sdk::Client, date: shiori_sdk::Date) -> shiori_sdk::Result<()> {
/// use std::time::Duration;
///
/// // This call times out after two seconds. Other calls keep the client's options.
/// let options = client.options().clone().with_call_timeout(Duration::from_secs(2));
/// let diary = client.with_options(options).diaries().get(date).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallOptions {
    /// How failed requests are retried. Default: 3 attempts.
    pub retry: RetryPolicy,
    /// How saves are retried after a version conflict. Default: 16 saves within 10 s.
    pub conflict: ConflictPolicy,
    /// How the SDK waits for summaries. Default: long-polls of 20 s, 180 s in total.
    pub polling: PollingPolicy,
    /// The timeout of one attempt of a request. Default 15 s.
    pub attempt_timeout: Duration,
    /// The timeout of all attempts of a request together. Default 60 s.
    pub call_timeout: Duration,
    /// The `x-request-id` of the requests, for the server's log: printable ASCII, at most 128
    /// characters. Default: a new id for every attempt.
    pub request_id: Option<String>,
    /// Headers to add to every request. Default: none.
    pub headers: ExtraHeaders,
    pub(super) hooks: Hooks,
    /// If set, only the session of this login is used; calls fail when it has ended.
    pub(crate) only_login: Option<Uuid>,
}

impl Default for CallOptions {
    fn default() -> Self {
        Self {
            retry: RetryPolicy::default(),
            conflict: ConflictPolicy::default(),
            polling: PollingPolicy::default(),
            attempt_timeout: Duration::from_secs(15),
            call_timeout: Duration::from_secs(60),
            request_id: None,
            headers: ExtraHeaders::default(),
            hooks: Hooks::default(),
            only_login: None,
        }
    }
}

impl CallOptions {
    /// The same options with another retry policy.
    pub fn with_retry_policy(self, retry: RetryPolicy) -> Self {
        Self { retry, ..self }
    }

    /// The same options with another conflict policy.
    pub fn with_conflict_policy(self, conflict: ConflictPolicy) -> Self {
        Self { conflict, ..self }
    }

    /// The same options with another polling policy.
    pub fn with_polling_policy(self, polling: PollingPolicy) -> Self {
        Self { polling, ..self }
    }

    /// The same options with another timeout of one attempt.
    pub fn with_attempt_timeout(self, attempt_timeout: Duration) -> Self {
        Self { attempt_timeout, ..self }
    }

    /// The same options with another timeout of all attempts together.
    pub fn with_call_timeout(self, call_timeout: Duration) -> Self {
        Self { call_timeout, ..self }
    }

    /// The same options with this request id.
    pub fn with_request_id(self, request_id: impl Into<String>) -> Self {
        Self { request_id: Some(request_id.into()), ..self }
    }

    /// The same options with another header that is added to every request, for example for a gateway.
    ///
    /// # Errors
    ///
    /// As [`ExtraHeaders::insert`].
    pub fn with_header(mut self, name: &str, value: &str) -> Result<Self> {
        self.headers.insert(name, value)?;
        Ok(self)
    }

    /// The same options with another hook, which is called after those that are there already.
    pub fn with_hook(mut self, hook: Arc<dyn RequestHook>) -> Self {
        self.hooks.push(hook);
        self
    }
}
