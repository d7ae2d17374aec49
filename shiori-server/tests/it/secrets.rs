//! Changing the secrets of two servers while users are signed in.

use std::path::Path;

use serde_json::json;
use shiori_server::{Config, WorkerMode};

use crate::{
    fixtures::{PASSWORD, fresh_email},
    raw_client::{RawClient, RawResponse},
    test_server::{TestServer, share_database},
};

/// A secret and the previous one, as in the settings.
type Secrets = (&'static str, Option<&'static str>);

const OVERDUE: &str = "/api/internal/summaries/overdue";

const OLD: &str = "the old secret of thirty-two chars";
const NEW: &str = "the new secret of thirty-two chars";

/// The steps of the documented procedure. Between two steps, servers of both run at the same time.
const STEPS: [Secrets; 4] = [(OLD, None), (OLD, Some(NEW)), (NEW, Some(OLD)), (NEW, None)];

async fn server(database: &Path, (secret, previous): Secrets) -> TestServer {
    TestServer::with_config(|config: &mut Config| {
        share_database(config, database);
        config.jwt_secret = secret.into();
        config.jwt_secret_previous = previous.map(Into::into);
        config.internal_token = secret.into();
        config.internal_token_previous = previous.map(Into::into);
        config.worker = WorkerMode::None;
    })
    .await
}

/// The tokens of one device.
struct Device {
    access: String,
    cookie: String,
}

impl Device {
    fn from(response: &RawResponse) -> Self {
        assert_eq!(response.status, 200, "{}", response.text);
        let access = response.json()["data"]["token"].as_str().unwrap().to_owned();
        let cookie = response.headers["set-cookie"].to_str().unwrap();
        Self { access, cookie: cookie.split(';').next().unwrap().to_owned() }
    }

    async fn refresh(&self, url: &str) -> RawResponse {
        let request = RawClient::anonymous(url).request(reqwest::Method::POST, "/api/auth/refresh");
        let body = json!({"access_token": self.access});
        RawResponse::send(request.header("cookie", &self.cookie).json(&body)).await
    }
}

#[tokio::test]
async fn changing_the_secrets_signs_nobody_out() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("shared.db");
    let mut running = server(&database, STEPS[0]).await;
    let account = json!({"email": fresh_email(), "password": PASSWORD, "nickname": "하루"});
    let raw = RawClient::anonymous(&running.url());
    assert_eq!(raw.post("/api/user/signup", &account).await.status, 201);
    let mut device = Device::from(&raw.post("/api/user/login", &account).await);
    for step in &STEPS[1..] {
        let next = server(&database, *step).await;
        // Each server accepts what the other one has signed.
        for url in [running.url(), next.url(), running.url()] {
            let with_token = RawClient::with_token(&url, &device.access);
            assert_eq!(with_token.get("/api/auth/sessions").await.status, 200);
            device = Device::from(&device.refresh(&url).await);
        }
        // Each server accepts the token that the workers of the next step have.
        for url in [running.url(), next.url()] {
            let worker = RawClient::with_token(&url, step.0);
            let response = worker.post(OVERDUE, &json!({"limit": 1})).await;
            assert_eq!(response.status, 200, "{}", response.text);
        }
        running.stop().await;
        running = next;
    }
    let listed = RawClient::with_token(&running.url(), &device.access);
    let sessions = listed.get("/api/auth/sessions").await.json();
    assert_eq!(sessions["data"].as_array().unwrap().len(), 1, "it is still the same session");

    // Afterwards, the old secrets are worthless.
    let before = server(&dir.path().join("other.db"), STEPS[0]).await;
    assert_eq!(device.refresh(&before.url()).await.error(), "token_decode_error");
    let worker = RawClient::with_token(&running.url(), OLD);
    let denied = worker.post(OVERDUE, &json!({"limit": 1})).await;
    assert_eq!(denied.status, 401);
    before.stop().await;
    running.stop().await;
}
