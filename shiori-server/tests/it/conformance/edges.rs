//! What holds for every route.

use reqwest::Method;
use serde_json::json;

use super::{Device, Target, assert_error, data};
use crate::raw_client::{RawClient, RawResponse};

pub async fn unknown_paths_return_404_and_other_methods_405(server: &impl Target) {
    let raw = RawClient::anonymous(&server.url());
    for path in [
        "/",
        "/api",
        "/api/nowhere",
        "/api/diary/",
        "/api/diary/20260216/elsewhere",
        "/api/diary/summary/x/events/y",
    ] {
        assert_error(&raw.get(path).await, 404, "not_found");
    }
    for (method, path) in [
        (Method::GET, "/api/user/signup"),
        (Method::DELETE, "/api/diary"),
        (Method::PUT, "/api/diary/20260216"),
        (Method::GET, "/api/diary/summary"),
        (Method::POST, "/api/diary/reflections"),
        (Method::PATCH, "/api/auth/sessions"),
    ] {
        assert_error(&raw.send(method, path, None).await, 405, "method_not_allowed");
    }
}

pub async fn without_a_valid_token_every_route_returns_401(server: &impl Target) {
    for raw in
        [RawClient::anonymous(&server.url()), RawClient::with_token(&server.url(), "not.a.token")]
    {
        for (method, path) in [
            (Method::DELETE, "/api/user/logout"),
            (Method::GET, "/api/auth/sessions"),
            (Method::DELETE, "/api/auth/sessions/x"),
            (Method::GET, "/api/diary?start=x"),
            (Method::GET, "/api/diary/yesterday"),
            (Method::POST, "/api/diary/20260216"),
            (Method::DELETE, "/api/diary/20260216"),
            (Method::POST, "/api/diary/20260216/archive"),
            (Method::POST, "/api/diary/summary"),
            (Method::GET, "/api/diary/summary/x"),
            (Method::GET, "/api/diary/summary/x/events"),
            (Method::DELETE, "/api/diary/summary/x"),
            (Method::GET, "/api/diary/reflections"),
        ] {
            assert_error(&raw.send(method, path, None).await, 401, "unauthorized");
        }
    }
}

pub async fn bodies_are_json_of_a_bounded_size(server: &impl Target) {
    let raw = Device::sign_up(server).await.0.raw;
    let post = |kind: &'static str, body: String| {
        let request = raw.request(Method::POST, "/api/diary/20260216");
        RawResponse::send(request.header("content-type", kind).body(body))
    };
    let diary = json!({"title": "글", "content": {"type": "doc"}}).to_string();
    assert_error(&post("text/plain", diary.clone()).await, 415, "unsupported_media_type");
    for (garbage, field, rule) in [
        ("", ".", "json"),
        ("{", "?", "json"),
        ("null", ".", "type"),
        ("{}", ".", "type"),
        ("{\"title\":1}", "title", "type"),
        ("{\"title\":\"글\",\"content\":{}} {}", "body", "json"),
    ] {
        let response = post("application/json", garbage.to_owned()).await;
        assert_error(&response, 422, "invalid_request");
        assert_eq!(response.json()["data"], json!({"field": field, "rule": rule}), "{garbage}");
    }
    let large = format!("{diary}{}", " ".repeat(1024 * 1024));
    assert_error(&post("application/json", large).await, 413, "body_too_large");
    let full = format!("{diary}{}", " ".repeat(1024 * 1024 - diary.len()));
    data(&post("application/json; charset=utf-8", full).await, 201);
}

pub async fn request_ids_are_echoed_or_made(server: &impl Target) {
    let raw = RawClient::anonymous(&server.url());
    let id = async |sent: &str| {
        let request = raw.request(Method::GET, "/api/diary/20260216");
        let response = RawResponse::send(request.header("x-request-id", sent)).await;
        response.headers["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(id("my-id.7").await, "my-id.7");
    for unfit in ["two words", "", &"x".repeat(129)] {
        assert_eq!(id(unfit).await.len(), 36, "{unfit}");
    }
}
