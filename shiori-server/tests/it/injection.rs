//! Values that are commands for another program: SQL, operators of MongoDB, the protocol of Redis.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    fixtures::{PASSWORD, fresh_email},
    raw_client::{RawClient, RawResponse},
    test_cluster::TestCluster,
    test_server::TestServer,
};

const DAY: &str = "/api/diary/20260216";

/// Commands in the languages of the engines, and of programs that may read what is stored.
const COMMANDS: [&str; 9] = [
    "'; DROP TABLE diary; --",
    "\" OR 1=1 --",
    "\\'; DELETE FROM accounts; /*",
    "{\"$where\": \"sleep(10000)\"}",
    "$ne",
    "*1\\r\\n$8\\r\\nFLUSHALL\\r\\n",
    "${jndi:ldap://192.0.2.1/a}",
    "{{7*7}}%s%n",
    "=cmd|' /C calc'!A0",
];

#[tokio::test]
async fn operators_in_place_of_values_are_rejected() {
    let server = TestServer::start().await;
    let raw = RawClient::sign_up(&server.url()).await;
    let diary = json!({"title": "글", "content": {"type": "doc"}});
    assert_eq!(raw.post(DAY, &diary).await.status, 201);
    for operator in [json!({"$ne": null}), json!({"$gt": ""}), json!({"$where": "1"}), json!(["a"])]
    {
        let with = |body: &Value, field: &str| {
            let mut body = body.clone();
            body[field] = operator.clone();
            body
        };
        let account = json!({"email": fresh_email(), "password": PASSWORD, "nickname": "손"});
        let password = json!({"password": PASSWORD, "new_password": "another-88"});
        for (method, path, body, fields) in [
            (Method::POST, "/api/user/signup", &account, &["email", "password", "nickname"][..]),
            (Method::POST, "/api/user/login", &account, &["email", "password"]),
            (Method::POST, "/api/auth/refresh", &json!({}), &["access_token"]),
            (Method::POST, "/api/user/password", &password, &["password", "new_password"]),
            (Method::PATCH, "/api/user", &json!({}), &["nickname"]),
            (Method::DELETE, "/api/user", &json!({}), &["password"]),
            (Method::POST, DAY, &diary, &["title", "version", "save_id", "keep_replaced"]),
            (Method::POST, "/api/diary/read", &json!({}), &["dates"]),
            (
                Method::POST,
                "/api/diary/summary",
                &json!({"start": "20260216", "end": "20260222"}),
                &["start", "end", "force"],
            ),
        ] {
            for field in fields {
                let body = with(body, field).to_string();
                let response = raw.send(method.clone(), path, Some(body.clone())).await;
                assert_eq!(response.status, 422, "{path} {body}: {}", response.text);
            }
        }
    }
    for (path, status) in [
        ("/api/diary?start[$gte]=20200101&end[$lte]=20301231", 422),
        ("/api/diary?start=20260216'%20OR%20'1'='1&end=20260217", 422),
        ("/api/diary/20260216'%20OR%20'1'='1", 422),
        ("/api/diary/20260216%00", 422),
        ("/api/diary/20260216/revisions/1;DROP%20TABLE%20diary", 404),
        ("/api/diary/summary/x'%20OR%20'1'='1", 404),
        ("/api/diary/summary/%0d%0aFLUSHALL%0d%0a", 404),
    ] {
        assert_eq!(raw.get(path).await.status, status, "{path}");
    }
    for path in ["?version[$ne]=0", "?version=1%20OR%201=1", "?version=1;DROP"] {
        assert_eq!(raw.delete(&format!("{DAY}{path}")).await.status, 422, "{path}");
    }
    assert_eq!(raw.get(DAY).await.json()["data"]["version"], 1);
    server.stop().await;
}

/// Each command in each place where a text is stored.
async fn are_stored_as_text(url: &str) {
    let witness = RawClient::sign_up(url).await;
    let kept = json!({"title": "남는 글", "content": {"type": "doc"}});
    assert_eq!(witness.post(DAY, &kept).await.status, 201);
    for command in COMMANDS {
        let raw = RawClient::anonymous(url);
        let email = fresh_email();
        // Long enough, with a letter, a digit and a special character.
        let password = format!("{command} sesame-77");
        let nickname: String = command.chars().take(30).collect();
        let account = json!({"email": email, "password": password, "nickname": nickname});
        let created = raw.post("/api/user/signup", &account).await;
        assert_eq!(created.status, 201, "{}", created.text);
        let login = raw.request(Method::POST, "/api/user/login").json(&account);
        let login = RawResponse::send(login.header("user-agent", command)).await;
        assert_eq!(login.status, 200, "{}", login.text);
        for wrong in [&format!("{email}' --"), command] {
            let body = json!({"email": wrong, "password": password});
            assert_eq!(raw.post("/api/user/login", &body).await.status, 401, "{wrong}");
        }
        let raw = RawClient::with_token(url, login.json()["data"]["token"].as_str().unwrap());
        assert_eq!(raw.get("/api/user").await.json()["data"]["nickname"], nickname);
        let sessions = raw.get("/api/auth/sessions").await.json();
        assert_eq!(sessions["data"][0]["user_agent"], command);

        let content = json!({"type": "doc", command: {command: [command]}, "$set": {"a.b": 1}});
        let save =
            |version: Value| json!({"title": command, "content": content, "version": version});
        assert_eq!(raw.post(DAY, &save(Value::Null)).await.status, 201, "{command}");
        assert_eq!(raw.post(DAY, &save(json!(1))).await.status, 200, "{command}");
        let diary = raw.get(DAY).await.json();
        assert_eq!(
            (&diary["data"]["title"], &diary["data"]["content"]),
            (&json!(command), &content)
        );
        let list = raw.get("/api/diary?start=20260216&end=20260216").await.json();
        assert_eq!(list["data"][0]["title"], command);
        assert_eq!(raw.delete(&format!("{DAY}?version=2")).await.status, 200);
        let revision = raw.get(&format!("{DAY}/revisions/2")).await.json();
        assert_eq!(
            (&revision["data"]["title"], &revision["data"]["content"]),
            (&json!(command), &content)
        );
    }
    assert_eq!(witness.get(DAY).await.json()["data"]["title"], "남는 글");
}

#[tokio::test]
async fn commands_are_stored_as_text() {
    let server = TestServer::start().await;
    are_stored_as_text(&server.url()).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn commands_are_stored_as_text_by_the_engines() {
    let cluster = TestCluster::create().await;
    let server = cluster.server(|_| {}).await;
    are_stored_as_text(&server.url()).await;
    server.stop().await;
    cluster.drop_databases().await;
}
