//! Behaviour of all routes: envelopes, languages, request ids, ranges, entity tags, access.

use reqwest::Method;
use serde_json::json;
use shiori_sdk::{Date, DateRange, Precondition};

use crate::fixtures::{day, draft, write_week};
use crate::raw_client::{RawClient, RawResponse};
use crate::test_server::TestServer;

#[tokio::test]
async fn every_error_response_is_an_envelope() {
    let server = TestServer::start().await;
    let raw = RawClient::sign_up(&server.url()).await;
    for (path, status, error) in [
        ("/api/diary?start=20260217&end=20260216", 400, "invalid_range"),
        ("/api/diary?start=20250101&end=20260102", 400, "invalid_range"),
        ("/api/diary?start=20250101", 422, "invalid_request"),
        ("/api/diary?start=20250230&end=20250301", 422, "invalid_date"),
        ("/api/diary/2025811", 422, "invalid_date"),
        ("/api/diary/%F0%9F%98%80", 422, "invalid_date"),
        ("/api/diary/reflections?start=20260216&end=20260221", 400, "invalid_range"),
        ("/api/diary/summary/not-an-id", 404, "not_found"),
        ("/api/diary/summary/0190a7c4-0000-7000-8000-000000000000", 404, "not_found"),
        ("/api/nowhere", 404, "not_found"),
        ("/", 404, "not_found"),
    ] {
        let response = raw.get(path).await;
        assert_eq!((response.status, response.error().as_str()), (status, error), "{path}");
    }
    let response = raw.delete("/api/diary").await;
    assert_eq!((response.status, response.error().as_str()), (405, "method_not_allowed"));
    let response = raw.delete("/api/diary/20260216").await;
    assert_eq!((response.status, response.error().as_str()), (422, "invalid_request"));
    server.stop().await;
}

#[tokio::test]
async fn messages_are_korean_or_english() {
    let server = TestServer::start().await;
    let http = reqwest::Client::new();
    let url = format!("{}/api/diary/20260216", server.url());
    let message = |language: &'static str| {
        let request = http.get(&url).header("accept-language", language);
        async move {
            let response: serde_json::Value = request.send().await.unwrap().json().await.unwrap();
            response["message"].as_str().unwrap().to_owned()
        }
    };
    assert_eq!(message("en-US,en;q=0.9").await, "Sign in first.");
    assert_eq!(message("*;q=0.5, ko;q=0").await, "Sign in first.");
    assert_eq!(message("ko").await, "로그인이 필요합니다.");
    assert_eq!(message("fr").await, "로그인이 필요합니다.");
    server.stop().await;
}

#[tokio::test]
async fn a_request_id_is_echoed_or_generated() {
    let server = TestServer::start().await;
    let http = reqwest::Client::new();
    let id = |sent: &'static str| {
        let request = http.get(format!("{}/healthz", server.url())).header("x-request-id", sent);
        async move {
            let response = request.send().await.unwrap();
            response.headers()["x-request-id"].to_str().unwrap().to_owned()
        }
    };
    assert_eq!(id("my-id.7").await, "my-id.7");
    assert_ne!(
        id("two words").await,
        "two words",
        "an id that is unsafe in a log line is replaced"
    );
    assert_eq!(id("").await.len(), 36);
    server.stop().await;
}

#[tokio::test]
async fn an_unchanged_diary_returns_304() {
    let server = TestServer::start().await;
    let raw = RawClient::sign_up(&server.url()).await;
    let body = json!({"title": "글", "content": {"type": "doc"}});
    let created = raw.post("/api/diary/20260216", &body).await;
    assert_eq!(created.status, 201);
    let read = raw.get("/api/diary/20260216").await;
    assert_eq!(read.json()["data"]["etag"], read.headers["etag"].to_str().unwrap());
    assert_eq!(read.json()["data"]["summary_status"], "none");
    server.stop().await;

    let server = TestServer::start().await;
    let client = server.client().await;
    let diaries = client.diaries();
    let saved = diaries.save(day(16), draft("하나"), Precondition::IfAbsent).send().await.unwrap();
    let diary = diaries.get(day(16)).await.unwrap().unwrap();
    assert!(diaries.get_if_changed(&diary).await.unwrap().is_unchanged());
    let over = Precondition::IfVersion(saved.version);
    diaries.save(day(16), draft("둘"), over).send().await.unwrap();
    assert!(!diaries.get_if_changed(&diary).await.unwrap().is_unchanged());
    server.stop().await;
}

