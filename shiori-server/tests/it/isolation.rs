//! What strangers cannot reach: routes without a token, ids of another user, and secrets in stolen files.

use std::fs;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::Method;
use serde_json::{Value, json};
use shiori_sdk::{SaveId, SessionId, SummaryId};

use crate::{
    fixtures::{PASSWORD, fresh_email},
    raw_client::{RawClient, RawResponse},
    test_server::TestServer,
};

const DAY: &str = "/api/diary/20260216";
const MARKER: &str = "남에게 보이지 않을 글";

fn data(response: &RawResponse, status: u16) -> Value {
    assert_eq!(response.status, status, "{}", response.text);
    response.json()["data"].clone()
}

fn text(text: &str) -> Value {
    json!({"type": "doc", "content": [
        {"type": "paragraph", "content": [{"type": "text", "text": text}]}]})
}

/// A test compares the description with the routes, so a new route is covered.
#[tokio::test]
async fn every_described_route_requires_a_token() {
    let server = TestServer::start().await;
    let raw = RawClient::anonymous(&server.url());
    let description = raw.get("/api/openapi.json").await.json();
    let mut open = Vec::new();
    for (path, operations) in description["paths"].as_object().unwrap() {
        let url = path.replace("{id}", "x").replace("{date}", "x").replace("{version}", "x");
        for method in ["get", "post", "put", "patch", "delete"] {
            if !operations[method].is_object() {
                continue;
            }
            let method: Method = method.to_uppercase().parse().unwrap();
            let response = raw.send(method.clone(), &url, None).await;
            if response.status == 401 {
                assert_eq!(response.error(), "unauthorized", "{path}");
            } else {
                open.push(format!("{method} {path}"));
            }
        }
    }
    assert_eq!(
        open,
        [
            "POST /api/auth/refresh",
            "POST /api/auth/verify",
            "POST /api/user/login",
            "POST /api/user/signup",
            "GET /healthz",
            "GET /metrics",
            "GET /readyz",
        ]
    );
    server.stop().await;
}

