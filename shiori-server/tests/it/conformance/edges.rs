//! Behaviour of all routes.

use reqwest::Method;
use serde_json::{Value, json};

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
        (Method::GET, "/api/diary/read"),
        (Method::POST, "/api/diary/versions"),
        (Method::DELETE, "/api/diary/events"),
        (Method::POST, "/api/diary/reflections"),
        (Method::PATCH, "/api/auth/sessions"),
    ] {
        assert_error(&raw.send(method, path, None).await, 405, "method_not_allowed");
    }
}

pub async fn without_a_valid_token_every_route_returns_401(server: &impl Target) {
    // RFC 6750, section 3.1: an error code only if there was a token.
    for (raw, challenge) in [
        (RawClient::anonymous(&server.url()), "Bearer realm=\"shiori\""),
        (
            RawClient::with_token(&server.url(), "not.a.token"),
            "Bearer realm=\"shiori\", error=\"invalid_token\"",
        ),
    ] {
        for (method, path) in [
            (Method::DELETE, "/api/user/logout"),
            (Method::GET, "/api/user"),
            (Method::PATCH, "/api/user"),
            (Method::DELETE, "/api/user"),
            (Method::POST, "/api/user/password"),
            (Method::GET, "/api/user/export"),
            (Method::GET, "/api/auth/sessions"),
            (Method::DELETE, "/api/auth/sessions/x"),
            (Method::GET, "/api/diary?start=x"),
            (Method::GET, "/api/diary/yesterday"),
            (Method::POST, "/api/diary/20260216"),
            (Method::DELETE, "/api/diary/20260216"),
            (Method::POST, "/api/diary/20260216/archive"),
            (Method::GET, "/api/diary/versions"),
            (Method::GET, "/api/diary/events"),
            (Method::POST, "/api/diary/read"),
            (Method::GET, "/api/diary/20260216/revisions"),
            (Method::GET, "/api/diary/20260216/revisions/1"),
            (Method::DELETE, "/api/diary/20260216/revisions"),
            (Method::DELETE, "/api/diary/revisions"),
            (Method::GET, "/api/diary/emotions"),
            (Method::POST, "/api/diary/summary"),
            (Method::GET, "/api/diary/summary/x"),
            (Method::GET, "/api/diary/summary/x/events"),
            (Method::DELETE, "/api/diary/summary/x"),
            (Method::GET, "/api/diary/reflections"),
        ] {
            let response = raw.send(method, path, None).await;
            assert_error(&response, 401, "unauthorized");
            assert_eq!(response.headers["www-authenticate"], challenge, "{path}");
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

/// Every route with a body, and a valid body for it.
fn bodies() -> [(&'static str, Value); 8] {
    [
        ("/api/diary/20260216", json!({"title": "글", "content": {"type": "doc"}})),
        ("/api/diary/20260216/archive", json!({"version": 1, "archived": true})),
        ("/api/diary/read", json!({"dates": ["20260216"]})),
        ("/api/diary/summary", json!({"start": "20260216", "end": "20260222", "force": false})),
        (
            "/api/user/signup",
            json!({"email": "a@example.com", "password": "correct horse 1!", "nickname": "손"}),
        ),
        ("/api/user/login", json!({"email": "a@example.com", "password": "correct horse 1!"})),
        ("/api/auth/refresh", json!({"access_token": "x"})),
        ("/api/auth/verify", json!({"access_token": "x"})),
    ]
}

pub async fn bodies_are_parsed_strictly(server: &impl Target) {
    let raw = Device::sign_up(server).await.0.raw;
    let post = async |path: &str, body: Vec<u8>| {
        let request = raw.request(Method::POST, path).header("content-type", "application/json");
        RawResponse::send(request.body(body)).await
    };
    for (path, body) in bodies() {
        let fields = body.as_object().unwrap();
        let text = body.to_string();
        let inner = &text[1..text.len() - 1];
        let first = fields.keys().next().unwrap();
        let values: Vec<_> = fields.values().collect();
        let is = |field: &str, rule: &str| json!({"field": field, "rule": rule});
        let expected_array = Some(is(".", "type"));
        for (body, expected) in [
            (json!(values).to_string().into_bytes(), expected_array),
            (b"[]".to_vec(), Some(is(".", "type"))),
            (format!("{{{inner},\"{first}\":null}}").into_bytes(), Some(is(first, "unique_keys"))),
            (
                format!("{{{inner},\"x\":1,\"\\u0078\":1}}").into_bytes(),
                Some(is("x", "unique_keys")),
            ),
            (
                format!("{{{inner},\"x\":[{{\"y\":{{\"z\":1,\"z\":1}}}}]}}").into_bytes(),
                Some(is("x", "unique_keys")),
            ),
            (format!("{text},").into_bytes(), Some(is("body", "json"))),
            (format!("{text}{{}}").into_bytes(), Some(is("body", "json"))),
            (format!("\u{feff}{text}").into_bytes(), None),
            ([text.as_bytes(), b"\0"].concat(), None),
            ([&b"{\"x\":\"\xff\","[..], inner.as_bytes(), b"}"].concat(), None),
            (Vec::new(), None),
        ] {
            let response = post(path, body.clone()).await;
            let shown = String::from_utf8_lossy(&body);
            assert_eq!(response.error(), "invalid_request", "{path} {shown}: {}", response.text);
            assert_eq!(response.status, 422);
            let found = &response.json()["data"];
            match expected {
                Some(expected) => assert_eq!(found, &expected, "{path} {shown}"),
                None => assert_eq!(found["rule"], "json", "{path} {shown}"),
            }
        }
        for number in ["1e400", "-1e400", "[1,{\"y\":1E+309}]"] {
            let body = format!("{{{inner},\"x\":{number}}}");
            let response = post(path, body.into_bytes()).await;
            assert_error(&response, 422, "number_out_of_range");
            assert_eq!(response.json()["data"], json!({"field": "x"}));
        }
    }
    assert_eq!(data(&raw.get("/api/diary/20260216").await, 200)["version"], Value::Null);
}

pub async fn encoded_bodies_are_rejected(server: &impl Target) {
    const JSON: (&str, &str) = ("content-type", "application/json");
    let raw = Device::sign_up(server).await.0.raw;
    let post = async |path: &str, body: &Value, headers: &[(&str, &str)]| {
        let request = raw.request(Method::POST, path).body(body.to_string());
        RawResponse::send(
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)),
        )
        .await
    };
    for (path, body) in bodies() {
        for headers in [
            &[][..],
            &[("content-type", "text/plain")],
            &[("content-type", "application/x-www-form-urlencoded")],
            &[("content-type", "application/json; charset=euc-kr")],
            &[("content-type", "application/json; charset=utf-16")],
            &[JSON, ("content-type", "text/plain")],
            &[JSON, ("content-encoding", "gzip")],
            &[JSON, ("content-encoding", "br")],
            &[JSON, ("content-encoding", "identity, deflate")],
            &[JSON, ("content-encoding", "identity"), ("content-encoding", "zstd")],
        ] {
            let response = post(path, &body, headers).await;
            assert_error(&response, 415, "unsupported_media_type");
        }
    }
    let body = |title: &str| json!({"title": title, "content": {"type": "doc"}});
    for (date, headers) in [
        ("20260216", &[("content-type", "application/json; charset=\"UTF-8\"")][..]),
        ("20260217", &[("content-type", "Application/JSON;charset=utf-8")]),
        ("20260218", &[JSON, ("content-encoding", "identity")]),
        ("20260219", &[("content-type", "application/prosemirror+json")]),
    ] {
        data(&post(&format!("/api/diary/{date}"), &body("글"), headers).await, 201);
    }
}

pub async fn request_ids_are_echoed_or_generated(server: &impl Target) {
    let raw = RawClient::anonymous(&server.url());
    let id = async |sent: &str| {
        let request = raw.request(Method::GET, "/api/diary/20260216");
        let response = RawResponse::send(request.header("x-request-id", sent)).await;
        response.headers["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(id("my-id.7").await, "my-id.7");
    for invalid in ["two words", "", &"x".repeat(129)] {
        assert_eq!(id(invalid).await.len(), 36, "{invalid}");
    }
}