/// The bodies of workers are parsed strictly at any depth, like those of users.
#[tokio::test]
async fn bodies_of_workers_are_parsed_strictly() {
    let server = TestServer::without_worker().await;
    let raw = RawClient::with_token(&server.url(), &server.internal_token());
    let id = "0190a7c4-0000-7000-8000-000000000000";
    let day = json!({"date": "20260216", "label": "중립", "confidence": 1.0, "distribution": {"중립": 1.0}});
    let result = |days: serde_json::Value, usage: serde_json::Value| {
        json!({"summary_id": id, "lease_token": id, "reflection": "글", "engine": "e",
            "emotion_engine": "e", "emotion_results": days, "usage": usage})
    };
    let path = |name: &str| format!("/api/internal/summaries/{id}/{name}");
    let usage = json!({"prompt_tokens": 1, "completion_tokens": 1});
    for (path, body, field) in [
        (path("claim"), json!(["worker"]), "."),
        (path("heartbeat"), json!([id]), "."),
        (path("heartbeat"), json!({"lease_token": id, "progress": ["writing", 5]}), "progress"),
        (path("failure"), json!([id, "no_text", "", false, null]), "."),
        ("/api/internal/summarize/result".to_owned(), json!([id, id, "글", "e", "e", [], []]), "."),
        (
            "/api/internal/summarize/result".to_owned(),
            result(json!([["20260216", "중립", 1.0, {"중립": 1.0}]]), usage.clone()),
            "emotion_results",
        ),
        ("/api/internal/summarize/result".to_owned(), result(json!([day]), json!([1, 1])), "usage"),
    ] {
        let response = raw.post(&path, &body).await;
        assert_eq!(
            (response.status, response.error().as_str()),
            (422, "invalid_request"),
            "{body}"
        );
        let data = &response.json()["data"];
        assert!(data["field"].as_str().unwrap().starts_with(field), "{data} {body}");
        assert_eq!(data["rule"], "type", "{data} {body}");
    }
    let twice = r#"{"worker_id":"a","worker_id":"b"}"#.to_owned();
    let response = raw.send(Method::POST, &path("claim"), Some(twice)).await;
    assert_eq!(response.json()["data"], json!({"field": "worker_id", "rule": "unique_keys"}));
    // The same bodies as objects are valid; the summary does not exist.
    let accepted = result(json!([day]), usage);
    let response = raw.post("/api/internal/summarize/result", &accepted).await;
    assert_eq!(
        (response.status, response.error().as_str()),
        (409, "lease_lost"),
        "{}",
        response.text
    );
    server.stop().await;
}

#[tokio::test]
async fn listings_and_week_metadata() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let meta = client.weeks().meta(crate::fixtures::week()).await.unwrap();
    assert_eq!(meta.missing().len(), 7);
    write_week(&client, "글").await;
    let meta = client.weeks().meta(crate::fixtures::week()).await.unwrap();
    assert!(meta.is_complete() && meta.missing().is_empty());
    // A longer range than one response of the server.
    let start = Date::new(2024, 1, 1).unwrap();
    let range = DateRange::new(start, Date::new(2026, 12, 31).unwrap()).unwrap();
    let entries = client.diaries().list(range).await.unwrap();
    let dates: Vec<_> = entries.iter().map(|entry| entry.date).collect();
    assert_eq!(dates, crate::fixtures::week().dates().collect::<Vec<_>>());
    server.stop().await;
}

