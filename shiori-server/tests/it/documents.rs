//! Documents round-trip byte for byte, and their limits are checked before anything is stored.

use serde_json::{Value, json};
use shiori_sdk::{Document, Draft, Precondition};

use crate::fixtures::day;
use crate::raw_client::RawClient;
use crate::test_server::TestServer;

/// The documents of the example week: real TipTap JSON.
const WEEK: [&str; 7] = [
    include_str!("../../../examples/data/monday.json"),
    include_str!("../../../examples/data/tuesday.json"),
    include_str!("../../../examples/data/wednesday.json"),
    include_str!("../../../examples/data/thursday.json"),
    include_str!("../../../examples/data/friday.json"),
    include_str!("../../../examples/data/saturday.json"),
    include_str!("../../../examples/data/sunday.json"),
];

/// All kinds of nodes, marks and attributes that must round-trip unchanged.
const EVERYTHING: &str = r#"{"type":"doc","x-editor":{"v":2.50,"flags":[]},"content":[
  {"type":"heading","attrs":{"level":2,"textAlign":"justify"},"content":[{"type":"text","text":"제목"}]},
  {"type":"paragraph","attrs":{"textAlign":"justify"},"content":[
    {"type":"text","marks":[{"type":"link","attrs":{"href":"https://example.com/?a=1&b=<2>","target":"_blank","rel":null}},{"type":"x-mark"}],"text":"링크"},
    {"type":"hardBreak"},{"type":"text","text":"탭\t \u0000 \u2028 😀 \"따옴표\""}]},
  {"type":"orderedList","attrs":{"start":3,"type":null},"content":[{"type":"listItem","content":[{"type":"paragraph"}]}]},
  {"type":"taskList","content":[{"type":"taskItem","attrs":{"checked":true},"content":[{"type":"paragraph"}]}]},
  {"type":"image","attrs":{"src":"data:image/png;base64,AAAA","alt":null,"width":640.0,"id":12345678901234567890123}},
  {"type":"codeBlock","attrs":{"language":"rust"},"content":[{"type":"text","text":"fn main() {}\n"}]},
  {"type":"x-unknown","attrs":{"z":1,"a":{"$ref.b":[1e2,-0.0,true,null]}},"content":[]}
]}"#;

#[tokio::test]
async fn documents_round_trip_byte_for_byte() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let documents = WEEK.iter().map(|json| {
        let sample: Value = serde_json::from_str(json).unwrap();
        // The bytes of the file, not parsed and serialised JSON.
        let start = json.find("\"content\"").unwrap();
        let content = json[start..].split_once(':').unwrap().1.trim();
        let content = content.strip_suffix('}').unwrap().trim_end();
        (sample["title"].as_str().unwrap().to_owned(), content)
    });
    let everything = ("모든 것".to_owned(), EVERYTHING);
    for (index, (title, json)) in documents.chain([everything]).enumerate() {
        let date = day(1).plus_days(i64::try_from(index).unwrap()).unwrap();
        let content = Document::from_json(json).unwrap();
        let draft = Draft::new(title.as_str(), content);
        client.diaries().save(date, draft, Precondition::IfAbsent).send().await.unwrap();
        let diary = client.diaries().get(date).await.unwrap().unwrap();
        assert_eq!(diary.content.as_json(), json);
        assert_eq!(diary.title, title);
    }
    server.stop().await;
}

fn nested(depth: usize) -> Value {
    let mut node = json!({"type": "text", "text": "바닥"});
    for _ in 2..depth {
        node = json!({"type": "blockquote", "content": [node]});
    }
    json!({"type": "doc", "content": [node]})
}

fn body(title: &str, content: &Value) -> Value {
    json!({"title": title, "content": content})
}

#[tokio::test]
async fn oversized_input_is_rejected_and_not_stored() {
    let server = TestServer::start().await;
    let raw = RawClient::sign_up(&server.url()).await;
    let fine = json!({"type": "doc", "content": []});
    let many: Vec<Value> = vec![json!({"type": "paragraph"}); 10_000];
    let cases = [
        ("20260216", body("글", &nested(200)), 422, "document_too_deep"),
        ("20260216", body("글", &nested(65)), 422, "document_too_deep"),
        (
            "20260216",
            body("글", &json!({"type": "doc", "content": many})),
            422,
            "document_too_large",
        ),
        ("20260216", body(&"가".repeat(51), &fine), 400, "title_too_long"),
        ("20260216", body("글", &json!({"type": "paragraph"})), 422, "invalid_document"),
        ("20260216", body("글", &json!("문서가 아님")), 422, "invalid_document"),
        ("20260216", json!({"title": 3, "content": fine}), 422, "invalid_request"),
        ("20260216", json!({"title": "글"}), 422, "invalid_request"),
        (
            "20260216",
            json!({"title": "글", "content": fine, "version": -1}),
            422,
            "invalid_request",
        ),
        (
            "20260216",
            json!({"title": "글", "content": fine, "save_id": "x"}),
            422,
            "invalid_request",
        ),
        ("20250230", body("글", &fine), 422, "invalid_date"),
        ("2025811", body("글", &fine), 422, "invalid_date"),
        ("2026-02-16", body("글", &fine), 422, "invalid_date"),
    ];
    for (date, body, status, error) in cases {
        let response = raw.post(&format!("/api/diary/{date}"), &body).await;
        assert_eq!((response.status, response.error().as_str()), (status, error), "{date}");
    }
    for (body, status, error) in [
        (format!(r#"{{"title":"글","content":{{"type":"doc"}},"x":"{}"}}"#, "x".repeat(10 << 20)), 413, "body_too_large"),
        ("{".to_owned(), 422, "invalid_request"),
        (String::new(), 422, "invalid_request"),
        ("[".repeat(100_000), 422, "invalid_request"),
        (r#"{"title":"글","content":{"type":"doc","content":[{"type":"text","text":"\ud800"}]}}"#.to_owned(), 422, "invalid_document"),
    ] {
        let response = raw.send(reqwest::Method::POST, "/api/diary/20260216", Some(body)).await;
        assert_eq!((response.status, response.error().as_str()), (status, error));
    }
    let list = raw.get("/api/diary?start=20250101&end=20251231").await;
    assert_eq!(list.json()["data"], json!([]));
    let day = raw.get("/api/diary/20260216").await.json();
    assert_eq!((&day["data"]["content"], &day["data"]["version"]), (&Value::Null, &Value::Null));
    // Values at the limits are accepted.
    let response = raw.post("/api/diary/20260216", &body(&"가".repeat(50), &nested(64))).await;
    assert_eq!(response.status, 201, "{}", response.text);
    server.stop().await;
}

#[tokio::test]
async fn the_sdk_reads_documents_at_the_limit() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let deepest = Document::from_value(&nested(64)).unwrap();
    let saved = client
        .diaries()
        .save(day(16), Draft::new("깊이", deepest.clone()), Precondition::IfAbsent)
        .send()
        .await
        .unwrap();
    let diary = client.diaries().get(day(16)).await.unwrap().unwrap();
    assert_eq!(diary.content, deepest);
    let error = client
        .diaries()
        .save(day(16), Draft::new("늦음", Document::empty()), Precondition::IfAbsent)
        .send()
        .await
        .unwrap_err();
    let current = error.as_conflict().unwrap().current.clone().unwrap();
    assert_eq!((current.version, current.content), (saved.version, deepest));
    server.stop().await;
}
