use std::time::Duration;

use crate::{ConflictPolicy, PollingPolicy, RetryPolicy};

/// How the calls of a client are made: times, repetitions, waiting. A [`Client`](crate::Client) is
/// built with its own; [`Client::with_options`](crate::Client::with_options) makes single calls with
/// others.
///
/// ```no_run
/// # async fn example(client: shiori_sdk::Client, date: shiori_sdk::Date) -> shiori_sdk::Result<()> {
/// use std::time::Duration;
///
/// // This one call gives up after two seconds, whatever the client is set to.
/// let hurried = client.options().clone().with_call_timeout(Duration::from_secs(2));
/// let diary = client.with_options(hurried).diaries().get(date).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallOptions {
    /// How requests are repeated. Default: 3 attempts.
    pub retry: RetryPolicy,
    /// How saves that met a conflict are repeated. Default: 16 saves within 10 s.
    pub conflict: ConflictPolicy,
    /// How summaries are waited for. Default: long-polls of 20 s, for 180 s in all.
    pub polling: PollingPolicy,
    /// How long one attempt of a request may take. Default 15 s.
    pub attempt_timeout: Duration,
    /// How long all attempts of a request may take together. Default 60 s.
    pub call_timeout: Duration,
    /// What the requests are called in the server's log, as `x-request-id`: printable ASCII, at
    /// most 128 characters. Default: a new id for every attempt.
    pub request_id: Option<String>,
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

    /// The same options with another limit on one attempt.
    pub fn with_attempt_timeout(self, attempt_timeout: Duration) -> Self {
        Self { attempt_timeout, ..self }
    }

    /// The same options with another limit on all attempts of a request.
    pub fn with_call_timeout(self, call_timeout: Duration) -> Self {
        Self { call_timeout, ..self }
    }

    /// The same options with a name for the requests.
    pub fn with_request_id(self, request_id: impl Into<String>) -> Self {
        Self { request_id: Some(request_id.into()), ..self }
    }
}
