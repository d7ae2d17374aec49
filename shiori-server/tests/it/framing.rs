//! Requests whose framing is ambiguous or invalid, so that a proxy in front of the server might see
//! other requests than the server (request smuggling).

use serde_json::json;

use crate::{
    raw_client::RawClient,
    test_server::TestServer,
    wire::{Wire, head},
};

/// A parser that reads another length of the body before it takes this for a separate request.
const SMUGGLED: &str = "GET /healthz HTTP/1.1\r\nhost: shiori\r\n\r\n";

/// Sends these bytes and returns everything until the server closes the connection.
async fn exchange(server: &TestServer, bytes: &str) -> String {
    let mut wire = Wire::connect(server).await;
    wire.send(bytes).await;
    wire.rest().await
}

fn responses(received: &str) -> usize {
    received.matches("HTTP/1.1 ").count()
}

#[tokio::test]
async fn invalid_framing_gets_400_and_ends_the_connection() {
    let server = TestServer::start().await;
    for headers in [
        "content-length: 5\r\ncontent-length: 50\r\n",
        "content-length: 5, 5\r\n",
        "content-length: +5\r\n",
        "content-length: -5\r\n",
        "content-length: 0x5\r\n",
        "content-length: 5 0\r\n",
        "content-length: \r\n",
        "content-length: 99999999999999999999\r\n",
        "content-length : 5\r\n",
        "transfer-encoding: identity\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding: chunked, gzip\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
        "transfer-encoding : chunked\r\n",
        "transfer-encoding: \u{b}chunked\r\n",
        " transfer-encoding: chunked\r\n",
        // A folded line (obs-fold), a carriage return alone, and a zero byte.
        "x-a: 1\r\n transfer-encoding: chunked\r\n",
        "x-a: 1\r\n\tcontent-length: 5\r\n",
        "x-a: 1\rtransfer-encoding: chunked\r\n",
        "x-a: 1\0\r\n",
        "x-a\r\n",
        ": 5\r\n",
    ] {
        let sent = head("POST", "/api/user/login", headers) + SMUGGLED;
        let received = exchange(&server, &sent).await;
        assert!(received.starts_with("HTTP/1.1 400 "), "{headers:?}: {received}");
        assert_eq!(responses(&received), 1, "{headers:?}: {received}");
    }
    for line in [
        "POST /healthz HTTP/1.0\r\nhost: shiori\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /healthz HTTP/1.1 HTTP/1.1\r\nhost: shiori\r\n\r\n",
        "GET /a b HTTP/1.1\r\nhost: shiori\r\n\r\n",
        "GET\t/healthz HTTP/1.1\r\nhost: shiori\r\n\r\n",
        "GET /healthz HTTP/1.2\r\nhost: shiori\r\n\r\n",
    ] {
        let received = exchange(&server, &format!("{line}{SMUGGLED}")).await;
        assert!(received.starts_with("HTTP/1.1 400 "), "{line:?}: {received}");
        assert_eq!(responses(&received), 1, "{line:?}: {received}");
    }
    server.stop().await;
}

/// RFC 9112, section 6.3: the length is ignored, and the connection is closed after the response.
#[tokio::test]
async fn a_body_with_a_length_and_chunks_ends_the_connection() {
    let server = TestServer::start().await;
    let (length, chunked) = ("content-length: 5\r\n", "transfer-encoding: chunked\r\n");
    for headers in [format!("{length}{chunked}"), format!("{chunked}{length}")] {
        let sent = head("POST", "/api/user/login", &headers) + "0\r\n\r\n" + SMUGGLED;
        let received = exchange(&server, &sent).await;
        // 415, because the request has no content type.
        assert!(received.starts_with("HTTP/1.1 415 "), "{received}");
        assert_eq!(responses(&received), 1, "{received}");
    }
    server.stop().await;
}

