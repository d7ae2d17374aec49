//! The OpenAPI document: its snapshot, its completeness, and its examples.

use std::path::Path;

use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::fixtures::{day, fresh_email};
use crate::raw_client::{RawClient, RawResponse};
use crate::test_server::TestServer;

/// `SHIORI_BLESS=1` updates the snapshot.
#[tokio::test]
async fn the_snapshot_is_the_document_of_a_server() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let described = described().await.0;
    if std::env::var_os("SHIORI_BLESS").is_some() {
        std::fs::write(&path, format!("{described}\n")).unwrap();
    }
    let snapshot = std::fs::read_to_string(&path).unwrap_or_default();
    // Not `assert_eq!`, because the texts are long.
    assert!(
        snapshot.trim_end() == described,
        "the API differs from docs/openapi.json; if that is intended, update it: \
         SHIORI_BLESS=1 cargo test -p shiori-server --test it openapi"
    );
}

#[tokio::test]
async fn a_server_with_an_internal_listener_has_the_same_description() {
    let server = TestServer::with_config(|config| {
        config.internal_listen = Some("127.0.0.1:0".parse().unwrap());
    })
    .await;
    let with_internal = RawClient::anonymous(&server.url()).get("/api/openapi.json").await.text;
    server.stop().await;
    assert!(with_internal == described().await.0);
}

#[tokio::test]
async fn every_response_is_described_with_its_body() {
    let document = described().await.1;
    let mut count = 0;
    for (path, method, operation) in operations(&document) {
        let place = format!("{method} {path}");
        for text in ["summary", "operationId", "tags"] {
            assert!(operation.get(text).is_some(), "{place} has no {text}");
        }
        let responses = operation["responses"].as_object().unwrap();
        for (status, response) in responses {
            let place = format!("{place} {status}");
            assert!(response["headers"]["x-request-id"].is_object(), "{place}");
            assert!(!response["description"].as_str().unwrap().is_empty(), "{place}");
            let expected = usize::from(status != "304");
            let contents = response.get("content").and_then(Value::as_object);
            assert_eq!(contents.map_or(0, Map::len), expected, "{place}");
            for content in contents.into_iter().flat_map(Map::values) {
                let examples = content.get("example").or(content.get("examples"));
                assert!(content["schema"].is_object() && examples.is_some(), "{place}");
            }
            count += 1;
        }
        let mut expected = vec!["500", "503"];
        if let Some(schemes) = operation.get("security") {
            expected.push("401");
            assert_eq!(schemes.as_array().unwrap().len(), 1, "{place}");
        }
        if let Some(body) = operation.get("requestBody") {
            expected.extend(["413", "415", "422"]);
            assert_eq!(body["required"], true, "{place}");
            assert!(body["content"]["application/json"]["example"].is_object(), "{place}");
        }
        for status in expected {
            assert!(responses.contains_key(status), "{place} has no {status}");
        }
    }
    assert!(count > 100, "{count}");
}

/// Users of the document may use any programming language.
#[tokio::test]
async fn descriptions_contain_no_terms_of_rust() {
    fn visit(value: &Value, place: &str, count: &mut usize) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let place = format!("{place}/{name}");
                    if let ("description" | "summary", Value::String(text)) = (name.as_str(), value)
                    {
                        *count += 1;
                        for term in
                            ["`Debug`", "`None`", "`Some", "::", "```", "crate", "Rust", "[`"]
                        {
                            assert!(!text.contains(term), "{place}: {text}");
                        }
                    }
                    visit(value, &place, count);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| visit(item, place, count)),
            _ => {}
        }
    }
    let mut count = 0;
    visit(&described().await.1, "", &mut count);
    assert!(count > 300, "{count}");
}

#[tokio::test]
async fn every_reference_has_its_target_and_every_schema_is_used() {
    fn visit<'a>(value: &'a Value, references: &mut Vec<&'a str>) {
        match value {
            Value::Object(fields) => {
                references.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| visit(value, references));
            }
            Value::Array(items) => items.iter().for_each(|item| visit(item, references)),
            _ => {}
        }
    }
    let document = described().await.1;
    let mut references = Vec::new();
    visit(&document, &mut references);
    for reference in &references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    // These only serve as documentation.
    let unused = ["ErrorName", "MethodNotAllowedError"];
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        let reference = format!("#/components/schemas/{name}");
        let is_used = references.contains(&reference.as_str());
        assert_eq!(is_used, !unused.contains(&name.as_str()), "{name}");
    }
}