#[tokio::test]
async fn other_users_and_anonymous_requests_have_no_access() {
    let server = TestServer::start().await;
    let mine = RawClient::sign_up(&server.url()).await;
    let body = json!({"title": "비밀", "content": {"type": "doc"}});
    assert_eq!(mine.post("/api/diary/20260216", &body).await.status, 201);

    let theirs = RawClient::sign_up(&server.url()).await;
    let day = theirs.get("/api/diary/20260216").await.json();
    assert!(day["data"]["version"].is_null() && day["data"]["title"].is_null(), "{day}");
    let response = theirs.delete("/api/diary/20260216?version=1").await;
    assert_eq!((response.status, response.error().as_str()), (404, "not_found"));

    for raw in
        [RawClient::anonymous(&server.url()), RawClient::with_token(&server.url(), "not.a.token")]
    {
        for path in
            ["/api/diary/20260216", "/api/diary?start=20260216&end=20260217", "/api/auth/sessions"]
        {
            let response = raw.get(path).await;
            assert_eq!(
                (response.status, response.error().as_str()),
                (401, "unauthorized"),
                "{path}"
            );
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn the_internal_api_requires_its_token() {
    let server = TestServer::start().await;
    let person = RawClient::sign_up(&server.url()).await;
    let id = "0190a7c4-0000-7000-8000-000000000000";
    let paths = [
        format!("/api/internal/summaries/{id}/claim"),
        format!("/api/internal/summaries/{id}/heartbeat"),
        format!("/api/internal/summaries/{id}/failure"),
        "/api/internal/summarize/result".to_owned(),
        "/api/internal/anything/else".to_owned(),
    ];
    for raw in [
        &RawClient::anonymous(&server.url()),
        &RawClient::with_token(&server.url(), "guess"),
        &person,
    ] {
        for path in &paths {
            let posted = raw.post(path, &json!({"garbage": true})).await;
            let got = raw.get(path).await;
            for response in [posted, got] {
                assert_eq!(
                    (response.status, response.error().as_str()),
                    (401, "unauthorized"),
                    "{path}"
                );
                assert!(response.json()["data"].is_null());
                assert!(response.headers.contains_key("www-authenticate"), "{path}");
                assert_eq!(response.headers["cache-control"], "no-store", "{path}");
            }
        }
    }
    let worker = RawClient::with_token(&server.url(), &server.internal_token());
    let response = worker.post(&paths[0], &json!({"worker_id": "w"})).await;
    assert_eq!((response.status, response.error().as_str()), (409, "not_claimable"));
    assert_eq!(worker.post(&paths[4], &json!({})).await.status, 404);
    server.stop().await;
}

#[tokio::test]
async fn health_metrics_and_the_api_document_are_available() {
    let server = TestServer::start().await;
    let raw = RawClient::sign_up(&server.url()).await;
    assert_eq!(raw.get("/healthz").await.status, 200);
    let ready = raw.get("/readyz").await;
    assert_eq!((ready.status, &ready.json()["data"]["diaries"]), (200, &json!("ok")));
    let body = json!({"title": "글", "content": {"type": "doc"}});
    raw.post("/api/diary/20260216", &body).await;
    raw.post("/api/diary/20260216", &body).await;
    let metrics = raw.get("/metrics").await.text;
    assert!(metrics.contains("shiori_diary_saves_total{outcome=\"saved\"} 1"), "{metrics}");
    assert!(metrics.contains("shiori_diary_saves_total{outcome=\"conflict\"} 1"), "{metrics}");
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(raw.get(path).await.headers["cache-control"], "no-store", "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn an_internal_listener_serves_readyz_and_metrics() {
    let server = TestServer::with_config(|config| {
        config.internal_listen = Some("127.0.0.1:0".parse().unwrap());
    })
    .await;
    let public = RawClient::anonymous(&server.url());
    let internal = RawClient::with_token(&server.internal_url(), &server.internal_token());
    for (path, status) in [("/healthz", 200), ("/readyz", 404), ("/metrics", 404)] {
        assert_eq!(public.get(path).await.status, status, "{path}");
        assert_eq!(internal.get(path).await.status, 200, "{path}");
    }
    assert_eq!(internal.post("/api/internal/check", &json!({})).await.status, 200);
    assert_eq!(public.post("/api/internal/check", &json!({})).await.status, 404);
    assert_eq!(internal.get("/api/diary/20260216").await.status, 404);
    server.stop().await;
}

#[tokio::test]
async fn responses_forbid_sniffing_and_the_page_foreign_content() {
    let server = TestServer::start().await;
    let raw = RawClient::anonymous(&server.url());
    for (path, status) in [
        ("/api/diary/20260216", 401),
        ("/api/nowhere", 404),
        ("/api/user/signup", 405),
        ("/api/internal/check", 401),
        ("/healthz", 200),
        ("/readyz", 200),
        ("/metrics", 200),
        ("/api/openapi.json", 200),
        ("/docs/", 200),
        ("/docs/swagger-ui-bundle.js", 200),
        ("/docs/nowhere", 404),
    ] {
        let response = raw.get(path).await;
        assert_eq!(response.status, status, "{path}");
        assert_eq!(response.headers["x-content-type-options"], "nosniff", "{path}");
        let policy = response.headers.get("content-security-policy");
        assert_eq!(policy.is_some(), path.starts_with("/docs"), "{path}");
        if let Some(policy) = policy {
            let policy = policy.to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        }
    }
    assert_eq!(raw.get("/api/user/signup").await.headers["allow"], "POST");
    server.stop().await;
}

const ORIGIN: &str = "https://app.example.com";

#[tokio::test]
async fn pages_of_configured_origins_may_call_the_api() {
    let server = TestServer::with_config(|config| {
        config.cors_origins =
            vec!["http://localhost:5173".parse().unwrap(), ORIGIN.parse().unwrap()];
    })
    .await;
    let raw = RawClient::sign_up(&server.url()).await;
    let from = async |method: Method, path: &str, origin: Option<&str>| {
        let request = raw.request(method, path).header("access-control-request-method", "POST");
        RawResponse::send(match origin {
            Some(origin) => request.header("origin", origin),
            None => request,
        })
        .await
    };

    let preflight = from(Method::OPTIONS, "/api/diary/20260216", Some(ORIGIN)).await;
    assert_eq!((preflight.status, preflight.text.as_str()), (204, ""));
    assert_eq!(preflight.headers["access-control-allow-methods"], "GET, HEAD, POST, DELETE");
    let allowed = preflight.headers["access-control-allow-headers"].to_str().unwrap();
    for header in ["authorization", "content-type", "if-none-match", "x-request-id"] {
        assert!(allowed.split(", ").any(|allowed| allowed == header), "{allowed}");
    }

    // Errors and responses without a session can be read, too.
    for (path, status) in [
        ("/api/diary/20260216", 200),
        ("/api/diary/yesterday", 422),
        ("/api/diary/summary/0190a7c4-0000-7000-8000-000000000000", 404),
        ("/api/nowhere", 404),
    ] {
        let response = from(Method::GET, path, Some(ORIGIN)).await;
        assert_eq!(response.status, status, "{path}");
        for headers in [&response.headers, &preflight.headers] {
            assert_eq!(headers["access-control-allow-origin"], ORIGIN, "{path}");
            assert_eq!(headers["access-control-allow-credentials"], "true", "{path}");
            let exposed = headers["access-control-expose-headers"].to_str().unwrap();
            assert_eq!(exposed, "etag, location, retry-after, www-authenticate, x-request-id");
        }
    }

    for origin in [
        None,
        Some("https://evil.example"),
        Some("http://app.example.com"),
        Some("https://app.example.com.evil.example"),
        Some("null"),
    ] {
        let preflight = from(Method::OPTIONS, "/api/diary/20260216", origin).await;
        assert_eq!(preflight.status, 405, "{origin:?}");
        let read = from(Method::GET, "/api/diary/20260216", origin).await;
        assert_eq!(read.status, 200, "{origin:?}");
        for response in [preflight, read] {
            assert!(!response.headers.contains_key("access-control-allow-origin"), "{origin:?}");
            let vary = response.headers.get_all("vary").iter();
            assert!(vary.into_iter().any(|vary| vary == "origin"), "{origin:?}");
        }
    }
    // The internal API is not for browsers.
    let internal = from(Method::OPTIONS, "/api/internal/check", Some(ORIGIN)).await;
    assert_eq!(internal.status, 401);
    assert!(!internal.headers.contains_key("access-control-allow-origin"));
    server.stop().await;
}

#[tokio::test]
async fn by_default_no_other_origin_may_call_the_api() {
    let server = TestServer::start().await;
    let raw = RawClient::sign_up(&server.url()).await;
    for method in [Method::OPTIONS, Method::GET] {
        let request = raw.request(method, "/api/diary/20260216").header("origin", ORIGIN);
        let request = request.header("access-control-request-method", "POST");
        let response = RawResponse::send(request).await;
        let mut names = response.headers.keys();
        assert!(!names.any(|name| name.as_str().starts_with("access-control-")));
    }
    server.stop().await;
}
