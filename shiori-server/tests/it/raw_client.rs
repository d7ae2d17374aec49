//! HTTP without the SDK, for requests that the SDK does not send.

use crate::fixtures::{PASSWORD, fresh_email};

/// The response to a raw request.
pub struct RawResponse {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl RawResponse {
    pub async fn send(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// The error name in the envelope. The envelope's code must equal the HTTP status.
    pub fn error(&self) -> String {
        let json = self.json();
        assert_eq!(json["code"], self.status, "{}", self.text);
        assert!(!json["message"].as_str().unwrap_or_default().is_empty(), "{}", self.text);
        json["error"].as_str().unwrap_or_default().to_owned()
    }
}

/// An HTTP client with an optional bearer token.
pub struct RawClient {
    http: reqwest::Client,
    url: String,
    token: Option<String>,
}

impl RawClient {
    pub fn anonymous(url: &str) -> Self {
        Self { http: reqwest::Client::new(), url: url.to_owned(), token: None }
    }

    pub fn with_token(url: &str, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..Self::anonymous(url) }
    }

    /// Signs up a new user and signs in.
    pub async fn sign_up(url: &str) -> Self {
        let raw = Self::anonymous(url);
        let email = fresh_email();
        let account = serde_json::json!({"email": email, "password": PASSWORD, "nickname": "손"});
        assert_eq!(raw.post("/api/user/signup", &account).await.status, 201);
        Self::log_in(url, &email).await
    }

    /// Signs in.
    pub async fn log_in(url: &str, email: &str) -> Self {
        let credentials = serde_json::json!({"email": email, "password": PASSWORD});
        let response = Self::anonymous(url).post("/api/user/login", &credentials).await;
        Self::with_token(url, response.json()["data"]["token"].as_str().unwrap())
    }

    /// The token of a signed-in client.
    pub fn token(&self) -> &str {
        self.token.as_deref().unwrap()
    }

    pub async fn get(&self, path: &str) -> RawResponse {
        self.send(reqwest::Method::GET, path, None).await
    }

    pub async fn delete(&self, path: &str) -> RawResponse {
        self.send(reqwest::Method::DELETE, path, None).await
    }

    pub async fn post(&self, path: &str, body: &serde_json::Value) -> RawResponse {
        self.send(reqwest::Method::POST, path, Some(body.to_string())).await
    }

    pub async fn patch(&self, path: &str, body: &serde_json::Value) -> RawResponse {
        self.send(reqwest::Method::PATCH, path, Some(body.to_string())).await
    }

    pub async fn send(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<String>,
    ) -> RawResponse {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        RawResponse::send(request).await
    }

    /// A request with the token, which the caller completes.
    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
}
