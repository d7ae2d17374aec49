//! Stored data that this version cannot read or would no longer accept. Only operations that depend
//! on it fail.

use rusqlite::Connection;
use serde_json::{Value, json};
use shiori_sdk::{FailureKind, Precondition, SummaryStatus};

use crate::fixtures::{day, draft, week, write_week};
use crate::raw_client::RawClient;
use crate::test_server::TestServer;

const DAY: &str = "/api/diary/20260216";

/// A second connection to the server's file.
fn open(server: &TestServer) -> Connection {
    Connection::open(server.data_dir().join("shiori.db")).unwrap()
}

fn save(text: &str, version: impl Into<Value>) -> Value {
    let paragraph = json!({"type": "paragraph", "content": [{"type": "text", "text": text}]});
    json!({"title": text, "content": {"type": "doc", "content": [paragraph]}, "version": version.into()})
}

/// Checks that a diary has no summary status, emotion and entity tag, but all other fields.
fn assert_bare(diary: &Value, title: &str, version: u64) {
    assert_eq!((&diary["title"], &diary["version"]), (&json!(title), &json!(version)), "{diary}");
    let fields = diary.as_object().unwrap();
    assert_eq!((&fields["summary_status"], &fields["emotion"]), (&Value::Null, &Value::Null));
    assert!(!fields.contains_key("etag"), "{diary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diary_can_be_read_if_its_summaries_cannot() {
    let server = TestServer::without_worker().await;
    let raw = RawClient::sign_up(&server.url()).await;
    for table in ["summary", "emotion_tag"] {
        let date = if table == "summary" { "20260216" } else { "20260217" };
        let path = format!("/api/diary/{date}");
        assert_eq!(raw.post(&path, &save("하나", Value::Null)).await.status, 201);
        let tag = raw.get(&path).await.headers["etag"].to_str().unwrap().to_owned();
        open(&server).execute_batch(&format!("ALTER TABLE {table} RENAME TO gone")).unwrap();

        let read = raw.request(reqwest::Method::GET, &path).header("if-none-match", &tag);
        let read = crate::raw_client::RawResponse::send(read).await;
        assert_eq!(read.status, 200, "{}", read.text);
        assert!(!read.headers.contains_key("etag"));
        assert_bare(&read.json()["data"], "하나", 1);
        let list = raw.get(&format!("/api/diary?start={date}&end={date}")).await;
        assert_bare(&list.json()["data"][0], "하나", 1);
        assert_eq!(raw.post(&path, &save("둘", 1)).await.status, 200);
        let lost = raw.post(&path, &save("셋", 1)).await;
        assert_eq!((lost.status, lost.error().as_str()), (409, "diary_conflict"));
        assert_bare(&lost.json()["data"]["current"], "둘", 2);
        let archive = json!({"archived": true, "version": 1});
        let stale = raw.post(&format!("{path}/archive"), &archive).await;
        assert_eq!(stale.status, 409, "{}", stale.text);
        assert_bare(&stale.json()["data"]["current"], "둘", 2);
        let stale = raw.delete(&format!("{path}?version=1")).await;
        assert_eq!(stale.status, 409, "{}", stale.text);
        assert_bare(&stale.json()["data"]["current"], "둘", 2);

        open(&server).execute_batch(&format!("ALTER TABLE gone RENAME TO {table}")).unwrap();
        let read = raw.get(&path).await;
        assert_eq!(read.json()["data"]["summary_status"], "none");
        assert!(read.headers.contains_key("etag"));
    }
    assert_eq!(raw.get(DAY).await.status, 200);
    server.stop().await;
}

/// Rules for requests do not apply to stored data.
#[tokio::test(flavor = "multi_thread")]
async fn data_that_was_stored_before_a_rule_can_be_read() {
    let server = TestServer::start().await;
    let (client, email) = server.sign_up().await;
    write_week(&client, "오래 걸어서 즐거웠다").await;
    let content = r#"{"type":"doc","type":"doc","content":[{"type":"paragraph","attrs":{"a":1,"a":2},"content":[{"type":"text","text":"옛날 글\u0000\u001b"}]}]}"#;
    let title = "옛날\u{0}제목\u{2028}";
    let connection = open(&server);
    let changed = connection.execute(
        "UPDATE diary_text SET content = ?1 WHERE text_id = (SELECT text_id FROM diary WHERE date = 20260216)",
        [content],
    );
    assert_eq!(changed.unwrap(), 1);
    let changed = connection.execute("UPDATE diary SET title = ?1 WHERE date = 20260216", [title]);
    assert_eq!(changed.unwrap(), 1);

    let raw = RawClient::log_in(&server.url(), &email).await;
    let read = raw.get(DAY).await;
    assert_eq!(read.status, 200, "{}", read.text);
    assert!(read.text.contains(content), "byte for byte");
    assert_eq!(read.json()["data"]["title"], title);
    let list = raw.get("/api/diary?start=20260216&end=20260216").await;
    assert_eq!(list.json()["data"][0]["title"], title);
    let lost = raw.post(DAY, &save("진 글", 7)).await;
    assert_eq!(lost.status, 409);
    assert!(lost.text.contains(content));
    let diary = client.diaries().get(day(16)).await.unwrap().unwrap();
    assert_eq!(diary.content.block_texts(), ["옛날 글\u{0}\u{1b}"]);
    let summary = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
    let summary = summary.wait().await.unwrap();
    assert_eq!(summary.status, SummaryStatus::Completed, "{:?}", summary.failure);
    assert_eq!(summary.emotions.len(), 7);
    // It can be archived, replaced and deleted.
    let version = client.diaries().archive(day(16), diary.version, true).await.unwrap();
    let over = Precondition::IfVersion(version);
    let saved = client.diaries().save(day(16), draft("새 글"), over).send().await.unwrap();
    client.diaries().delete(day(16), saved.version).await.unwrap();
    server.stop().await;
}

/// A summary with unreadable diaries fails without a retry, and the reason contains the days. Other
/// summaries are not affected.
#[tokio::test(flavor = "multi_thread")]
async fn a_summary_over_an_unreadable_diary_fails() {
    let server = TestServer::start().await;
    let (client, _) = server.sign_up().await;
    write_week(&client, "오래 걸어서 즐거웠다").await;
    let text_of = "(SELECT text_id FROM diary WHERE date = 20260218)";
    let damages = [
        format!("UPDATE diary_text SET content = 'x' WHERE text_id = {text_of}"),
        format!("UPDATE diary_text SET content = '' WHERE text_id = {text_of}"),
        format!("UPDATE diary_text SET content = '[]' WHERE text_id = {text_of}"),
        format!(
            "UPDATE diary_text SET content = CAST(x'7bff7d' AS TEXT) WHERE text_id = {text_of}"
        ),
        "UPDATE diary SET title = CAST(x'ff' AS TEXT) WHERE date = 20260218".to_owned(),
    ];
    for (nth, damage) in damages.iter().enumerate() {
        let requested = client.summaries().request_with(week(), true).await.unwrap();
        let handle = requested.into_handle().unwrap();
        assert_eq!(handle.wait().await.unwrap().status, SummaryStatus::Completed);
        let version = client.diaries().get(day(18)).await.unwrap().unwrap().version;

        open(&server).execute_batch(damage).unwrap();
        if damage.contains("title") {
            // The week cannot be requested, either.
            let error = client.summaries().request_with(week(), true).await.unwrap_err();
            assert_eq!(error.status_code(), Some(500));
            open(&server)
                .execute_batch("UPDATE diary SET title = 't' WHERE date = 20260218")
                .unwrap();
            continue;
        }
        let requested = client.summaries().request_with(week(), true).await.unwrap();
        let handle = requested.into_handle().unwrap();
        let summary = handle.wait().await.unwrap();
        assert_eq!((summary.status, summary.attempts), (SummaryStatus::Failed, 0), "{damage}");
        let failure = summary.failure.unwrap();
        assert_eq!(failure.kind, FailureKind::UnreadableDiary);
        assert!(failure.message.contains("20260218"), "{}", failure.message);
        let other = server.client().await;
        write_week(&other, "다른 사람의 글").await;
        let handle = other.summaries().request(week()).await.unwrap().into_handle().unwrap();
        assert_eq!(handle.wait().await.unwrap().status, SummaryStatus::Completed, "{nth}");

        // After the day is saved again, the week can be summarised.
        let over = Precondition::IfVersion(version);
        client.diaries().save(day(18), draft("새로 쓴 글"), over).send().await.unwrap();
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_date_can_be_saved_if_its_save_ids_cannot_be_read() {
    let server = TestServer::without_worker().await;
    let raw = RawClient::sign_up(&server.url()).await;
    assert_eq!(raw.post(DAY, &save("하나", Value::Null)).await.status, 201);
    open(&server).execute_batch("UPDATE diary_text SET saves = '{'").unwrap();
    let mut second = save("둘", 1);
    second["save_id"] = json!(shiori_sdk::SaveId::new());
    for replayed in [false, true] {
        let saved = raw.post(DAY, &second).await;
        assert_eq!(saved.status, 200, "{}", saved.text);
        assert_eq!(saved.json()["data"]["replayed"], replayed);
    }
    server.stop().await;
}

/// Accounts of earlier versions can sign in: with an address that is no longer accepted, and with a
/// hash of the unprepared password, which is then replaced.
#[tokio::test(flavor = "multi_thread")]
async fn accounts_of_earlier_versions_can_sign_in() {
    use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};

    let decomposed = "\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}-e\u{301}1!";
    let server = TestServer::without_worker().await;
    let argon2 =
        Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).unwrap());
    let old = argon2.hash_password(decomposed.as_bytes()).unwrap().to_string();
    let insert = "INSERT INTO accounts (id, email, nickname, password_hash, created_at)
        VALUES (randomblob(16), 'a@1.2', char(8203), ?1, 0)";
    open(&server).execute(insert, [&old]).unwrap();
    let stored = || -> String {
        let select = "SELECT password_hash FROM accounts WHERE email = 'a@1.2'";
        open(&server).query_row(select, [], |row| row.get(0)).unwrap()
    };
    let login = async |password: &str| {
        let body = json!({"email": "A@1.2", "password": password});
        RawClient::anonymous(&server.url()).post("/api/user/login", &body).await.status
    };
    assert_eq!(login("한글-e1!").await, 401);
    assert_eq!(stored(), old);
    assert_eq!(login("한글-é1!").await, 200);
    let replaced = stored();
    assert_ne!(replaced, old);
    for password in ["한글-é1!", decomposed] {
        assert_eq!(login(password).await, 200);
        assert_eq!(stored(), replaced, "the hash is replaced once");
    }
    server.stop().await;
}
