//! The internal API, for workers.

use std::{collections::HashSet, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::post,
};
use shiori_sdk::{Date, ErrorCode, SummaryFailure, SummaryId, Week, backoff::MAX_RETRY_AFTER};
use shiori_worker::protocol::{
    Claim, ClaimRequest, Failure, Heartbeat, LeaseToken, MAX_ENGINE_CHARS, MAX_MESSAGE_CHARS,
    MAX_REFLECTION_CHARS, MAX_WORKER_ID_CHARS, Overdue, OverdueRequest, SummaryResult,
};

use super::{
    caller::bearer,
    error::ApiError,
    extract::{Body, IdInPath},
    reply::{Message, Reply},
};
use crate::{app::App, secrets::matches, summary::AttemptFailure};

/// Maximum bytes of a body; results are small.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// Maximum number of overdue summaries in a response.
const MAX_OVERDUE: usize = 100;

const DONE: Message = Message { ko: "처리했습니다.", en: "Done." };

pub(super) fn routes(app: &App) -> Router<App> {
    Router::new()
        .route("/api/internal/check", post(check))
        .route("/api/internal/summaries/overdue", post(overdue))
        .route("/api/internal/summaries/{id}/claim", post(claim))
        .route("/api/internal/summaries/{id}/heartbeat", post(heartbeat))
        .route("/api/internal/summaries/{id}/failure", post(failure))
        .route("/api/internal/summarize/result", post(result))
        // Unknown paths require the token, too, so that a client cannot probe which paths exist.
        .route("/api/internal/{*rest}", axum::routing::any(not_found))
        .method_not_allowed_fallback(|| async { ApiError::new(ErrorCode::MethodNotAllowed) })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(app.clone(), authorize))
}

/// Rejects requests without the service token.
async fn authorize(State(app): State<App>, request: Request, next: Next) -> Response {
    match bearer(request.headers()) {
        Some(token) if app.internal_tokens.iter().any(|valid| matches(valid, token)) => {
            next.run(request).await
        }
        Some(_) => ApiError::invalid_token(ErrorCode::Unauthorized).into_response(),
        None => ApiError::new(ErrorCode::Unauthorized).into_response(),
    }
}

async fn not_found() -> ApiError {
    ApiError::new(ErrorCode::NotFound)
}

async fn claim(
    State(app): State<App>,
    IdInPath(id): IdInPath<SummaryId>,
    Body(body): Body<ClaimRequest>,
) -> Result<Reply<Claim>, ApiError> {
    if body.worker_id.chars().count() > MAX_WORKER_ID_CHARS {
        return Err(ApiError::invalid_field("worker_id", "at most 128 characters"));
    }
    let token = body.lease_token.unwrap_or_else(LeaseToken::new);
    let patience = body.patience_ms.map(patience);
    Ok(Reply::ok(DONE, app.summaries.claim(id, &body.worker_id, token, patience).await?))
}

/// A worker checks its server and its token before it takes hints.
async fn check() -> Reply<()> {
    Reply::done(DONE)
}

async fn overdue(
    State(app): State<App>,
    Body(body): Body<OverdueRequest>,
) -> Result<Reply<Overdue>, ApiError> {
    let limit = usize::try_from(body.limit).unwrap_or(usize::MAX).min(MAX_OVERDUE);
    let ids = app.summaries.overdue(body.patience_ms.map(patience), limit).await?;
    Ok(Reply::ok(DONE, Overdue { ids }))
}

/// Clamped, because it is subtracted from the clock.
fn patience(millis: u64) -> Duration {
    Duration::from_millis(millis).min(MAX_RETRY_AFTER)
}

async fn heartbeat(
    State(app): State<App>,
    IdInPath(id): IdInPath<SummaryId>,
    Body(body): Body<Heartbeat>,
) -> Result<Reply<()>, ApiError> {
    let chars = body.text.as_ref().map_or(0, |text| text.text.chars().count());
    if chars > MAX_REFLECTION_CHARS {
        return Err(ApiError::invalid_field("text", "at most 4000 characters"));
    }
    app.summaries.heartbeat(id, &body).await?;
    Ok(Reply::done(DONE))
}

async fn failure(
    State(app): State<App>,
    IdInPath(id): IdInPath<SummaryId>,
    Body(body): Body<Failure>,
) -> Result<Reply<()>, ApiError> {
    if body.message.chars().count() > MAX_MESSAGE_CHARS {
        return Err(ApiError::invalid_field("message", "at most 500 characters"));
    }
    let failure = AttemptFailure {
        reason: SummaryFailure { kind: body.kind, message: body.message },
        retryable: body.retryable,
        // Clamped, because it is added to the clock.
        retry_after: body
            .retry_after_ms
            .map(|millis| Duration::from_millis(millis).min(MAX_RETRY_AFTER)),
        costs_attempt: body.costs_attempt,
    };
    app.summaries.fail(id, body.lease_token, &failure).await?;
    Ok(Reply::done(DONE))
}

async fn result(
    State(app): State<App>,
    Body(body): Body<SummaryResult>,
) -> Result<Reply<()>, ApiError> {
    validate_result(&body)?;
    app.summaries.complete(body).await?;
    Ok(Reply::done(DONE))
}

/// Checks that a result can be stored and shown.
fn validate_result(result: &SummaryResult) -> Result<(), ApiError> {
    let chars = result.reflection.chars().count();
    if chars == 0 || chars > MAX_REFLECTION_CHARS {
        return Err(ApiError::invalid_field("reflection", "1 to 4000 characters"));
    }
    for (field, engine) in [("engine", &result.engine), ("emotion_engine", &result.emotion_engine)]
    {
        if engine.is_empty() || engine.chars().count() > MAX_ENGINE_CHARS {
            return Err(ApiError::invalid_field(field, "1 to 128 characters"));
        }
    }
    if !is_once_a_day(result.emotion_results.iter().map(|day| day.date)) {
        return Err(ApiError::invalid_field("emotion_results", "one for each day"));
    }
    // Not compared with the emotions, because days with an unknown emotion were omitted.
    if !is_once_a_day(result.truncated.iter().copied()) {
        return Err(ApiError::invalid_field("truncated", "each day once"));
    }
    Ok(())
}

/// Whether no date is repeated and there are at most seven.
fn is_once_a_day(dates: impl Iterator<Item = Date>) -> bool {
    let mut seen = HashSet::new();
    dates.into_iter().all(|date| seen.len() < Week::DAYS && seen.insert(date))
}
