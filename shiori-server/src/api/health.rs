//! Liveness, readiness and metrics.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header::CONTENT_TYPE};
use serde::Serialize;
use shiori_sdk::{Envelope, ErrorCode};
use tokio::time::timeout;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{Object, OneOfBuilder, Ref, RefOr, Schema, schema::Type},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    error::ApiError,
    openapi::{Done, Success, error_with_data, errors},
    reply::{Message, Reply},
};
use crate::{app::App, store::StoreError};

/// The timeout of each check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// The route of the liveness check.
pub(super) fn liveness() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(healthz))
}

/// Routes for operators.
pub(super) fn inspection() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(readyz)).routes(routes!(metrics))
}

type ReadinessResponse = Success<Readiness>;

errors!(OperationErrors: ANY);

/// Check that the server is running.
#[utoipa::path(
    get, path = "/healthz", tag = "operations",
    responses(
        (status = 200, description = "The server is running.", body = Done,
         example = json!({"code": 200, "message": "The server is running.", "data": null})),
        OperationErrors,
    )
)]
async fn healthz() -> Reply<()> {
    Reply::done(Message { ko: "실행 중입니다.", en: "The server is running." })
}

/// Check that the server can handle requests.
///
/// Checks every store and the queue.
#[utoipa::path(
    get, path = "/readyz", tag = "operations",
    responses(
        (status = 200, description = "All stores and the queue are available.", body = ReadinessResponse, example = json!({
            "code": 200, "message": "Ready.",
            "data": {"accounts": "ok", "sessions": "ok", "diaries": "ok", "summaries": "ok", "queue": "ok"},
        })),
        OperationErrors,
        (status = 503, description = "A store or the queue is unavailable, or the server is stopping.", body = NotReady, example = json!({
            "code": 503, "message": "Not ready.",
            "data": {"accounts": "ok", "sessions": "ok", "diaries": "unavailable", "summaries": "ok", "queue": "ok"},
            "error": "unavailable",
        })),
    )
)]
async fn readyz(State(app): State<App>) -> Response {
    async fn is_available(ping: impl Future<Output = Result<(), StoreError>>) -> bool {
        matches!(timeout(CHECK_TIMEOUT, ping).await, Ok(Ok(())))
    }
    let (accounts, sessions, diaries, summaries) = tokio::join!(
        is_available(app.accounts.ping()),
        is_available(app.sessions.ping()),
        is_available(app.diaries.ping()),
        is_available(app.summaries.ping()),
    );
    let queue = matches!(timeout(CHECK_TIMEOUT, app.summaries.queue_depth()).await, Ok(Ok(_)));
    let data = Readiness {
        accounts: accounts.into(),
        sessions: sessions.into(),
        diaries: diaries.into(),
        summaries: summaries.into(),
        queue: queue.into(),
    };
    let are_available = accounts && sessions && diaries && summaries && queue;
    let is_ready = are_available && !app.stopping.is_cancelled();
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let message = if is_ready {
        Message { ko: "준비되었습니다.", en: "Ready." }
    } else {
        Message { ko: "준비되지 않았습니다.", en: "Not ready." }
    };
    let envelope = Envelope {
        code: status.as_u16(),
        message: message.text(),
        data: Some(data),
        error: (!is_ready).then_some(ErrorCode::Unavailable),
    };
    (status, Json(envelope)).into_response()
}

/// The availability of the stores and the queue.
#[derive(Debug, Serialize, ToSchema)]
struct Readiness {
    accounts: Availability,
    sessions: Availability,
    diaries: Availability,
    summaries: Availability,
    queue: Availability,
}

/// Whether a store or the queue is available.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Availability {
    Ok,
    Unavailable,
}

impl From<bool> for Availability {
    fn from(is_available: bool) -> Self {
        if is_available { Self::Ok } else { Self::Unavailable }
    }
}

/// Describes a 503 of `/readyz`.
struct NotReady;

impl PartialSchema for NotReady {
    fn schema() -> RefOr<Schema> {
        // Null if the check itself exceeded the time limit of requests.
        let readiness = Ref::from_schema_name(Readiness::name());
        let data = OneOfBuilder::new().item(readiness).item(Object::with_type(Type::Null));
        error_with_data(&ErrorCode::Unavailable, data.into()).into()
    }
}

impl ToSchema for NotReady {}

/// Metrics for Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "operations",
    responses(
        (status = 200, description = "The metrics, in the OpenMetrics text format.", body = String,
         content_type = "application/openmetrics-text", example = json!("# EOF\n")),
        OperationErrors,
    )
)]
async fn metrics(State(app): State<App>) -> Response {
    if app.metrics.backlog().is_due() {
        app.summaries.read_backlog(CHECK_TIMEOUT).await;
    }
    match app.metrics.encode(app.summaries.now()) {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => ApiError::new(ErrorCode::Internal).into_response(),
    }
}
