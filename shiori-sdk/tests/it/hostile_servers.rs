//! A server that is hostile or broken, and chooses every byte that the client receives.

use std::{future::Future, time::Duration};

use futures_util::StreamExt;
use serde_json::json;
use shiori_sdk::{Client, Draft, ErrorKind, Precondition, SummaryStatus, Version};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

use crate::scripted_server::{
    DIARY, SUMMARY_ID, ScriptedServer, day, diary, ok, receipt, summary, tokens,
};

/// The timeout of a test, which nothing reaches that works.
const PATIENCE: Duration = Duration::from_secs(60);

/// Much deeper than any stack permits that is used for each level.
const DEPTH: usize = 50_000;

async fn in_time<T>(call: impl Future<Output = T>) -> T {
    timeout(PATIENCE, call).await.expect("in time")
}

/// Neither the password, nor the tokens, nor a text goes to another server.
#[tokio::test]
async fn redirects_of_no_request_are_followed() {
    let elsewhere = MockServer::start().await;
    Mock::given(any()).respond_with(ok(diary(1, "엉뚱한 곳"))).mount(&elsewhere).await;
    for status in [301, 302, 303, 307, 308] {
        let target = format!("{}/elsewhere", elsewhere.uri());
        let redirect = ResponseTemplate::new(status).insert_header("location", &*target);
        let all = MockServer::start().await;
        Mock::given(any()).respond_with(redirect.clone()).mount(&all).await;
        let client = Client::builder(all.uri()).build().unwrap();
        client.auth().login("haru@example.com", "secret-pass-1").await.unwrap_err();
        client.auth().signup("haru@example.com", "secret-pass-1", "하루").await.unwrap_err();

        // A login succeeds, and everything else is redirected.
        let server = ScriptedServer::start(move |_, _| redirect.clone()).await;
        let client = server.client().await;
        let diaries = client.diaries();
        diaries.get(day()).await.unwrap_err();
        diaries.save(day(), Draft::default(), Precondition::IfAbsent).await.unwrap_err();
        diaries.delete(day(), Version::new(1)).await.unwrap_err();
        client.account().change_password("secret-pass-1", "another-88").await.unwrap_err();
        client.account().export().next().await.unwrap().unwrap_err();
        let handle = client.summaries().handle(SUMMARY_ID.parse().unwrap());
        handle.poll().await.unwrap_err();
        client.auth().refresh().await.unwrap_err();
        client.auth().logout().await.unwrap_err();
        assert!(server.requests().len() >= 8);
    }
    assert!(elsewhere.received_requests().await.unwrap().is_empty());
}

/// Other cookies are ignored, whatever their domain and path, and responses without a login or renewal
/// change no token.
#[tokio::test]
async fn only_the_refresh_token_is_sent_back_and_only_to_renew() {
    let server = ScriptedServer::start(|request, _| {
        let response = match request.url.path() {
            "/api/auth/refresh" => tokens("second", 3600),
            DIARY => {
                ok(diary(1, "글")).append_header("set-cookie", "refresh_token=planted; Path=/")
            }
            _ => ok(json!([])),
        };
        response
            .append_header("set-cookie", "tracking=1; Domain=elsewhere.example; Path=/")
            .append_header("set-cookie", "device=; Path=/")
    })
    .await;
    let client = server.client().await;
    for _ in 0..2 {
        client.diaries().get(day()).await.unwrap();
        client.auth().sessions().await.unwrap();
        client.auth().refresh().await.unwrap();
    }
    let cookies: Vec<_> = server.requests().into_iter().map(|it| (it.path, it.cookie)).collect();
    let (renewals, others): (Vec<_>, Vec<_>) =
        cookies.into_iter().partition(|(path, _)| path == "/api/auth/refresh");
    assert!(others.len() == 4 && others.iter().all(|(_, cookie)| cookie.is_none()), "{others:?}");
    let sent: Vec<_> = renewals.iter().map(|(_, cookie)| cookie.as_deref().unwrap()).collect();
    assert_eq!(sent, ["refresh_token=cookie-first", "refresh_token=cookie-second"]);
}

