//! HTTP/2 as bytes: floods of frames, and requests that HTTP/2 forbids.

use std::time::Duration;

use shiori_server::ConnectionPolicy;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

use crate::{raw_client::RawClient, test_server::TestServer, wire::PATIENCE};

/// A timeout that tests wait for.
const SHORT: Duration = Duration::from_millis(200);

/// Types and flags of frames (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// Headers as literals without compression (RFC 7541, section 6.2.2). Each part is shorter than 127 bytes.
fn headers(fields: &[(&str, &str)]) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).unwrap();
    let field = |(name, value): &(&str, &str)| {
        [&[0, length(name)], name.as_bytes(), &[length(value)], value.as_bytes()].concat()
    };
    fields.iter().flat_map(field).collect()
}

fn request(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let pseudo =
        [(":method", method), (":path", path), (":scheme", "http"), (":authority", "shiori")];
    headers(&[&pseudo, more].concat())
}

/// A frame of the server.
struct Received {
    kind: u8,
    stream: u32,
    payload: Vec<u8>,
}

async fn next(reader: &mut OwnedReadHalf) -> Option<Received> {
    let mut head = [0; 9];
    reader.read_exact(&mut head).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    let mut payload = vec![0; length as usize];
    reader.read_exact(&mut payload).await.ok()?;
    Some(Received { kind: head[3], stream, payload })
}

/// Reads until the server ends the connection. Returns the code of its GOAWAY.
async fn code_of_the_end(reader: &mut OwnedReadHalf) -> Option<u32> {
    let mut code = None;
    while let Some(Received { kind, payload, .. }) = next(reader).await {
        if kind == GOAWAY {
            code = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
    }
    code
}

async fn server(change: impl FnOnce(&mut ConnectionPolicy)) -> TestServer {
    TestServer::with_config(|config| change(&mut config.connections)).await
}

async fn connect(server: &TestServer) -> (OwnedReadHalf, OwnedWriteHalf) {
    let (reader, mut writer) = TcpStream::connect(server.addr()).await.unwrap().into_split();
    writer.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    writer.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    (reader, writer)
}

/// Sends frames until the server ends the connection, which it must do before it has received `most` of
/// them. They are more than the buffers of the sockets contain.
async fn flood(mut writer: OwnedWriteHalf, most: u32, mut frames: impl FnMut(u32) -> Vec<u8>) {
    for nth in 0..most {
        if writer.write_all(&frames(nth)).await.is_err() {
            return;
        }
    }
    panic!("the server accepts any number of frames");
}

/// The connection has ended, and other clients are served.
async fn assert_served(server: TestServer) {
    assert_eq!(RawClient::anonymous(&server.url()).get("/healthz").await.status, 200);
    server.stop().await;
}

/// Rapid reset (CVE-2023-44487).
#[tokio::test]
async fn a_flood_of_http2_resets_ends_the_connection() {
    /// The server takes the client's behaviour for an attack.
    const ENHANCE_YOUR_CALM: u32 = 0xb;
    let server = server(|_| {}).await;
    let (mut reader, writer) = connect(&server).await;
    let block = request("GET", "/api/diary/20260216", &[]);
    let flood = tokio::spawn(flood(writer, 200_000, move |nth| {
        let stream = 2 * nth + 1;
        let cancel = frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
        [frame(HEADERS, END_HEADERS | END_STREAM, stream, &block), cancel].concat()
    }));
    let code = timeout(PATIENCE, code_of_the_end(&mut reader)).await.expect("in time");
    assert!(matches!(code, None | Some(ENHANCE_YOUR_CALM)), "{code:?}");
    timeout(PATIENCE, flood).await.expect("in time").unwrap();
    assert_served(server).await;
}

/// Headers without an end (CVE-2024-27316).
#[tokio::test]
async fn endless_http2_headers_end_the_connection() {
    let server = server(|_| {}).await;
    let (_reader, mut writer) = connect(&server).await;
    let block = request("GET", "/healthz", &[]);
    writer.write_all(&frame(HEADERS, END_STREAM, 1, &block)).await.unwrap();
    let fields = headers(&[("x-a", &"a".repeat(100))]).repeat(150);
    let endless = flood(writer, 10_000, |_| frame(CONTINUATION, 0, 1, &fields));
    timeout(PATIENCE, endless).await.expect("in time");
    assert_served(server).await;
}

/// Each of these frames requires a response, which the client does not read.
#[tokio::test]
async fn unread_responses_to_http2_control_frames_end_the_connection() {
    let server = server(|policy| policy.unread_timeout = SHORT).await;
    for kind in [PING, SETTINGS] {
        let (_unread, writer) = connect(&server).await;
        let payload: &[u8] = if kind == PING { &[0; 8] } else { &[] };
        let frames = frame(kind, 0, 0, payload).repeat(1000);
        timeout(PATIENCE, flood(writer, 100_000, |_| frames.clone())).await.expect("in time");
    }
    assert_served(server).await;
}

/// Empty parts do not extend the time of a body.
#[tokio::test]
async fn a_body_of_empty_http2_frames_times_out() {
    let server = server(|policy| policy.body_timeout = SHORT).await;
    let (mut reader, mut writer) = connect(&server).await;
    let block = request("POST", "/api/user/login", &[("content-type", "application/json")]);
    writer.write_all(&frame(HEADERS, END_HEADERS, 1, &block)).await.unwrap();
    let empty = tokio::spawn(async move {
        while writer.write_all(&frame(DATA, 0, 1, &[])).await.is_ok() {
            tokio::time::sleep(SHORT / 100).await;
        }
    });
    let responds = async {
        while let Some(Received { kind, stream, .. }) = next(&mut reader).await {
            if kind == HEADERS && stream == 1 {
                return true;
            }
        }
        false
    };
    assert!(timeout(PATIENCE, responds).await.expect("in time"), "a response");
    empty.abort();
    assert_served(server).await;
}

/// A proxy that translates these requests to HTTP/1 would send another request (RFC 9113, section 8.2).
#[tokio::test]
async fn http2_requests_that_http1_would_read_differently_are_rejected() {
    let server = server(|_| {}).await;
    for more in [
        ("transfer-encoding", "chunked"),
        ("connection", "keep-alive"),
        ("content-length", "3"),
        ("x-a", "1\r\nhost: elsewhere"),
        ("x-a", "1\0"),
        ("x-a: 1\r\nx-b", "1"),
        ("X-Upper", "1"),
        (":path", "/elsewhere"),
        ("x-a b", "1"),
    ] {
        let (mut reader, mut writer) = connect(&server).await;
        let block = request("POST", "/healthz", &[more]);
        writer.write_all(&frame(HEADERS, END_HEADERS, 1, &block)).await.unwrap();
        let _ = writer.write_all(&frame(DATA, END_STREAM, 1, b"GET / HTTP/1.1")).await;
        let rejects = async {
            while let Some(Received { kind, stream, .. }) = next(&mut reader).await {
                match kind {
                    HEADERS => return false,
                    RST_STREAM if stream == 1 => return true,
                    GOAWAY => return true,
                    _ => {}
                }
            }
            true
        };
        assert!(timeout(PATIENCE, rejects).await.expect("in time"), "{more:?}");
    }
    // Checks the helpers: a request that is permitted gets a response.
    let (mut reader, mut writer) = connect(&server).await;
    let block = request("GET", "/healthz", &[("x-a", "1")]);
    writer.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)).await.unwrap();
    let responds = async { while next(&mut reader).await.unwrap().kind != HEADERS {} };
    timeout(PATIENCE, responds).await.expect("a response");
    assert_served(server).await;
}
