//! The HTTP API.

mod account;
mod caching;
mod caller;
mod cors;
mod diary;
mod docs;
mod error;
mod extract;
mod health;
mod internal;
mod language;
mod middleware;
mod openapi;
mod reply;
mod session;
mod summary;

use axum::{Router, extract::DefaultBodyLimit, handler::Handler};
use http::{HeaderMap, Method};
use shiori_sdk::ErrorCode;
use utoipa_axum::router::OpenApiRouter;

use self::{cors::Cors, error::ApiError, middleware::RequestLayer};
use crate::app::App;

/// All public routes, and the internal ones unless they have their own listener.
pub(crate) fn public(app: &App, with_internal: bool) -> Router {
    let request_timeout = app.limits.request_timeout;
    let cors = Cors::new(&app.cors_origins);
    let layer = |time_limit| RequestLayer::new(app, time_limit).cross_origin(cors.clone());
    let requests = layer(request_timeout);
    let long_polls = layer(request_timeout.saturating_add(app.limits.max_wait));
    let body_limit = DefaultBodyLimit::max(app.limits.body_bytes);
    let (routes, _) = OpenApiRouter::new()
        .merge(account::routes())
        .merge(session::routes())
        .merge(diary::routes())
        .merge(summary::routes())
        .route_layer((requests.personal(), body_limit))
        .merge(summary::long_poll_routes().route_layer((long_polls.personal(), body_limit)))
        .split_for_parts();
    let mut operations = health::liveness();
    if with_internal {
        operations = operations.merge(health::inspection());
    }
    let (operations, _) = operations.split_for_parts();
    let mut router = routes
        .merge(operations.route_layer(requests.not_stored()))
        .merge(docs::routes().route_layer(requests));
    if with_internal {
        router = router.merge(internal(app));
    }
    with_fallbacks(router, app, cors)
}

/// The routes of the internal listener.
pub(crate) fn internal_only(app: &App) -> Router {
    let requests = RequestLayer::new(app, app.limits.request_timeout);
    let (operations, _) = health::liveness().merge(health::inspection()).split_for_parts();
    let router = internal(app).merge(operations.route_layer(requests.not_stored()));
    with_fallbacks(router, app, None)
}

fn internal(app: &App) -> Router<App> {
    let requests = RequestLayer::new(app, app.limits.request_timeout);
    internal::routes(app).layer(requests.not_stored())
}

/// Adds the responses to unknown routes and methods.
fn with_fallbacks(router: Router<App>, app: &App, cors: Option<Cors>) -> Router {
    let requests = RequestLayer::new(app, app.limits.request_timeout).cross_origin(cors.clone());
    let not_found = || async { ApiError::new(ErrorCode::NotFound) };
    let other_method = |method: Method, headers: HeaderMap| async move {
        let preflight = cors.and_then(|cors| cors.preflight(&method, &headers));
        preflight.ok_or_else(|| ApiError::new(ErrorCode::MethodNotAllowed))
    };
    router
        .fallback(not_found.layer(requests.clone()))
        .method_not_allowed_fallback(other_method.layer(requests))
        .with_state(app.clone())
}