/// The requests of "Try it out" succeed for a user with a diary on each day of the example's week, and
/// with the user's own ids and tokens.
#[tokio::test]
async fn every_example_request_succeeds() {
    let server = TestServer::start().await;
    // Without a worker, so that the summary stays unfinished and can be cancelled.
    let idle = TestServer::without_worker().await;
    let document = described().await.1;
    let mut count = 0;
    for (path, method, operation) in operations(&document) {
        let place = format!("{method} {path}");
        let cancels = operation["operationId"] == "cancel_summary";
        let server = if cancels { &idle } else { &server };
        let user = User::with_a_week(server, &document, path, method).await;
        let mut url =
            path.replace("{date}", "20260216").replace("{id}", &user.id).replace("{version}", "1");
        let parameters = operation.get("parameters").and_then(Value::as_array);
        let query: Vec<_> = parameters
            .into_iter()
            .flatten()
            .filter(|parameter| parameter["in"] == "query")
            .map(|parameter| {
                format!("{}={}", parameter["name"].as_str().unwrap(), plain(&parameter["example"]))
            })
            .collect();
        if !query.is_empty() {
            url = format!("{url}?{}", query.join("&"));
        }
        let mut request = user.raw.request(method.to_uppercase().parse().unwrap(), &url);
        if let Some(body) = operation.get("requestBody") {
            let mut body = body["content"]["application/json"]["example"].clone();
            if body.get("access_token").is_some() {
                body["access_token"] = json!(user.token);
            }
            if body.get("email").is_some() {
                body["email"] =
                    json!(if path.ends_with("signup") { fresh_email() } else { user.email });
            }
            request = request.json(&body);
        }
        let request = request.header("cookie", &user.cookie);
        let (status, text) = if path == "/api/diary/events" {
            // This stream does not end.
            (request.send().await.unwrap().status().as_u16(), String::new())
        } else {
            let response = RawResponse::send(request).await;
            (response.status, response.text)
        };
        assert!((200..300).contains(&status), "{place}: {text}");
        let described = &operation["responses"][status.to_string()];
        assert!(described.is_object(), "{place}: {status} is not described");
        count += 1;
    }
    assert_eq!(count, 33);
    server.stop().await;
    idle.stop().await;
}

/// A user with the data that the examples refer to.
struct User {
    raw: RawClient,
    email: String,
    token: String,
    cookie: String,
    /// The id in the path of the operation: of the session, or of a summary.
    id: String,
}

impl User {
    async fn with_a_week(server: &TestServer, document: &Value, path: &str, method: &str) -> Self {
        let example = |path: &str| {
            document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]
                .clone()
        };
        let anonymous = RawClient::anonymous(&server.url());
        let email = fresh_email();
        let (mut account, mut credentials) =
            (example("/api/user/signup"), example("/api/user/login"));
        account["email"] = json!(email);
        credentials["email"] = json!(email);
        assert_eq!(anonymous.post("/api/user/signup", &account).await.status, 201);
        let login = anonymous.post("/api/user/login", &credentials).await;
        let token = login.json()["data"]["token"].as_str().unwrap().to_owned();
        let cookie = login.headers["set-cookie"].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let raw = RawClient::with_token(&server.url(), &token);
        // The operation itself is the first save of the example's day.
        let first = if (path, method) == ("/api/diary/{date}", "post") { 17 } else { 16 };
        for date in (first..23).map(day) {
            let saved =
                raw.post(&format!("/api/diary/{date}"), &example("/api/diary/{date}")).await;
            assert_eq!(saved.status, 201, "{}", saved.text);
        }
        if path.ends_with("/revisions/{version}") {
            let deleted = raw.send(Method::DELETE, "/api/diary/20260216?version=1", None).await;
            assert_eq!(deleted.status, 200, "{}", deleted.text);
        }
        let id = if path.starts_with("/api/diary/summary/") {
            let requested = raw.post("/api/diary/summary", &example("/api/diary/summary")).await;
            assert_eq!(requested.status, 202, "{}", requested.text);
            requested.json()["data"]["id"].clone()
        } else {
            raw.get("/api/auth/sessions").await.json()["data"][0]["id"].clone()
        };
        Self { raw, email, token, cookie, id: plain(&id) }
    }
}

/// The text of a string or number.
fn plain(value: &Value) -> String {
    assert!(value.is_string() || value.is_number(), "{value}");
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The served description, as text and parsed.
async fn described() -> (String, Value) {
    let server = TestServer::without_worker().await;
    let response = RawClient::anonymous(&server.url()).get("/api/openapi.json").await;
    assert_eq!(
        (response.status, &response.headers["content-type"]),
        (200, &"application/json".parse().unwrap())
    );
    server.stop().await;
    let document = response.json();
    assert_eq!(document["openapi"], "3.1.0");
    (response.text, document)
}

/// Every operation with its path and method.
fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths.iter().flat_map(|(path, item)| {
        let operations = item.as_object().unwrap().iter();
        operations.map(|(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}
