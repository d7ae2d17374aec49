//! A provider of language models that is hostile or broken, and chooses every byte of its responses.

use std::time::Duration;

use shiori_sdk::FailureKind;
use tokio::{io::AsyncWriteExt, net::TcpListener, time::timeout};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

use crate::openai::{LONG, config, failed, read_request, summarize};

/// Much deeper than any stack permits that is used for each level.
const DEPTH: usize = 50_000;

/// Neither the key nor the week goes to an address that the provider chooses, for example one of the
/// worker's network.
#[tokio::test]
async fn a_redirect_does_not_take_the_key_or_the_week_elsewhere() {
    let internal = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(200)).mount(&internal).await;
    for status in [301, 302, 303, 307, 308] {
        let target = format!("{}/latest/meta-data", internal.uri());
        let redirect = ResponseTemplate::new(status).insert_header("location", &*target);
        let error = failed(redirect).await;
        assert_eq!((error.kind, error.retryable), (FailureKind::ModelRejected, false), "{status}");
    }
    assert!(internal.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn deeply_nested_responses_are_invalid() {
    let array = format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
    let object = format!("{}1{}", "{\"a\":".repeat(DEPTH), "}".repeat(DEPTH));
    for json in [
        array.clone(),
        object.clone(),
        format!("{{\"choices\":{array}}}"),
        format!("{{\"choices\":[{{\"message\":{{\"content\":{array}}}}}]}}"),
        format!("{{\"choices\":[{{\"message\":{{\"content\":[{{\"text\":{array}}}]}}}}]}}"),
        format!("{{\"choices\":[{{\"message\":{{\"thinking\":{object}}}}}]}}"),
        format!("{{\"choices\":[],\"usage\":{object}}}"),
        format!("{{\"error\":{object}}}"),
    ] {
        for (body, kind) in
            [(json.clone(), "application/json"), (format!("data: {json}\n\n"), "text/event-stream")]
        {
            let error = failed(ResponseTemplate::new(200).set_body_raw(body, kind)).await;
            // A field that is not read may have any depth; then the stream has no end.
            let is_expected = matches!(
                error.kind,
                FailureKind::ModelAnswerInvalid | FailureKind::ModelUnavailable
            );
            assert!(is_expected && error.retryable, "{kind} {}: {error}", &json[..40]);
        }
        let error = failed(ResponseTemplate::new(500).set_body_raw(json, "application/json")).await;
        assert_eq!((error.kind, error.retryable), (FailureKind::ModelUnavailable, true));
    }
}

/// What a compressed response would expand to is not read (decompression bomb).
#[tokio::test]
async fn compressed_responses_are_invalid() {
    // gzip of `{"choices":[{"message":{"content":"yes"},"finish_reason":"stop"}]}`.
    const GZIP: &[u8] =
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x0d\xc9\xc1\x0d\x80\x30\x08\x05\xd0\x5d\xfe\xd9\
        \x09\xba\x8a\x31\xa6\x21\x68\x39\x08\x8d\x70\x31\x84\xdd\xed\xf5\xbd\x04\x0d\x13\x62\x47\
        \xdb\x13\x0f\xbb\xf7\x9b\xd1\x12\x64\x1a\xac\x81\x86\x6f\x65\x6d\xb8\x44\xc5\xc7\xf9\x72\
        \x77\xd3\xc5\x1e\x36\x51\x47\xfd\x20\x70\xb4\x4b\x42\x00\x00\x00";
    let response = ResponseTemplate::new(200)
        .set_body_raw(GZIP, "application/json")
        .insert_header("content-encoding", "gzip");
    assert_eq!(failed(response).await.kind, FailureKind::ModelAnswerInvalid);
}

/// A provider that begins its responses with `head`, and then sends `part` until the worker closes the
/// connection.
async fn endless(head: &'static str, part: &'static str) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let sending = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        read_request(&mut connection).await;
        connection.write_all(head.as_bytes()).await.unwrap();
        let parts = part.repeat((1 << 14) / part.len());
        while connection.write_all(parts.as_bytes()).await.is_ok() {}
    });
    (url, sending)
}

#[tokio::test]
async fn endless_heads_bodies_and_events_end_the_request() {
    let events = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    for (head, part) in [
        ("HTTP/1.1 200 OK\r\nx-a: ", "a"),
        ("HTTP/1.1 200 OK\r\n", "x-a: a\r\n"),
        ("HTTP/1.1 200 ", "O"),
        ("HTTP/1.1 200 OK\r\n\r\n", "{\"choices\":["),
        ("HTTP/1.1 500 Oops\r\n\r\n", "<html>"),
        (events, "data: never ends "),
        (events, "data:\n\n"),
        (events, "data: {\"choices\":[{\"delta\":{\"content\":\"\"}}]}\n\n"),
        (events, "data: {\"choices\":[{\"delta\":{\"content\":\"<think>\"}}]}\n\n"),
    ] {
        let (url, sending) = endless(head, part).await;
        let failed = timeout(LONG, summarize(config(&url))).await.expect("in time");
        assert!(failed.unwrap_err().retryable, "{head:?}");
        timeout(LONG, sending).await.expect("the connection is closed").unwrap();
    }
}

/// A response that drips never exceeds a limit of size.
#[tokio::test]
async fn a_response_that_drips_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let dripping = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        read_request(&mut connection).await;
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        connection.write_all(head.as_bytes()).await.unwrap();
        while connection.write_all(b":\n\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let mut config = config(&url);
    config.request_timeout = Duration::from_millis(300);
    let error = timeout(LONG, summarize(config)).await.expect("in time").unwrap_err();
    assert_eq!((error.kind, error.retryable), (FailureKind::ModelUnavailable, true));
    timeout(LONG, dripping).await.expect("the connection is closed").unwrap();
}
