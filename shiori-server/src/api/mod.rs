//! The HTTP API.

mod account;
mod caching;
mod caller;
mod client_address;
mod cors;
mod diary;
mod diary_events;
mod diary_read;
mod diary_versions;
mod docs;
mod emotions;
mod error;
mod export;
mod extract;
mod health;
mod internal;
mod language;
mod middleware;
mod openapi;
mod reply;
mod revisions;
mod session;
mod summary;
mod trace;
mod user;

use axum::{Extension, Router, extract::DefaultBodyLimit, handler::Handler};
use http::{HeaderMap, Method};
use shiori_sdk::ErrorCode;
use utoipa_axum::router::OpenApiRouter;

pub(crate) use self::export::export_slots;
#[cfg(any(test, fuzzing))]
pub(crate) use self::{caller::bearer, session::refresh_cookie};
use self::{cors::Cors, error::ApiError, middleware::RequestLayer};
use crate::app::App;

/// The routes of a listener.
#[derive(Debug)]
pub(crate) struct Routes {
    /// For complete requests.
    pub(crate) accepted: Router,
    /// For requests that the listener rejects, with the [`Refusal`] as an extension.
    pub(crate) refused: Router,
}

/// The reason for which the listener rejects a request.
#[derive(Debug, Clone)]
pub(crate) struct Refusal(pub(crate) ErrorCode);

/// The body of the 503 response to a connection whose request is not read.
pub(crate) fn unavailable_json() -> String {
    ApiError::new(ErrorCode::Unavailable).into_json()
}

/// All public routes, and the internal ones unless they have their own listener.
pub(crate) fn public(app: &App, with_internal: bool) -> Routes {
    let request_timeout = app.limits.request_timeout;
    let cors = Cors::new(&app.cors_origins);
    let layer = |time_limit| RequestLayer::new(app, time_limit).cross_origin(cors.clone());
    let always = layer(request_timeout);
    let requests = layer(request_timeout).admitted_by(&app.overload.requests);
    let long_polls =
        layer(request_timeout.saturating_add(app.limits.max_wait)).admitted_by(&app.overload.waits);
    let body_limit = DefaultBodyLimit::max(app.limits.body_bytes);
    let (routes, _) = OpenApiRouter::new()
        .merge(account::routes())
        .merge(user::routes())
        .merge(export::routes())
        .merge(session::routes())
        .merge(diary::routes())
        .merge(diary_versions::routes())
        .merge(diary_events::routes())
        .merge(diary_read::routes())
        .merge(revisions::routes())
        .merge(emotions::routes())
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
        .merge(operations.route_layer(always.not_stored()))
        .merge(docs::routes().route_layer(always));
    if with_internal {
        router = router.merge(internal(app));
    }
    with_fallbacks(router, app, cors)
}

/// The routes of the internal listener.
pub(crate) fn internal_only(app: &App) -> Routes {
    let requests = RequestLayer::new(app, app.limits.request_timeout);
    let (operations, _) = health::liveness().merge(health::inspection()).split_for_parts();
    let router = internal(app).merge(operations.route_layer(requests.not_stored()));
    with_fallbacks(router, app, None)
}

fn internal(app: &App) -> Router<App> {
    let requests =
        RequestLayer::new(app, app.limits.request_timeout).admitted_by(&app.overload.workers);
    internal::routes(app).layer(requests.not_stored())
}

/// Adds the responses to unknown routes and methods, and to rejected requests.
fn with_fallbacks(router: Router<App>, app: &App, cors: Option<Cors>) -> Routes {
    let requests = RequestLayer::new(app, app.limits.request_timeout).cross_origin(cors.clone());
    let not_found = || async { ApiError::new(ErrorCode::NotFound) };
    let other_method = |method: Method, headers: HeaderMap| async move {
        let preflight = cors.and_then(|cors| cors.preflight(&method, &headers));
        preflight.ok_or_else(|| ApiError::new(ErrorCode::MethodNotAllowed))
    };
    let accepted = router
        .fallback(not_found.layer(requests.clone()))
        .method_not_allowed_fallback(other_method.layer(requests.clone()))
        .with_state(app.clone());
    let refuse = async |Extension(Refusal(code)): Extension<Refusal>| ApiError::refused(code);
    let refused = Router::new().fallback(refuse.layer(requests)).with_state(app.clone());
    Routes { accepted, refused }
}
