use std::{fmt, time::Duration};

use async_trait::async_trait;
use reqwest::{
    Response, StatusCode, Url,
    header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER},
};
use serde::{Serialize, de::DeserializeOwned};
use shiori_sdk::{Envelope, ErrorCode, SummaryId, backoff::parse_retry_after};

use crate::{
    Clock, SystemClock,
    protocol::{
        Claim, ClaimRequest, Failure, Heartbeat, LeaseToken, Overdue, OverdueRequest, SummaryResult,
    },
};

/// Maximum size of a response body. A claim has up to seven diaries of at most 1 MiB each.
const MAX_RESPONSE_BYTES: usize = 32 * 1024 * 1024;

/// The timeout of most calls.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The timeout of a claim. It is short because the hint is not available to other workers while a
/// worker waits for its server.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(3);

/// Client of the server's internal API. Each call sends one request and does not retry.
#[derive(Clone)]
pub struct ServerApi {
    http: reqwest::Client,
    base: Url,
}

/// The calls of a worker to its server. [`ServerApi`] sends them over HTTP.
#[async_trait]
pub trait ServerCalls: Send + Sync + fmt::Debug {
    /// As [`ServerApi::check`].
    ///
    /// # Errors
    ///
    /// [`ServerApiError`].
    async fn check(&self) -> Result<(), ServerApiError>;

    /// As [`ServerApi::claim_with`].
    ///
    /// # Errors
    ///
    /// [`ServerApiError`].
    async fn claim(&self, id: SummaryId, request: &ClaimRequest) -> Result<Claim, ServerApiError>;

    /// As [`ServerApi::overdue`].
    ///
    /// # Errors
    ///
    /// [`ServerApiError`].
    async fn overdue(
        &self,
        request: &OverdueRequest,
    ) -> Result<Option<Vec<SummaryId>>, ServerApiError>;

    /// As [`ServerApi::heartbeat`].
    ///
    /// # Errors
    ///
    /// [`ServerApiError`].
    async fn heartbeat(&self, id: SummaryId, beat: &Heartbeat) -> Result<(), ServerApiError>;

    /// As [`ServerApi::result`].
    ///
    /// # Errors
    ///
    /// [`ServerApiError`].
    async fn result(&self, result: &SummaryResult) -> Result<(), ServerApiError>;

    /// As [`ServerApi::failure`].
    ///
    /// # Errors
    ///
    /// [`ServerApiError`].
    async fn failure(&self, id: SummaryId, failure: &Failure) -> Result<(), ServerApiError>;
}

/// A call failed. Neither diary text nor a token is shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerApiError {
    /// The base URL is not an `http` or `https` URL or contains a user name or password, or the HTTP
    /// client cannot be created.
    #[error("invalid server URL")]
    InvalidUrl,
    /// The service token contains characters that are not allowed in a header, such as a line feed.
    #[error("invalid service token")]
    InvalidToken,
    /// The summary has a lease or a final status, or is not due yet.
    #[error("the summary cannot be claimed")]
    NotClaimable,
    /// The lease has expired, or another worker has claimed the summary.
    #[error("the lease is lost")]
    LeaseLost,
    /// The server rejected the request; it is not retryable.
    #[error("the server rejected the request: {code}")]
    Refused {
        /// The error code of the response.
        code: ErrorCode,
    },
    /// The server is unreachable or its response is invalid; the request is retryable.
    #[error("the server is unavailable")]
    Unavailable {
        /// The value of its `Retry-After` header, at most 24 hours.
        retry_after: Option<Duration>,
    },
}

impl ServerApiError {
    /// Whether the server rejected the service token.
    pub fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Refused { code: ErrorCode::Unauthorized })
    }
}

