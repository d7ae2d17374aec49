//! The OpenAPI document, and the page that shows it.

use axum::{Router, body::Bytes, routing::get};
use http::header::CONTENT_TYPE;

use super::openapi::description;
use crate::app::App;

const DESCRIPTION: &str = "/api/openapi.json";

pub(super) fn routes() -> Router<App> {
    let json = Bytes::from(description().to_pretty_json().unwrap_or_default());
    let describe = move || async { ([(CONTENT_TYPE, "application/json")], json) };
    let routes = Router::new().route(DESCRIPTION, get(describe));
    #[cfg(feature = "docs-ui")]
    let routes = routes.merge(page());
    routes
}

/// The page at `/docs`. Its scripts, styles and images are part of this program, and it may not
/// load any others.
#[cfg(feature = "docs-ui")]
fn page() -> Router<App> {
    use axum::{middleware::map_response, response::Response};
    use http::{HeaderValue, header::CONTENT_SECURITY_POLICY};
    use utoipa_swagger_ui::{Config, SwaggerUi};

    /// Swagger UI has icons with `data:` URLs, and its script adds one inline style, which has this
    /// hash.
    const POLICY: HeaderValue = HeaderValue::from_static(
        "default-src 'none'; script-src 'self'; \
         style-src 'self' 'sha256-RL3ie0nH+Lzz2YNqQN83mnU0J1ot4QL7b99vMdIX99w='; \
         img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
    );

    // Without the validator, which is an external service.
    let config = Config::from(DESCRIPTION).validator_url("none");
    let page: Router<App> = SwaggerUi::new("/docs").config(config).into();
    page.layer(map_response(|mut response: Response| async {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY);
        response
    }))
}
