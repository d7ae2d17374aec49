//! The embedded store if the disk fails or is full, or the process is killed: acknowledged saves
//! are stored, other saves are stored completely or not at all, and the server recovers without a
//! restart.

mod disk;
mod kills;

use std::path::Path;

use serde_json::json;
use shiori_sdk::Date;

use crate::{
    fixtures::{PASSWORD, fresh_email},
    process::Process,
    raw_client::RawClient,
};

async fn start(dir: &Path) -> Process {
    let dir = dir.to_str().unwrap();
    Process::server(&[("SHIORI_DATA_DIR", dir), ("SHIORI_WORKER", "none")]).await
}

/// A user who saves without the SDK, so that nothing is retried.
struct Writer {
    email: String,
    raw: RawClient,
}

impl Writer {
    async fn new(server: &Process) -> Self {
        let email = fresh_email();
        let account = json!({"email": email, "password": PASSWORD, "nickname": "손"});
        let anonymous = RawClient::anonymous(server.url());
        assert_eq!(anonymous.post("/api/user/signup", &account).await.status, 201);
        Self::returning(server, email).await
    }

    /// The same user after a restart of the server.
    async fn returning(server: &Process, email: String) -> Self {
        let anonymous = RawClient::anonymous(server.url());
        let login = json!({"email": email, "password": PASSWORD});
        let answer = anonymous.post("/api/user/login", &login).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let token = answer.json()["data"]["token"].as_str().unwrap().to_owned();
        Self { email, raw: RawClient::with_token(server.url(), &token) }
    }

    /// Saves over this version. Returns the status; `None` without a response.
    async fn save(&self, date: Date, version: Option<u64>, text: &str) -> Option<u16> {
        let body = json!({
            "title": text.chars().take(20).collect::<String>(),
            "version": version,
            "content": {"type": "doc", "content": [
                {"type": "paragraph", "content": [{"type": "text", "text": text}]}]},
        });
        let path = format!("/api/diary/{}", date.as_number());
        let request = self.raw.request(reqwest::Method::POST, &path).json(&body);
        Some(request.send().await.ok()?.status().as_u16())
    }

    /// The version and text of a date's diary.
    async fn read(&self, date: Date) -> Option<(u64, String)> {
        let answer = self.raw.get(&format!("/api/diary/{}", date.as_number())).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let data = &answer.json()["data"];
        let text = data["content"]["content"][0]["content"][0]["text"].as_str()?;
        Some((data["version"].as_u64()?, text.to_owned()))
    }
}

async fn readiness(server: &Process) -> u16 {
    RawClient::anonymous(server.url()).get("/readyz").await.status
}

fn has_succeeded(status: Option<u16>) -> bool {
    matches!(status, Some(200 | 201))
}
