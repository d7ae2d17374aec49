//! The HTTP API.

mod account;
mod caching;
mod caller;
mod diary;
mod error;
mod extract;
mod health;
mod internal;
mod language;
mod middleware;
mod reply;
mod session;
mod summary;

use axum::{Router, extract::DefaultBodyLimit, handler::Handler, routing::get};
use shiori_sdk::ErrorCode;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use self::{error::ApiError, middleware::RequestLayer};
use crate::app::App;

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
    let requests = RequestLayer::new(app, request_timeout);
    let long_polls = RequestLayer::new(app, request_timeout.saturating_add(app.limits.max_wait));
    let body_limit = DefaultBodyLimit::max(app.limits.body_bytes);
    let (routes, openapi) = OpenApiRouter::with_openapi(Description::openapi())
        .merge(session::routes())
        .merge(diary::routes())
        .merge(summary::routes())
        .route_layer((requests.personal(), body_limit))
        .merge(account::routes().route_layer((requests.clone(), body_limit)))
        .merge(summary::long_poll_routes().route_layer((long_polls.personal(), body_limit)))
        .split_for_parts();
    let document = openapi.to_json().unwrap_or_default();
    let json = [(http::header::CONTENT_TYPE, "application/json")];
    let operations =
        health::routes().route("/api/openapi.json", get(move || async move { (json, document) }));
    #[cfg(feature = "docs-ui")]
    let operations = operations.merge(
        utoipa_swagger_ui::SwaggerUi::new("/docs")
            .config(utoipa_swagger_ui::Config::from("/api/openapi.json")),
    );
    let mut router = routes.merge(operations.route_layer(requests));
    if with_internal {
        router = router.merge(internal(app));
    }
    with_fallbacks(router, app)
}

/// Only the internal routes.
pub(crate) fn internal_only(app: &App) -> Router {
    with_fallbacks(internal(app), app)
}

fn internal(app: &App) -> Router<App> {
    let requests = RequestLayer::new(app, app.limits.request_timeout);
    internal::routes(app).layer(requests)
}

/// Adds the responses to unknown routes and methods.
fn with_fallbacks(router: Router<App>, app: &App) -> Router {
    let requests = RequestLayer::new(app, app.limits.request_timeout);
    let not_found = || async { ApiError::new(ErrorCode::NotFound) };
    let method_not_allowed = || async { ApiError::new(ErrorCode::MethodNotAllowed) };
    router
        .fallback(not_found.layer(requests.clone()))
        .method_not_allowed_fallback(method_not_allowed.layer(requests))
        .with_state(app.clone())
}
