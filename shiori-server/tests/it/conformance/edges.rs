//! What holds for every route.

use reqwest::Method;
use serde_json::json;

use super::{Device, Subject, data, refused};
use crate::house::{Answer, Raw};

pub async fn what_is_nowhere_is_not_found_and_other_methods_are_not_allowed(server: &impl Subject) {
    let raw = Raw::stranger(&server.url());
    for path in [
        "/",
        "/api",
        "/api/nowhere",
        "/api/diary/",
        "/api/diary/20260216/elsewhere",
        "/api/diary/summary/x/events/y",
    ] {
        refused(&raw.get(path).await, 404, "not_found");
    }
    for (method, path) in [
        (Method::GET, "/api/user/signup"),
        (Method::DELETE, "/api/diary"),
        (Method::PUT, "/api/diary/20260216"),
        (Method::GET, "/api/diary/summary"),
        (Method::POST, "/api/diary/reflections"),
        (Method::PATCH, "/api/auth/sessions"),
    ] {
        refused(&raw.send(method, path, None).await, 405, "method_not_allowed");
    }
}

pub async fn without_a_good_token_nothing_is_told(server: &impl Subject) {
    for raw in [Raw::stranger(&server.url()), Raw::with_token(&server.url(), "not.a.token")] {
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
            refused(&raw.send(method, path, None).await, 401, "unauthorized");
        }
    }
}

pub async fn bodies_are_json_of_a_bounded_size(server: &impl Subject) {
    let raw = Device::of_somebody(server).await.0.raw;
    let post = |kind: &'static str, body: String| {
        let request = raw.request(Method::POST, "/api/diary/20260216");
        Answer::to(request.header("content-type", kind).body(body))
    };
    let diary = json!({"title": "글", "content": {"type": "doc"}}).to_string();
    refused(&post("text/plain", diary.clone()).await, 415, "unsupported_media_type");
    for (garbage, field, rule) in [
        ("", ".", "json"),
        ("{", "?", "json"),
        ("null", ".", "type"),
        ("{}", ".", "type"),
        ("{\"title\":1}", "title", "type"),
        ("{\"title\":\"글\",\"content\":{}} {}", "body", "json"),
    ] {
        let answer = post("application/json", garbage.to_owned()).await;
        refused(&answer, 422, "invalid_request");
        assert_eq!(answer.json()["data"], json!({"field": field, "rule": rule}), "{garbage}");
    }
    let large = format!("{diary}{}", " ".repeat(1024 * 1024));
    refused(&post("application/json", large).await, 413, "body_too_large");
    let full = format!("{diary}{}", " ".repeat(1024 * 1024 - diary.len()));
    data(&post("application/json; charset=utf-8", full).await, 201);
}

pub async fn request_ids_are_echoed_or_made(server: &impl Subject) {
    let raw = Raw::stranger(&server.url());
    let id = async |sent: &str| {
        let request = raw.request(Method::GET, "/api/diary/20260216");
        let answer = Answer::to(request.header("x-request-id", sent)).await;
        answer.headers["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(id("my-id.7").await, "my-id.7");
    for unfit in ["two words", "", &"x".repeat(129)] {
        assert_eq!(id(unfit).await.len(), 36, "{unfit}");
    }
}
