//! Requests that a page of another site makes the user's browser send, with the user's cookies.

use reqwest::Method;
use serde_json::json;

use crate::{
    fixtures::{PASSWORD, fresh_email},
    raw_client::{RawClient, RawResponse},
    test_server::TestServer,
};

/// Even if the browser ignored `SameSite=Strict`. Without CORS, pages can send only these types.
#[tokio::test]
async fn a_form_of_another_page_cannot_use_the_cookie() {
    let server = TestServer::start().await;
    let (email, raw) = (fresh_email(), RawClient::anonymous(&server.url()));
    let account = json!({"email": email, "password": PASSWORD, "nickname": "손"});
    assert_eq!(raw.post("/api/user/signup", &account).await.status, 201);
    let login = raw.post("/api/user/login", &account).await;
    let cookies: Vec<_> = login.headers.get_all("set-cookie").iter().collect();
    let cookies: Vec<_> =
        cookies.iter().map(|it| it.to_str().unwrap().split(';').next().unwrap()).collect();
    let (cookie, access) = (cookies.join("; "), login.json()["data"]["token"].clone());
    let send = async |method: Method, path: &str, kind: Option<&str>, body: &str| {
        let request = raw.request(method, path).header("cookie", &cookie);
        let request = request.header("origin", "https://elsewhere.example");
        let request = match kind {
            Some(kind) => request.header("content-type", kind),
            None => request,
        };
        RawResponse::send(request.body(body.to_owned())).await
    };
    for (path, body) in [
        ("/api/auth/refresh", json!({"access_token": access})),
        ("/api/auth/verify", json!({"access_token": access})),
        ("/api/user/login", account.clone()),
        ("/api/user/signup", account.clone()),
    ] {
        for kind in [
            None,
            Some("text/plain"),
            Some("text/plain; charset=application/json"),
            Some("application/x-www-form-urlencoded"),
            Some("multipart/form-data; boundary=application/json"),
        ] {
            let response = send(Method::POST, path, kind, &body.to_string()).await;
            assert_eq!(
                (response.status, response.error().as_str()),
                (415, "unsupported_media_type"),
                "{path} {kind:?}"
            );
            assert!(!response.headers.contains_key("set-cookie"), "{path} {kind:?}");
            assert!(!response.headers.contains_key("access-control-allow-origin"));
        }
    }
    // The cookies alone authorise nothing.
    for (method, path) in [
        (Method::GET, "/api/diary/20260216"),
        (Method::GET, "/api/user/export"),
        (Method::DELETE, "/api/user/logout"),
        (Method::DELETE, "/api/user"),
        (Method::GET, "/api/diary/events"),
    ] {
        let response = send(method, path, Some("application/json"), "{}").await;
        assert_eq!((response.status, response.error().as_str()), (401, "unauthorized"), "{path}");
    }
    // A preflight of the page is not answered as permitted.
    let preflight = raw
        .request(Method::OPTIONS, "/api/auth/refresh")
        .header("origin", "https://elsewhere.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type");
    let preflight = RawResponse::send(preflight).await;
    assert!(!preflight.headers.contains_key("access-control-allow-origin"));
    // The session is unchanged.
    let body = json!({"access_token": access}).to_string();
    let renewed = send(Method::POST, "/api/auth/refresh", Some("application/json"), &body).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text);
    server.stop().await;
}
