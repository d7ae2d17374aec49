//! Liveness, readiness and metrics.

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header::CONTENT_TYPE};
use serde_json::{Map, Value, json};
use shiori_sdk::{Envelope, ErrorCode};
use std::time::Duration;
use tokio::time::timeout;

use super::reply::Message;
use crate::{app::App, store::StoreError};

/// The time-out of each check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether the process runs.
pub(super) fn liveness() -> Router<App> {
    Router::new().route("/healthz", get(healthz))
}

/// What only operators need to see.
pub(super) fn inspection() -> Router<App> {
    Router::new().route("/readyz", get(readyz)).route("/metrics", get(metrics))
}

async fn healthz() -> Json<Envelope<()>> {
    let message = Message { ko: "살아 있습니다.", en: "Alive." }.text();
    Json(Envelope { code: 200, message, data: None, error: None })
}

/// Checks every store and the queue.
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
    let stores = [
        ("accounts", accounts),
        ("sessions", sessions),
        ("diaries", diaries),
        ("summaries", summaries),
        ("queue", queue),
    ];
    let ready = stores.iter().all(|(_, available)| *available) && !app.stopping.is_cancelled();
    let label = |available| json!(if available { "ok" } else { "unavailable" });
    let data: Map<String, Value> =
        stores.into_iter().map(|(name, available)| (name.to_owned(), label(available))).collect();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let message = if ready {
        Message { ko: "준비되었습니다.", en: "Ready." }
    } else {
        Message { ko: "준비되지 않았습니다.", en: "Not ready." }
    };
    let envelope = Envelope {
        code: status.as_u16(),
        message: message.text(),
        data: Some(data),
        error: (!ready).then_some(ErrorCode::Unavailable),
    };
    (status, Json(envelope)).into_response()
}

async fn metrics(State(app): State<App>) -> Response {
    if let Ok(depth) = app.summaries.queue_depth().await {
        app.metrics.queue_depth(depth);
    }
    match app.metrics.encode() {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
