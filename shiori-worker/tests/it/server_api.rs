//! The client of the internal API against invalid and failing responses.

use std::time::Duration;

use serde_json::json;
use shiori_sdk::{ErrorCode, FailureKind, SummaryId};
use shiori_worker::{
    ServerApi, ServerApiError,
    protocol::{Failure, Heartbeat, LeaseToken},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{header, method, path},
};

const TOKEN: &str = "service-token";

/// The error of a claim with this response.
async fn claim_error(response: ResponseTemplate) -> ServerApiError {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(header("authorization", "Bearer service-token"))
        .respond_with(response)
        .expect(1)
        .mount(&server)
        .await;
    let api = ServerApi::new(&server.uri(), TOKEN).unwrap();
    api.claim(SummaryId::new(), "w", LeaseToken::new()).await.unwrap_err()
}

fn envelope(status: u16, error: &str) -> ResponseTemplate {
    let body = json!({"code": status, "message": "", "data": null, "error": error});
    ResponseTemplate::new(status).set_body_json(body)
}

#[tokio::test]
async fn errors_are_distinguished_by_their_code() {
    let error = claim_error(envelope(409, "not_claimable")).await;
    assert!(matches!(error, ServerApiError::NotClaimable));
    let error = claim_error(envelope(409, "lease_lost")).await;
    assert!(matches!(error, ServerApiError::LeaseLost));
    let error = claim_error(envelope(401, "unauthorized")).await;
    assert!(matches!(error, ServerApiError::Refused { code: ErrorCode::Unauthorized }));
    let error = claim_error(envelope(503, "unavailable").insert_header("retry-after", "7")).await;
    let ServerApiError::Unavailable { retry_after } = error else { panic!("{error:?}") };
    assert_eq!(retry_after, Some(Duration::from_secs(7)));
    let long = "18446744073709551615";
    let error = claim_error(envelope(503, "unavailable").insert_header("retry-after", long)).await;
    let ServerApiError::Unavailable { retry_after } = error else { panic!("{error:?}") };
    assert_eq!(retry_after, Some(Duration::from_secs(24 * 60 * 60)), "clamped");
}

#[tokio::test]
async fn an_invalid_response_is_retryable() {
    for response in [
        ResponseTemplate::new(502).set_body_string("<html>bad gateway</html>"),
        ResponseTemplate::new(404).set_body_string("<html>not here</html>"),
        ResponseTemplate::new(200).set_body_string("garbage"),
        ResponseTemplate::new(200).set_body_json(json!({"code": 200, "message": "", "data": null})),
        ResponseTemplate::new(200)
            .set_body_json(json!({"code": 200, "message": "", "data": {"days": []}})),
        ResponseTemplate::new(307).insert_header("location", "http://127.0.0.1:9/"),
        ResponseTemplate::new(429),
    ] {
        let error = claim_error(response).await;
        assert!(matches!(error, ServerApiError::Unavailable { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_broken_or_refused_connection_is_retryable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let _ = connection.read(&mut [0; 4096]).await;
        let _ =
            connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"code\"").await;
    });
    let api = ServerApi::new(&url, TOKEN).unwrap();
    for _ in 0..2 {
        let heartbeat = Heartbeat { lease_token: LeaseToken::new(), progress: None, text: None };
        let error = api.heartbeat(SummaryId::new(), &heartbeat).await.unwrap_err();
        assert!(matches!(error, ServerApiError::Unavailable { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn the_token_is_not_shown_and_the_base_path_is_kept() {
    let server = MockServer::start().await;
    let id = SummaryId::new();
    Mock::given(path(format!("/base/api/internal/summaries/{id}/failure")))
        .respond_with(envelope(200, ""))
        .expect(1)
        .mount(&server)
        .await;
    let api = ServerApi::new(&format!("{}/base/", server.uri()), TOKEN).unwrap();
    assert!(!format!("{api:?}").contains(TOKEN));
    let failure = Failure {
        costs_attempt: true,
        lease_token: LeaseToken::new(),
        kind: FailureKind::Internal,
        message: String::new(),
        retryable: false,
        retry_after_ms: None,
    };
    api.failure(id, &failure).await.unwrap();
}

#[test]
fn an_invalid_url_or_token_is_rejected() {
    for url in ["ftp://127.0.0.1/", "not a url", "", "http://me:secret@127.0.0.1/"] {
        assert!(matches!(ServerApi::new(url, TOKEN), Err(ServerApiError::InvalidUrl)));
    }
    let token = "read-from-a-file\n";
    let error = ServerApi::new("http://127.0.0.1/", token).unwrap_err();
    assert!(matches!(error, ServerApiError::InvalidToken));
}
