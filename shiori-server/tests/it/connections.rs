//! Connections of slow, silent and faulty clients, over plain TCP.

use std::time::Duration;

use serde_json::json;
use shiori_server::{ConnectionPolicy, WorkerMode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    fixtures::{wait_until, week, write_week},
    process::Process,
    raw_client::RawClient,
    test_server::TestServer,
    wire::{PATIENCE, Wire, head},
};

/// A timeout that tests wait for.
const SHORT: Duration = Duration::from_millis(200);

async fn server(change: impl FnOnce(&mut ConnectionPolicy)) -> TestServer {
    TestServer::with_config(|config| change(&mut config.connections)).await
}

#[tokio::test]
async fn a_connection_without_a_complete_head_is_closed() {
    let server = server(|policy| policy.head_timeout = SHORT).await;
    for sent in ["", "GET /healthz HTT", "GET /healthz HTTP/1.1\r\nhost: shiori\r\nx-a: "] {
        let mut wire = Wire::connect(&server).await;
        wire.send(sent).await;
        assert_eq!(wire.rest().await, "", "after {sent:?}");
    }
    // The same for the head of a second request, whose timeout begins with its first byte.
    let mut wire = Wire::connect(&server).await;
    wire.send(head("GET", "/healthz", "")).await;
    assert_eq!(wire.response().await.status, 200);
    wire.send("GET /healthz HTT").await;
    assert_eq!(wire.rest().await, "");
    server.stop().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let server = server(|policy| policy.idle_timeout = SHORT).await;
    let mut wire = Wire::connect(&server).await;
    wire.send(head("GET", "/healthz", "")).await;
    assert_eq!(wire.response().await.status, 200);
    assert_eq!(wire.rest().await, "");
    server.stop().await;
}