impl ServerApi {
    /// A client for the server at this base URL, authenticated by this service token.
    ///
    /// # Errors
    ///
    /// [`ServerApiError::InvalidUrl`] or [`ServerApiError::InvalidToken`].
    pub fn new(base_url: &str, service_token: &str) -> Result<Self, ServerApiError> {
        let base = Url::parse(base_url).map_err(|_| ServerApiError::InvalidUrl)?;
        // Credentials in the URL would conflict with the token, and `Debug` would show them.
        let has_credentials = !base.username().is_empty() || base.password().is_some();
        if !matches!(base.scheme(), "http" | "https") || has_credentials {
            return Err(ServerApiError::InvalidUrl);
        }
        let mut bearer = HeaderValue::try_from(format!("Bearer {service_token}"))
            .map_err(|_| ServerApiError::InvalidToken)?;
        bearer.set_sensitive(true);
        let http = reqwest::Client::builder()
            .default_headers(HeaderMap::from_iter([(AUTHORIZATION, bearer)]))
            .connect_timeout(Duration::from_secs(5))
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|_| ServerApiError::InvalidUrl)?;
        Ok(Self { http, base })
    }

    /// Claims the lease of a summary under this token. Idempotent for the same token.
    ///
    /// # Errors
    ///
    /// [`ServerApiError`].
    pub async fn claim(
        &self,
        id: SummaryId,
        worker_id: &str,
        token: LeaseToken,
    ) -> Result<Claim, ServerApiError> {
        let worker_id = worker_id.to_owned();
        let request = ClaimRequest { worker_id, lease_token: Some(token), patience_ms: None };
        self.claim_with(id, &request).await
    }

    /// Claims the lease of a summary with this request.
    ///
    /// # Errors
    ///
    /// [`ServerApiError`].
    pub async fn claim_with(
        &self,
        id: SummaryId,
        request: &ClaimRequest,
    ) -> Result<Claim, ServerApiError> {
        let path = format!("/api/internal/summaries/{id}/claim");
        let claim = self.post_within(CLAIM_TIMEOUT, &path, request).await?;
        claim.ok_or(ServerApiError::Unavailable { retry_after: None })
    }

    /// The summaries that have waited longer than the patience. `None` if the server does not
    /// support this request, because it counts every attempt.
    ///
    /// # Errors
    ///
    /// [`ServerApiError`].
    pub async fn overdue(
        &self,
        request: &OverdueRequest,
    ) -> Result<Option<Vec<SummaryId>>, ServerApiError> {
        match self.post::<Overdue>("/api/internal/summaries/overdue", request).await {
            Ok(Some(overdue)) => Ok(Some(overdue.ids)),
            Ok(None) | Err(ServerApiError::Refused { code: ErrorCode::NotFound }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Checks that the server responds and accepts the service token.
    ///
    /// # Errors
    ///
    /// [`ServerApiError`].
    pub async fn check(&self) -> Result<(), ServerApiError> {
        match self.post_within::<()>(CLAIM_TIMEOUT, "/api/internal/check", &()).await {
            Ok(_) | Err(ServerApiError::Refused { code: ErrorCode::NotFound }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Extends the lease.
    ///
    /// # Errors
    ///
    /// [`ServerApiError`].
    pub async fn heartbeat(
        &self,
        id: SummaryId,
        heartbeat: &Heartbeat,
    ) -> Result<(), ServerApiError> {
        let path = format!("/api/internal/summaries/{id}/heartbeat");
        self.post::<()>(&path, heartbeat).await.map(drop)
    }

    /// Submits a result. Idempotent.
    ///
    /// # Errors
    ///
    /// [`ServerApiError`].
    pub async fn result(&self, result: &SummaryResult) -> Result<(), ServerApiError> {
        self.post::<()>("/api/internal/summarize/result", result).await.map(drop)
    }

    /// Reports a failure and releases the lease. Idempotent.
    ///
    /// # Errors
    ///
    /// [`ServerApiError`].
    pub async fn failure(&self, id: SummaryId, failure: &Failure) -> Result<(), ServerApiError> {
        let path = format!("/api/internal/summaries/{id}/failure");
        self.post::<()>(&path, failure).await.map(drop)
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Option<T>, ServerApiError> {
        self.post_within(TIMEOUT, path, body).await
    }

    async fn post_within<T: DeserializeOwned>(
        &self,
        timeout: Duration,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Option<T>, ServerApiError> {
        let unavailable = |_| ServerApiError::Unavailable { retry_after: None };
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        let request = self.http.post(url).timeout(timeout).json(body);
        let response = request.send().await.map_err(unavailable)?;
        let status = response.status();
        let retry_after = retry_after(&response);
        let body = read_body(response).await.ok_or(ServerApiError::Unavailable { retry_after })?;
        if status.is_success() {
            let envelope: Envelope<T> = serde_json::from_slice(&body)
                .map_err(|_| ServerApiError::Unavailable { retry_after: None })?;
            return Ok(envelope.data);
        }
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(ServerApiError::Unavailable { retry_after });
        }
        let envelope: Result<Envelope<serde::de::IgnoredAny>, _> = serde_json::from_slice(&body);
        match envelope.ok().and_then(|envelope| envelope.error) {
            Some(ErrorCode::NotClaimable) => Err(ServerApiError::NotClaimable),
            Some(ErrorCode::LeaseLost) => Err(ServerApiError::LeaseLost),
            Some(code) => Err(ServerApiError::Refused { code }),
            // The response may come from a proxy that checks the token.
            None if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Err(ServerApiError::Refused { code: ErrorCode::Unauthorized })
            }
            // Without an envelope, the response may come from a proxy.
            None => Err(ServerApiError::Unavailable { retry_after }),
        }
    }
}

#[async_trait]
impl ServerCalls for ServerApi {
    async fn check(&self) -> Result<(), ServerApiError> {
        self.check().await
    }

    async fn claim(&self, id: SummaryId, request: &ClaimRequest) -> Result<Claim, ServerApiError> {
        self.claim_with(id, request).await
    }

    async fn overdue(
        &self,
        request: &OverdueRequest,
    ) -> Result<Option<Vec<SummaryId>>, ServerApiError> {
        self.overdue(request).await
    }

    async fn heartbeat(&self, id: SummaryId, beat: &Heartbeat) -> Result<(), ServerApiError> {
        self.heartbeat(id, beat).await
    }

    async fn result(&self, result: &SummaryResult) -> Result<(), ServerApiError> {
        self.result(result).await
    }

    async fn failure(&self, id: SummaryId, failure: &Failure) -> Result<(), ServerApiError> {
        self.failure(id, failure).await
    }
}

/// The whole body; `None` if the connection breaks or the body is too large.
async fn read_body(mut response: Response) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        if body.len() + chunk.len() > MAX_RESPONSE_BYTES {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    Some(body)
}

fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    parse_retry_after(value, SystemClock.now())
}

impl fmt::Debug for ServerApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerApi").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}