#[tokio::test]
async fn invalid_chunks_get_400_and_end_the_connection() {
    let server = TestServer::start().await;
    for chunks in [
        "5\r\nabcdefg\r\n0\r\n\r\n",
        "0x5\r\nabcde\r\n0\r\n\r\n",
        "+5\r\nabcde\r\n0\r\n\r\n",
        "-1\r\nabcde\r\n0\r\n\r\n",
        "5 5\r\nabcde\r\n0\r\n\r\n",
        "\r\nabcde\r\n0\r\n\r\n",
        "5\nabcde\r\n0\r\n\r\n",
        "5;a\nabcde\r\n0\r\n\r\n",
        "5\r\nabcde\n0\r\n\r\n",
        "fffffffffffffffff\r\nabcde\r\n0\r\n\r\n",
    ] {
        let headers = "content-type: application/json\r\ntransfer-encoding: chunked\r\n";
        let sent = head("POST", "/api/user/login", headers) + chunks + SMUGGLED;
        let received = exchange(&server, &sent).await;
        assert!(received.starts_with("HTTP/1.1 400 "), "{chunks:?}: {received}");
        assert!(received.contains("\"malformed_request\""), "{chunks:?}: {received}");
        assert_eq!(responses(&received), 1, "{chunks:?}: {received}");
    }
    server.stop().await;
}

/// RFC 9112, section 2.2, permits a line feed alone as the end of a line. The request is the same as
/// with both characters.
#[tokio::test]
async fn a_bare_line_feed_ends_a_line_and_hides_nothing() {
    let server = TestServer::start().await;
    let raw = RawClient::sign_up(&server.url()).await;
    let body = json!({"title": "글", "content": {"type": "doc"}}).to_string();
    let headers = format!(
        "authorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
        raw.token(),
        body.len()
    );
    let sent = head("POST", "/api/diary/20260216", &headers).replace("\r\n", "\n");
    let mut wire = Wire::connect(&server).await;
    wire.send(sent + &body).await;
    assert_eq!(wire.response().await.status, 201);
    wire.send(SMUGGLED).await;
    assert_eq!(wire.response().await.status, 200, "the connection is in step");

    // A header that a line feed begins counts, so that two lengths are found.
    let headers = "x-a: 1\ncontent-length: 5\r\ncontent-length: 50\r\n";
    let received = exchange(&server, &(head("POST", "/api/user/login", headers) + SMUGGLED)).await;
    assert!(received.starts_with("HTTP/1.1 400 ") && responses(&received) == 1, "{received}");
    server.stop().await;
}

/// Paths are matched as they are sent: they are neither normalised nor decoded before.
#[tokio::test]
async fn no_path_reaches_a_file_or_the_internal_api() {
    let server = TestServer::with_config(|config| {
        config.internal_listen = Some("127.0.0.1:0".parse().unwrap());
    })
    .await;
    let token = format!("authorization: Bearer {}\r\n", server.internal_token());
    for path in [
        "/docs/../../../../etc/passwd",
        "/docs/..%2f..%2f..%2fetc/passwd",
        "/docs/%2e%2e/%2e%2e/jwt.secret",
        "/docs/..\\..\\jwt.secret",
        "/docs//etc/passwd",
        "/docs/swagger-ui.css%00.html",
        "/../jwt.secret",
        "//etc/passwd",
        "/api/internal/check",
        "/api/./internal/check",
        "/api/diary/../internal/check",
        "/api/diary/%2e%2e/internal/check",
        "/api/diary/..;/internal/check",
        "/api%2finternal%2fcheck",
        "//api/internal/check",
        "/API/INTERNAL/check",
        "/api/internal/check/",
    ] {
        for method in ["GET", "POST"] {
            let mut wire = Wire::connect(&server).await;
            wire.send(head(method, path, &format!("{token}content-length: 0\r\n"))).await;
            let response = wire.response().await;
            assert!(matches!(response.status, 401 | 404 | 405), "{path}: {}", response.status);
            assert!(!response.body.to_string().contains("root:"), "{path}");
        }
    }
    // The token was right.
    let internal = RawClient::with_token(&server.internal_url(), &server.internal_token());
    assert_eq!(internal.post("/api/internal/check", &json!({})).await.status, 200);
    server.stop().await;
}