/// The stream sends only comments for longer than every timeout.
#[tokio::test]
async fn a_long_poll_and_an_event_stream_are_not_idle() {
    let server = TestServer::with_config(|config| {
        config.worker = WorkerMode::None;
        config.connections.head_timeout = SHORT;
        config.connections.idle_timeout = SHORT;
        config.connections.unread_timeout = SHORT;
    })
    .await;
    let (client, email) = server.sign_up().await;
    write_week(&client, "기다리는 주").await;
    let summary = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
    let token = RawClient::log_in(&server.url(), &email).await.token().to_owned();
    let authorization = format!("authorization: Bearer {token}\r\n");

    let mut stream = Wire::connect(&server).await;
    let path = format!("/api/diary/summary/{}/events", summary.id());
    stream.send(head("GET", &path, &authorization)).await;
    let mut poll = Wire::connect(&server).await;
    let path = format!("/api/diary/summary/{}?after=1&wait=2", summary.id());
    poll.send(head("GET", &path, &authorization)).await;
    assert_eq!(poll.response().await.status, 200);

    summary.cancel().await.unwrap();
    let mut events = String::new();
    while !events.contains("cancelled") {
        let mut buffer = [0; 4096];
        let read = timeout(PATIENCE, stream.0.read(&mut buffer)).await.expect("in time").unwrap();
        assert_ne!(read, 0, "the stream is open: {events}");
        events.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_missing_body_gets_408_on_every_route() {
    let server = server(|policy| policy.body_timeout = SHORT).await;
    for (method, path) in [
        ("POST", "/api/user/login"),
        ("POST", "/api/diary/20260216"),
        ("GET", "/api/diary/20260216"),
        ("POST", "/api/internal/summarize/result"),
        ("POST", "/api/nowhere"),
        ("DELETE", "/healthz"),
    ] {
        for headers in ["content-length: 500000\r\n", "transfer-encoding: chunked\r\n"] {
            let mut wire = Wire::connect(&server).await;
            wire.send(head(method, path, headers) + "1").await;
            let response = wire.response().await;
            assert_eq!((response.status, response.error()), (408, "request_timeout"), "{path}");
            assert!(response.head.contains("connection: close"), "{}", response.head);
            wire.closed().await;
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_arrives_in_parts_is_received() {
    let server = server(|_| {}).await;
    let raw = RawClient::sign_up(&server.url()).await;
    let body = json!({"title": "글", "content": {"type": "doc", "x": "글".repeat(100_000)}});
    let body = body.to_string();
    let authorization = format!("authorization: Bearer {}\r\n", raw.token());
    let kind = "content-type: application/json\r\n";
    let mut wire = Wire::connect(&server).await;
    let headers = format!("{authorization}{kind}content-length: {}\r\n", body.len());
    wire.send(head("POST", "/api/diary/20260216", &headers)).await;
    for part in body.as_bytes().chunks(7_000) {
        wire.send(part).await;
    }
    let saved = wire.response().await;
    assert_eq!(saved.status, 201, "{}", saved.body);
    let headers = format!("{authorization}{kind}transfer-encoding: chunked\r\n");
    wire.send(head("POST", "/api/diary/20260217", &headers)).await;
    for part in body.as_bytes().chunks(7_000) {
        wire.send(format!("{:x}\r\n", part.len())).await;
        wire.send(part).await;
        wire.send("\r\n").await;
    }
    wire.send("0\r\n\r\n").await;
    let saved = wire.response().await;
    assert_eq!(saved.status, 201, "{}", saved.body);
    server.stop().await;
}

#[tokio::test]
async fn a_body_over_the_limit_gets_a_413_that_the_client_can_read() {
    let server = server(|_| {}).await;
    // From the header alone, before any byte of the body.
    let mut wire = Wire::connect(&server).await;
    wire.send(head("POST", "/api/user/login", "content-length: 5000000\r\n")).await;
    let response = wire.response().await;
    assert_eq!((response.status, response.error()), (413, "body_too_large"));
    // The connection can be used after the rest, and is not reset.
    wire.send(vec![b'x'; 5_000_000]).await;
    wire.send(head("GET", "/healthz", "")).await;
    assert_eq!(wire.response().await.status, 200);

    // A client that only reads after it has sent everything.
    let mut wire = Wire::connect(&server).await;
    let sent = 10 << 20;
    wire.send(head("POST", "/api/nowhere", &format!("content-length: {sent}\r\n"))).await;
    wire.send(vec![b'x'; sent]).await;
    assert_eq!(wire.response().await.error(), "body_too_large");

    // The same without a length.
    let mut wire = Wire::connect(&server).await;
    wire.send(head("POST", "/api/user/login", "transfer-encoding: chunked\r\n")).await;
    let chunk = [b"40000\r\n".as_slice(), &vec![b'x'; 0x40000], b"\r\n"].concat();
    for _ in 0..20 {
        wire.send(&chunk).await;
    }
    wire.send("0\r\n\r\n").await;
    assert_eq!(wire.response().await.error(), "body_too_large");

    // A client with `Expect: 100-continue` sends no body.
    let mut wire = Wire::connect(&server).await;
    let headers = "content-length: 5000000\r\nexpect: 100-continue\r\n";
    wire.send(head("POST", "/api/user/login", headers)).await;
    assert_eq!(wire.response().await.error(), "body_too_large");
    server.stop().await;
}

#[tokio::test]
async fn a_request_must_have_exactly_one_host() {
    let server = server(|_| {}).await;
    for (request, expected) in [
        ("GET /healthz HTTP/1.1\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nhost: a/b\r\n\r\n", 400),
        ("GET /api/nowhere HTTP/1.1\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n", 200),
        ("GET /healthz HTTP/1.0\r\n\r\n", 200),
    ] {
        let mut wire = Wire::connect(&server).await;
        wire.send(request).await;
        let response = wire.response().await;
        assert_eq!(response.status, expected, "{request:?}");
        if expected == 400 {
            assert_eq!(response.error(), "malformed_request");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_head_over_the_limit_gets_431() {
    let server = server(|policy| policy.max_head_bytes = 16 << 10).await;
    let mut wire = Wire::connect(&server).await;
    wire.send(head("GET", "/healthz", &format!("x-a: {}\r\n", "a".repeat(8 << 10)))).await;
    assert_eq!(wire.response().await.status, 200);
    let mut wire = Wire::connect(&server).await;
    wire.send(head("GET", "/healthz", &format!("x-a: {}\r\n", "a".repeat(20 << 10)))).await;
    assert!(wire.rest().await.starts_with("HTTP/1.1 431 "));
    server.stop().await;
}

/// A user whose diary of 2026-02-16 takes 1 MB.
async fn with_a_long_diary(server: &TestServer) -> RawClient {
    let raw = RawClient::sign_up(&server.url()).await;
    let body = json!({"title": "글", "content": {"type": "doc", "x": "a".repeat(1_000_000)}});
    assert_eq!(raw.post("/api/diary/20260216", &body).await.status, 201);
    raw
}

/// The responses fill the buffers of both sides.
#[tokio::test]
async fn a_client_that_does_not_read_is_disconnected() {
    let server = server(|policy| policy.unread_timeout = SHORT).await;
    let raw = with_a_long_diary(&server).await;

    let mut wire = Wire::connect(&server).await;
    let authorization = format!("authorization: Bearer {}\r\n", raw.token());
    wire.send(head("GET", "/api/diary/20260216", &authorization).repeat(40)).await;
    // The write fails only after the server has closed the connection.
    let closed = async {
        while wire.0.write_all(b"\r\n").await.is_ok() {
            tokio::time::sleep(SHORT / 10).await;
        }
    };
    timeout(PATIENCE, closed).await.expect("closed in time");
    // A client that reads gets everything.
    assert_eq!(raw.get("/api/diary/20260216").await.status, 200);
    server.stop().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn connections_of_one_address_are_limited() {
    let server = server(|policy| policy.max_connections_per_address = 2).await;
    let mut first = Wire::connect_from(&server, "127.0.0.2:0").await;
    let mut second = Wire::connect_from(&server, "127.0.0.2:0").await;
    let mut third = Wire::connect_from(&server, "127.0.0.2:0").await;
    let refused = third.response().await;
    assert_eq!((refused.status, &refused.body["error"]), (503, &json!("unavailable")));
    assert!(refused.head.contains("retry-after: ") && refused.head.contains("connection: close"));
    third.closed().await;
    // Other addresses are served, and this one again after it has closed a connection.
    for wire in [&mut first, &mut second, &mut Wire::connect_from(&server, "127.0.0.3:0").await] {
        wire.send(head("GET", "/healthz", "")).await;
        assert_eq!(wire.response().await.status, 200);
    }
    drop(first);
    wait_until("a connection is admitted", async || {
        Wire::connect_from(&server, "127.0.0.2:0").await.is_served().await
    })
    .await;
    drop(second);
    server.stop().await;
}

#[tokio::test]
async fn silent_connections_are_closed_when_all_slots_are_in_use() {
    let server = server(|policy| {
        policy.max_connections = 8;
        policy.head_timeout = PATIENCE * 100;
    })
    .await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(Wire::connect(&server).await);
    }
    wait_until("a connection is admitted", async || Wire::connect(&server).await.is_served().await)
        .await;
    drop(silent);
    server.stop().await;
}

/// `stop` fails after the drain timeout.
#[tokio::test]
async fn connections_without_a_complete_request_do_not_delay_the_shutdown() {
    let server = server(|_| {}).await;
    let mut wires = Vec::new();
    for sent in [
        String::new(),
        "GET /healthz HTT".to_owned(),
        head("GET", "/healthz", "x-a: "),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
    ] {
        let mut wire = Wire::connect(&server).await;
        wire.send(sent.trim_end_matches("\r\n\r\n")).await;
        wires.push(wire);
    }
    let mut half_body = Wire::connect(&server).await;
    half_body.send(head("POST", "/api/user/login", "content-length: 500\r\n") + "{").await;
    let mut idle = Wire::connect(&server).await;
    idle.send(head("GET", "/healthz", "")).await;
    assert_eq!(idle.response().await.status, 200);
    server.stop().await;
    assert_eq!(half_body.response().await.error(), "unavailable");
    for mut wire in wires {
        wire.closed().await;
    }
    assert_eq!(idle.rest().await, "");
}

/// A client that does not read its response delays the shutdown by at most a second.
#[tokio::test]
async fn an_unread_response_does_not_fail_the_shutdown() {
    let server = server(|_| {}).await;
    let raw = with_a_long_diary(&server).await;
    let mut wire = Wire::connect(&server).await;
    let authorization = format!("authorization: Bearer {}\r\n", raw.token());
    wire.send(head("GET", "/api/diary/20260216", &authorization).repeat(40)).await;
    wire.0.readable().await.unwrap();
    server.stop().await;
}

/// The socket accepts all bytes, but the client does not open its window.
#[tokio::test]
async fn an_http2_stream_that_is_not_read_is_closed() {
    let server = server(|policy| policy.unread_timeout = SHORT).await;
    let raw = with_a_long_diary(&server).await;

    let socket = TcpStream::connect(server.addr()).await.unwrap();
    let (mut requests, connection) = h2::client::handshake(socket).await.unwrap();
    let ended = tokio::spawn(connection);
    let request = http::Request::get(format!("{}/api/diary/20260216", server.url()))
        .header("authorization", format!("Bearer {}", raw.token()))
        .body(())
        .unwrap();
    let (response, _) = requests.send_request(request, true).unwrap();
    let response = timeout(PATIENCE, response).await.expect("in time").unwrap();
    assert_eq!(response.status(), 200);
    let unread = response.into_body();
    let _closed = timeout(PATIENCE, ended).await.expect("closed in time").unwrap();
    drop(unread);
    server.stop().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_limit_of_open_files_is_raised() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [("SHIORI_DATA_DIR", dir.path().to_str().unwrap())];
    let server = Process::server_with_open_files(50, 500, &settings).await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().nth(3), Some("500"), "{files}");
    server.terminate().await;
}

/// With more connections than descriptors, `accept` fails, but the server continues.
#[tokio::test]
async fn a_server_without_descriptors_continues() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [("SHIORI_DATA_DIR", dir.path().to_str().unwrap())];
    let server = Process::server_with_open_files(80, 80, &settings).await;
    let mut silent = Vec::new();
    for _ in 0..120 {
        silent.push(Wire::connect_to(&server).await);
    }
    wait_until("a request is answered", async || {
        timeout(SHORT * 10, Wire::connect_to(&server).await.is_served()).await == Ok(true)
    })
    .await;
    drop(silent);
    server.terminate().await;
}