/// The stranger knows every id of the owner.
#[tokio::test]
async fn ids_of_another_user_find_nothing() {
    let server = TestServer::without_worker().await;
    let owner = RawClient::sign_up(&server.url()).await;
    let save_id = SaveId::new();
    let save = |title: &str, version: Value| json!({"title": title, "content": text(title), "version": version, "save_id": save_id});
    for day in 16..=22 {
        let body = json!({"title": MARKER, "content": text(MARKER)});
        data(&owner.post(&format!("/api/diary/202602{day}"), &body).await, 201);
    }
    data(&owner.delete(&format!("{DAY}?version=1")).await, 200);
    data(&owner.post(DAY, &save(MARKER, Value::Null)).await, 201);
    let week = json!({"start": "20260216", "end": "20260222"});
    let summary = data(&owner.post("/api/diary/summary", &week).await, 202)["id"].clone();
    let summary: SummaryId = serde_json::from_value(summary).unwrap();
    let session = data(&owner.get("/api/auth/sessions").await, 200)[0]["id"].clone();
    let session: SessionId = serde_json::from_value(session).unwrap();
    let before = data(&owner.get(DAY).await, 200);
    assert_eq!(data(&owner.get(&format!("{DAY}/revisions/1")).await, 200)["title"], MARKER);

    let stranger = RawClient::sign_up(&server.url()).await;
    let (other_summary, other_session) = (SummaryId::new(), SessionId::new());
    for (method, path, of_owner, unknown) in [
        (Method::GET, "/api/diary/summary/{}", summary.to_string(), other_summary.to_string()),
        (
            Method::GET,
            "/api/diary/summary/{}?wait=1&after=0",
            summary.to_string(),
            other_summary.to_string(),
        ),
        (
            Method::GET,
            "/api/diary/summary/{}/events",
            summary.to_string(),
            other_summary.to_string(),
        ),
        (Method::DELETE, "/api/diary/summary/{}", summary.to_string(), other_summary.to_string()),
        (Method::DELETE, "/api/auth/sessions/{}", session.to_string(), other_session.to_string()),
        (Method::GET, "/api/diary/{}/revisions/1", "20260216".into(), "20250216".into()),
        (Method::DELETE, "/api/diary/{}?version=3", "20260216".into(), "20250216".into()),
    ] {
        let send =
            async |id: &str| stranger.send(method.clone(), &path.replace("{}", id), None).await;
        let (found, unknown) = (send(&of_owner).await, send(&unknown).await);
        assert_eq!((found.status, found.error().as_str()), (404, "not_found"), "{path}");
        assert_eq!(found.text, unknown.text, "{path}: the same as an unknown id");
    }
    let archive = json!({"archived": true, "version": 3});
    assert_eq!(stranger.post(&format!("{DAY}/archive"), &archive).await.status, 404);
    for path in [
        DAY,
        "/api/diary?start=20260216&end=20260222",
        "/api/diary/versions",
        "/api/diary/20260216/revisions",
        "/api/diary/emotions?start=20260216&end=20260222",
        "/api/diary/reflections?start=20260216&end=20260222",
        "/api/user/export",
        "/api/auth/sessions",
        "/api/user",
    ] {
        let response = stranger.get(path).await;
        assert!(!response.text.contains(MARKER), "{path}: {}", response.text);
        assert!(!response.text.contains(&session.to_string()), "{path}: {}", response.text);
    }
    let read = stranger.post("/api/diary/read", &json!({"dates": ["20260216"]})).await;
    assert_eq!(data(&read, 200)["diaries"], json!([]));
    data(&stranger.delete(&format!("{DAY}/revisions")).await, 200);
    data(&stranger.delete("/api/diary/revisions").await, 200);
    // The id of the owner's save is not taken for a repetition.
    let mine = data(&stranger.post(DAY, &save("내 글", Value::Null)).await, 201);
    assert_eq!((&mine["version"], &mine["replayed"]), (&json!(1), &json!(false)));

    assert_eq!(data(&owner.get(DAY).await, 200), before);
    assert_eq!(data(&owner.get(&format!("{DAY}/revisions/1")).await, 200)["title"], MARKER);
    let summary = data(&owner.get(&format!("/api/diary/summary/{summary}")).await, 200);
    assert_eq!(summary["status"], "queued");
    server.stop().await;
}

/// A thief of the database, or of a backup of it, can neither sign in nor make a token.
#[tokio::test]
async fn a_stolen_database_contains_no_token_secret_or_password() {
    let server = TestServer::start().await;
    let (email, raw) = (fresh_email(), RawClient::anonymous(&server.url()));
    let account = json!({"email": email, "password": PASSWORD, "nickname": "손"});
    data(&raw.post("/api/user/signup", &account).await, 201);
    let login = raw.post("/api/user/login", &account).await;
    let mut secrets = vec![
        PASSWORD.to_owned(),
        "wrong-pass-1".to_owned(),
        data(&login, 200)["token"].as_str().unwrap().to_owned(),
        server.internal_token(),
        fs::read_to_string(server.data_dir().join("jwt.secret")).unwrap(),
    ];
    let mut tags = Vec::new();
    for cookie in login.headers.get_all("set-cookie") {
        let (_, rest) = cookie.to_str().unwrap().split_once('=').unwrap();
        let token = rest.split(';').next().unwrap().to_owned();
        // The last 32 bytes are the tag, which cannot be computed without the secret.
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        tags.push(bytes[bytes.len() - 32..].to_vec());
        secrets.push(token);
    }
    assert_eq!(tags.len(), 2, "a refresh token and a device token");
    let wrong = json!({"email": email, "password": "wrong-pass-1"});
    assert_eq!(raw.post("/api/user/login", &wrong).await.status, 401);

    let dir = server.stop_and_keep().await;
    let files = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_none_or(|extension| extension != "secret"));
    let stored: Vec<u8> = files.flat_map(|path| fs::read(path).unwrap()).collect();
    let contains = |needle: &[u8]| stored.windows(needle.len()).any(|found| found == needle);
    assert!(contains(email.as_bytes()), "the files of the database were read");
    for secret in &secrets {
        assert!(!contains(secret.trim().as_bytes()), "{secret}");
    }
    assert!(tags.iter().all(|tag| !contains(tag)));
}
