use std::{fmt, time::Duration};

use reqwest::{
    Response, StatusCode, Url,
    header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER},
};
use serde::{Serialize, de::DeserializeOwned};
use shiori_sdk::{Envelope, ErrorCode, SummaryId};

use crate::protocol::{Claim, ClaimRequest, Failure, Heartbeat, LeaseToken, SummaryResult};

/// Bytes of an answer: a week of seven diaries of a megabyte each, and some air.
const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// The server's internal API, as a worker calls it. Each call is one attempt; when to try again is
/// the caller's to know.
#[derive(Clone)]
pub struct ServerApi {
    http: reqwest::Client,
    base: Url,
}

/// A call failed. It shows neither text nor token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerApiError {
    /// The base URL is not an `http` or `https` URL, or holds a user name or password, or no
    /// client can be made.
    #[error("the server's URL cannot be used")]
    InvalidUrl,
    /// The service token has characters that no header may have, such as a line feed.
    #[error("the service token cannot be sent")]
    InvalidToken,
    /// The summary is leased, has ended, or is not due.
    #[error("the summary cannot be claimed")]
    NotClaimable,
    /// The lease has run out or been given to another worker.
    #[error("the lease is lost")]
    LeaseLost,
    /// The server refuses the call, and would again.
    #[error("the server refused the call: {code}")]
    Refused {
        /// Why.
        code: ErrorCode,
    },
    /// The server was not reached, or could not answer; another try may succeed.
    #[error("the server does not answer")]
    Unavailable {
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
}

impl ServerApi {
    /// Calls the server at this base URL with this service token.
    ///
    /// # Errors
    ///
    /// [`ServerApiError::InvalidUrl`] when the URL is none, and [`ServerApiError::InvalidToken`]
    /// when the token cannot be sent.
    pub fn new(base_url: &str, service_token: &str) -> Result<Self, ServerApiError> {
        let base = Url::parse(base_url).map_err(|_| ServerApiError::InvalidUrl)?;
        // Credentials in the URL would be sent beside the token, and shown by `Debug`.
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
            .timeout(Duration::from_secs(15))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|_| ServerApiError::InvalidUrl)?;
        Ok(Self { http, base })
    }

    /// Asks for the lease of a summary, under this token; with the same it may be asked again.
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
        let body = ClaimRequest { worker_id: worker_id.to_owned(), lease_token: Some(token) };
        let claim = self.post(&format!("/api/internal/summaries/{id}/claim"), &body).await?;
        claim.ok_or(ServerApiError::Unavailable { retry_after: None })
    }

    /// Extends the lease.
    ///
    /// # Errors
    ///
    /// [`ServerApiError`].
    pub async fn heartbeat(&self, id: SummaryId, beat: &Heartbeat) -> Result<(), ServerApiError> {
        let path = format!("/api/internal/summaries/{id}/heartbeat");
        self.post::<()>(&path, beat).await.map(drop)
    }

    /// Hands over a result.
    ///
    /// # Errors
    ///
    /// [`ServerApiError`].
    pub async fn result(&self, result: &SummaryResult) -> Result<(), ServerApiError> {
        self.post::<()>("/api/internal/summarize/result", result).await.map(drop)
    }

    /// Gives a summary back.
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
        let unavailable = |_| ServerApiError::Unavailable { retry_after: None };
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        let request = self.http.post(url).json(body);
        let response = request.send().await.map_err(unavailable)?;
        let status = response.status();
        let retry_after = retry_after(&response);
        let answer = read(response).await.ok_or(ServerApiError::Unavailable { retry_after })?;
        if status.is_success() {
            let envelope: Envelope<T> = serde_json::from_slice(&answer)
                .map_err(|_| ServerApiError::Unavailable { retry_after: None })?;
            return Ok(envelope.data);
        }
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(ServerApiError::Unavailable { retry_after });
        }
        let envelope: Result<Envelope<serde::de::IgnoredAny>, _> = serde_json::from_slice(&answer);
        match envelope.ok().and_then(|envelope| envelope.error) {
            Some(ErrorCode::NotClaimable) => Err(ServerApiError::NotClaimable),
            Some(ErrorCode::LeaseLost) => Err(ServerApiError::LeaseLost),
            Some(code) => Err(ServerApiError::Refused { code }),
            // Not our server's answer: a proxy's, perhaps.
            None => Err(ServerApiError::Unavailable { retry_after }),
        }
    }
}

/// The whole body, unless it is cut off or too large.
async fn read(mut response: Response) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    Some(body)
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

impl fmt::Debug for ServerApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerApi").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}
