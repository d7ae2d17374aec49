//! The HTTP API.

mod account;
mod caller;
mod diary;
mod error;
mod extract;
mod health;
mod internal;
mod language;
mod reply;
mod session;
mod summary;

use std::time::{Duration, Instant};

use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderName, HeaderValue, Method};
use shiori_sdk::ErrorCode;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use self::error::ApiError;
use crate::app::App;

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

#[derive(OpenApi)]
#[openapi(
    info(title = "Shiori", description = "A diary whose saves never lose text, and weekly AI summaries that never make anyone wait."),
    modifiers(&BearerToken)
)]
struct Description;

struct BearerToken;

impl utoipa::Modify for BearerToken {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("access_token", SecurityScheme::Http(scheme));
    }
}

/// Every public route; the internal ones too, unless they have a listener of their own.
pub(crate) fn public(app: &App, with_internal: bool) -> Router {
    let (routes, openapi) = OpenApiRouter::with_openapi(Description::openapi())
        .merge(account::routes())
        .merge(session::routes())
        .merge(diary::routes())
        .merge(summary::routes())
        .split_for_parts();
    let document = openapi.to_json().unwrap_or_default();
    let json = [(http::header::CONTENT_TYPE, "application/json")];
    let mut router = routes
        .merge(health::routes())
        .route("/api/openapi.json", get(move || async move { (json, document) }));
    if with_internal {
        router = router.merge(internal::routes(app));
    }
    #[cfg(feature = "docs-ui")]
    let router = router.merge(
        utoipa_swagger_ui::SwaggerUi::new("/docs")
            .config(utoipa_swagger_ui::Config::from("/api/openapi.json")),
    );
    dress(router, app)
}

/// The internal routes alone.
pub(crate) fn internal_only(app: &App) -> Router {
    dress(internal::routes(app), app)
}

/// What surrounds every route.
fn dress(router: Router<App>, app: &App) -> Router {
    router
        .fallback(|| async { ApiError::new(ErrorCode::NotFound) })
        .method_not_allowed_fallback(|| async { ApiError::new(ErrorCode::MethodNotAllowed) })
        .layer(DefaultBodyLimit::max(app.limits.body_bytes))
        .layer(CatchPanicLayer::custom(|_| ApiError::new(ErrorCode::Internal).into_response()))
        .layer(middleware::from_fn_with_state(app.clone(), bound_time))
        .layer(middleware::from_fn(language::negotiate))
        .layer(middleware::from_fn_with_state(app.clone(), observe))
        .with_state(app.clone())
}

/// Answers 503 when a request takes too long. Those that wait by design bound themselves: the
/// event stream answers with its head at once, the long-poll is given its wait on top.
async fn bound_time(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut limit = app.limits.request_time;
    if request.uri().query().is_some_and(|query| query.contains("wait=")) {
        limit += app.limits.wait;
    }
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::new(ErrorCode::Unavailable)
            .with_retry_after(Duration::from_secs(1))
            .into_response(),
    }
}

/// Gives the request its id, logs it and counts it. Of the request nothing is logged but method,
/// route and id: no query, no header, no body.
async fn observe(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let id = request_id(&request);
    let method = known(request.method());
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or("unmatched", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!("request", request_id = %id.to_str().unwrap_or_default(), method, route);
    request.headers_mut().insert(X_REQUEST_ID.clone(), id.clone());
    let started = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let (status, took) = (response.status().as_u16(), started.elapsed());
    app.metrics.request(method, &route, status, took);
    span.in_scope(|| tracing::info!(status, ?took, "answered"));
    response.headers_mut().insert(X_REQUEST_ID.clone(), id);
    response
}

/// The caller's id of the request if it is fit for a log line, else a new one.
fn request_id(request: &Request) -> HeaderValue {
    const MAX_BYTES: usize = 128;
    let fit = |value: &&HeaderValue| {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
        !value.is_empty() && value.len() <= MAX_BYTES && value.as_bytes().iter().all(plain)
    };
    request.headers().get(&X_REQUEST_ID).filter(fit).cloned().unwrap_or_else(|| {
        let id = uuid::Uuid::new_v4().to_string();
        HeaderValue::from_str(&id).unwrap_or_else(|_| unreachable!("a UUID is plain ASCII"))
    })
}

/// The method's name, from a bounded set: anybody can invent methods, but not metrics.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}