#[tokio::test]
async fn deeply_nested_responses_are_errors() {
    let array = format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
    let object = format!("{}1{}", "{\"a\":".repeat(DEPTH), "}".repeat(DEPTH));
    let content = "{\"type\":\"a\",\"content\":[";
    let document = format!("{}{}", content.repeat(DEPTH), "]}".repeat(DEPTH));
    let envelope = |data: &str| format!("{{\"code\":200,\"message\":\"\",\"data\":{data}}}");
    let with = |name: &str, value: &str| {
        let mut diary = diary(1, "글");
        diary[name] = json!("REPLACED");
        envelope(&diary.to_string().replace("\"REPLACED\"", value))
    };
    let conflict = format!(
        "{{\"code\":409,\"message\":\"\",\"error\":\"diary_conflict\",\"data\":{{\"current\":{object}}}}}"
    );
    for (status, body) in [
        (200, array.clone()),
        (200, object.clone()),
        (200, envelope(&array)),
        (200, envelope(&object)),
        (200, with("content", &document)),
        (200, with("emotion", &object)),
        (200, with("version", &array)),
        (409, conflict),
        (500, array.clone()),
    ] {
        let response = ResponseTemplate::new(status).set_body_raw(body, "application/json");
        let server = ScriptedServer::start(move |_, _| response.clone()).await;
        let client = server.client().await;
        client.diaries().get(day()).await.unwrap_err();
        client.account().get().await.unwrap_err();
        client.auth().refresh().await.unwrap_err();
        // A receipt has fewer fields, and the others may have any depth.
        let _ = client.diaries().save(day(), Draft::default(), Precondition::IfAbsent).await;
    }
    // A part that this version does not read may have any depth.
    let body = with("added_later", &array);
    let response = ResponseTemplate::new(200).set_body_raw(body, "application/json");
    let server = ScriptedServer::start(move |_, _| response.clone()).await;
    let read = server.client().await.diaries().get(day()).await;
    assert!(read.is_ok() || read.is_err_and(|error| error.kind() == ErrorKind::InvalidResponse));
}

/// What a compressed response would expand to is not read (decompression bomb).
#[tokio::test]
async fn compressed_responses_are_not_expanded() {
    // gzip of `{"code":200,"message":"","data":null}`.
    const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\x56\x4a\xce\x4f\x49\x55\xb2\
        \x32\x32\x30\xd0\x51\xca\x4d\x2d\x2e\x4e\x4c\x07\xf2\x94\x94\x74\x94\x52\x12\x4b\x12\x95\xac\
        \xf2\x4a\x73\x72\x6a\x01\xbe\xd5\x45\x8a\x25\x00\x00\x00";
    let response = ResponseTemplate::new(200)
        .set_body_raw(GZIP, "application/json")
        .insert_header("content-encoding", "gzip");
    let server = ScriptedServer::start(move |_, _| response.clone()).await;
    let error = server.client().await.auth().verify().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidResponse);
}

/// A server that signs in, responds to polls of a summary, and begins every other response
/// with `head`, and then sends `part` until the client closes the connection. It reports each end.
async fn endless(head: &'static str, part: &'static str) -> (String, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (ended, ends) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(respond(connection, head, part, ended.clone()));
        }
    });
    (url, ends)
}

async fn respond(
    mut connection: TcpStream,
    head: &'static str,
    part: &'static str,
    ended: mpsc::Sender<()>,
) {
    while let Some(target) = request(&mut connection).await {
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let (cookie, data) = match path {
            "/api/user/login" => (
                "set-cookie: refresh_token=first\r\n",
                json!({"token": "first", "expires_in": 3600}),
            ),
            // The first request does not wait.
            path if path.ends_with(SUMMARY_ID) && query.is_empty() => ("", summary(2, "running")),
            path if path.ends_with(SUMMARY_ID) => ("", summary(3, "completed")),
            _ => break,
        };
        let body = json!({"code": 200, "message": "", "data": data}).to_string();
        let head = format!("HTTP/1.1 200 OK\r\n{cookie}content-length: {}\r\n\r\n", body.len());
        connection.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    }
    let _ = connection.write_all(head.as_bytes()).await;
    let parts = part.repeat((1 << 14) / part.len());
    while connection.write_all(parts.as_bytes()).await.is_ok() {}
    let _ = ended.send(()).await;
}

/// The target of the next request, which is read completely.
async fn request(connection: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        if connection.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            return head.split(' ').nth(1).map(str::to_owned);
        }
    }
}

async fn signed_in(url: String) -> Client {
    let client = Client::builder(url).build().unwrap();
    client.auth().login("haru@example.com", "secret-pass-1").await.unwrap();
    client
}

