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

/// All public routes, and the internal ones unless they have their own listener.
pub(crate) fn public(app: &App, with_internal: bool) -> Router {
    let request_timeout = app.limits.request_timeout;
    let long_poll_timeout = request_timeout.saturating_add(app.limits.max_wait);
    let (routes, openapi) = OpenApiRouter::with_openapi(Description::openapi())
        .merge(account::routes())
        .merge(session::routes())
        .merge(diary::routes())
        .merge(summary::routes())
        .route_layer(middleware::from_fn_with_state(request_timeout, respond_within))
        .merge(
            summary::long_poll_routes()
                .route_layer(middleware::from_fn_with_state(long_poll_timeout, respond_within)),
        )
        .split_for_parts();
    let document = openapi.to_json().unwrap_or_default();
    let json = [(http::header::CONTENT_TYPE, "application/json")];
    let health = health::routes()
        .route_layer(middleware::from_fn_with_state(request_timeout, respond_within));
    let mut router = routes
        .merge(health)
        .route("/api/openapi.json", get(move || async move { (json, document) }));
    if with_internal {
        router = router.merge(internal(app));
    }
    #[cfg(feature = "docs-ui")]
    let router = router.merge(
        utoipa_swagger_ui::SwaggerUi::new("/docs")
            .config(utoipa_swagger_ui::Config::from("/api/openapi.json")),
    );
    with_layers(router, app)
}

/// Only the internal routes.
pub(crate) fn internal_only(app: &App) -> Router {
    with_layers(internal(app), app)
}

fn internal(app: &App) -> Router<App> {
    let timeout = middleware::from_fn_with_state(app.limits.request_timeout, respond_within);
    internal::routes(app).route_layer(timeout)
}

/// Adds the fallbacks and layers of all routes.
fn with_layers(router: Router<App>, app: &App) -> Router {
    router
        .fallback(|| async { ApiError::new(ErrorCode::NotFound) })
        .method_not_allowed_fallback(|| async { ApiError::new(ErrorCode::MethodNotAllowed) })
        .layer(DefaultBodyLimit::max(app.limits.body_bytes))
        .layer(CatchPanicLayer::custom(|_| ApiError::new(ErrorCode::Internal).into_response()))
        .layer(middleware::from_fn(language::negotiate))
        .layer(middleware::from_fn_with_state(app.clone(), observe))
        .with_state(app.clone())
}

/// Responds with 503 when the head of the response takes longer than the limit. A streamed body,
/// such as that of the event stream, is not limited.
async fn respond_within(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::new(ErrorCode::Unavailable)
            .with_retry_after(Duration::from_secs(1))
            .into_response(),
    }
}

/// Sets the request id, logs and counts the request. The log holds only method, route and id: no
/// query, no header, no body.
async fn observe(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let id = request_id(&request);
    let method = method_label(request.method());
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

/// The caller's request id if it is safe in a log line, otherwise a new one.
fn request_id(request: &Request) -> HeaderValue {
    const MAX_BYTES: usize = 128;
    let fit = |value: &&HeaderValue| {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
        !value.is_empty() && value.len() <= MAX_BYTES && value.as_bytes().iter().all(plain)
    };
    request.headers().get(&X_REQUEST_ID).filter(fit).cloned().unwrap_or_else(|| {
        let id = uuid::Uuid::new_v4().to_string();
        HeaderValue::from_str(&id).expect("a UUID consists of hexadecimal digits and hyphens")
    })
}

/// The method's name for metrics, from a bounded set: clients can send any method.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}