#[tokio::test]
async fn an_endless_response_ends_the_request() {
    const CHUNK: &str =
        "40\r\n[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\r\n";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (head, part, kind) in [
        ("HTTP/1.1 200 OK\r\n\r\n", "{\"code\":200,", ErrorKind::InvalidResponse),
        ("HTTP/1.1 500 Oops\r\n\r\n", "<html>", ErrorKind::InvalidResponse),
        (chunked, CHUNK, ErrorKind::InvalidResponse),
        ("HTTP/1.1 200 OK\r\nx-a: ", "a", ErrorKind::Disconnected),
        ("HTTP/1.1 200 OK\r\n", "x-a: a\r\n", ErrorKind::Disconnected),
        ("HTTP/1.1 200 ", "O", ErrorKind::Disconnected),
    ] {
        let (url, mut ends) = endless(head, part).await;
        let client = signed_in(url).await;
        let error = in_time(client.diaries().get(day())).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{head:?}: {error:?}");
        for _ in 0..error.attempts() {
            in_time(ends.recv()).await.unwrap();
        }
    }
}

/// The stream is given up, and the watch polls.
#[tokio::test]
async fn an_endless_line_of_an_event_stream_ends_it() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    for part in ["data: never ends ", "data: [1,\n", ":"] {
        let (url, mut ends) = endless(head, part).await;
        let client = signed_in(url).await;
        let mut steps = client.summaries().handle(SUMMARY_ID.parse().unwrap()).watch();
        for expected in [SummaryStatus::Running, SummaryStatus::Completed] {
            let step = in_time(steps.next()).await.unwrap().unwrap();
            assert_eq!(step.into_summary().unwrap().status, expected, "{part:?}");
        }
        in_time(ends.recv()).await.unwrap();
    }
}

#[tokio::test]
async fn an_endless_line_of_an_export_is_an_error() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n\r\n";
    let (url, mut ends) = endless(head, "{\"diary\":").await;
    let mut records = signed_in(url).await.account().export();
    let error = in_time(records.next()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidExport);
    assert!(records.next().await.is_none());
    drop(records);
    in_time(ends.recv()).await.unwrap();
}

/// A page in place of a stream or an export, for example of a captive portal.
#[tokio::test]
async fn streams_of_another_content_type_are_not_read() {
    let page = ResponseTemplate::new(200).set_body_raw("data: {}\n\n{\"end\":{}}\n", "text/html");
    let server = ScriptedServer::start(move |request, nth| match request.url.path() {
        path if path.ends_with(SUMMARY_ID) && nth == 0 => ok(summary(2, "running")),
        path if path.ends_with(SUMMARY_ID) => ok(summary(3, "completed")),
        _ => page.clone(),
    })
    .await;
    let client = server.client().await;
    let error = client.account().export().next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidResponse);
    let mut steps = client.summaries().handle(SUMMARY_ID.parse().unwrap()).watch();
    for expected in [SummaryStatus::Running, SummaryStatus::Completed] {
        let step = in_time(steps.next()).await.unwrap().unwrap();
        assert_eq!(step.into_summary().unwrap().status, expected);
    }
    assert_eq!(server.requests().iter().filter(|it| it.path.ends_with("/events")).count(), 1);
}

/// Numbers and texts at the ends of their types.
#[tokio::test]
async fn extreme_values_do_not_panic() {
    for value in [json!(u64::MAX), json!(i64::MIN), json!(1e308), json!("9".repeat(10_000))] {
        let extreme = value.clone();
        let server = ScriptedServer::start(move |request, _| {
            let mut data = match request.url.path() {
                "/api/auth/refresh" => return tokens("second", u64::MAX),
                path if path.ends_with(SUMMARY_ID) => summary(1, "completed"),
                _ if request.method.as_str() == "POST" => receipt(1),
                _ => diary(1, "글"),
            };
            for name in ["version", "revision", "attempts", "updated_at", "requested_at"] {
                data[name] = extreme.clone();
            }
            ok(data).insert_header("retry-after", "99999999999")
        })
        .await;
        let client = server.client().await;
        let _ = client.diaries().get(day()).await;
        let _ = client.diaries().save(day(), Draft::default(), Precondition::IfAbsent).await;
        let _ = client.summaries().handle(SUMMARY_ID.parse().unwrap()).poll().await;
        client.auth().refresh().await.unwrap();
        assert!(client.auth().is_signed_in(), "{value}");
    }
}
