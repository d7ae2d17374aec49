//! Diaries: saves, conflicts, replays, listings, deletions.

use reqwest::Method;
use serde_json::{Value, json};
use shiori_sdk::{Document, Draft, Precondition, REMEMBERED_SAVES, SaveId, Version};

use super::{Device, Target, assert_error, data};
use crate::fixtures::{day, draft, new_client};
use crate::raw_client::{RawClient, RawResponse};

const DAY: &str = "/api/diary/20260216";

fn text(text: &str) -> Value {
    let paragraph = json!({"type": "paragraph", "content": [{"type": "text", "text": text}]});
    json!({"type": "doc", "content": [paragraph]})
}

/// The body of a save.
pub fn save(title: &str, version: impl Into<Value>) -> Value {
    json!({"title": title, "content": text(title), "version": version.into()})
}

fn nested(depth: usize) -> Value {
    let mut node = json!({"type": "text", "text": "바닥"});
    for _ in 2..depth {
        node = json!({"type": "blockquote", "content": [node]});
    }
    json!({"type": "doc", "content": [node]})
}

async fn signed_in(server: &impl Target) -> RawClient {
    Device::sign_up(server).await.0.raw
}

pub async fn a_diary_is_created_replaced_and_read(server: &impl Target) {
    let raw = signed_in(server).await;
    let nothing = raw.get(DAY).await;
    let expected = json!({"id": null, "date": "20260216", "title": null, "content": null,
        "version": null, "is_archived": false, "updated_at": null, "emotion": null,
        "summary_status": "none"});
    assert_eq!(data(&nothing, 200), expected);
    assert!(!nothing.headers.contains_key("etag"));

    let created = raw.post(DAY, &save("하나", Value::Null)).await;
    let receipt = data(&created, 201);
    assert_eq!((&receipt["version"], &receipt["replayed"]), (&json!(1), &json!(false)));
    let replaced = raw.post(DAY, &save("둘", 1)).await;
    assert_eq!(data(&replaced, 200)["version"], 2);
    for save in [created, replaced] {
        assert!(!save.headers.contains_key("etag"), "the save does not return the diary");
    }

    let read = raw.get(DAY).await;
    let diary = data(&read, 200);
    assert_eq!(diary["etag"], read.headers["etag"].to_str().unwrap());
    assert_eq!(diary["id"], receipt["id"]);
    assert_eq!((&diary["title"], &diary["content"]), (&json!("둘"), &text("둘")));
    assert_eq!((&diary["version"], &diary["is_archived"]), (&json!(2), &json!(false)));
}

pub async fn a_conflict_returns_the_current_diary(server: &impl Target) {
    let raw = signed_in(server).await;
    let early = raw.post(DAY, &save("없는 판 위에", 7)).await;
    assert_error(&early, 409, "diary_conflict");
    assert_eq!(early.json()["data"], json!({"current": null}));
    data(&raw.post(DAY, &save("이긴 글", Value::Null)).await, 201);
    let current = data(&raw.get(DAY).await, 200);
    for version in [Value::Null, json!(0), json!(2), json!(u64::MAX)] {
        let lost = raw.post(DAY, &save("진 글", version)).await;
        assert_error(&lost, 409, "diary_conflict");
        assert_eq!(lost.json()["data"]["current"], current);
        assert!(!lost.headers.contains_key("etag"));
    }
    assert_eq!(data(&raw.get(DAY).await, 200), current);
}

pub async fn of_concurrent_first_saves_one_succeeds(server: &impl Target) {
    let (_, email) = Device::sign_up(server).await;
    let client = new_client(&server.url());
    client.auth().login(&email, shiori_sdk::testing::Person::PASSWORD).await.unwrap();
    let saves: Vec<_> = (0..16)
        .map(|saver| {
            let save = client.diaries().save(
                day(16),
                draft(&format!("{saver} 번")),
                Precondition::IfAbsent,
            );
            tokio::spawn(save.send())
        })
        .collect();
    let (mut winners, mut conflicts) = (Vec::new(), Vec::new());
    for save in saves {
        match save.await.unwrap() {
            Ok(saved) => winners.push(saved),
            Err(error) => conflicts.push(error.as_conflict().unwrap().current.clone().unwrap()),
        }
    }
    assert_eq!((winners.len(), winners[0].version), (1, Version::new(1)));
    let current = client.diaries().get(day(16)).await.unwrap().unwrap();
    assert_eq!(current.content, winners[0].draft.content);
    assert!(conflicts.iter().all(|diary| *diary == current));
}

pub async fn a_repeated_save_is_replayed(server: &impl Target) {
    let raw = signed_in(server).await;
    let mut first = save("하나", Value::Null);
    first["save_id"] = json!(SaveId::new());
    let created = raw.post(DAY, &first).await;
    data(&raw.post(DAY, &save("둘", 1)).await, 200);
    server.advance(std::time::Duration::from_secs(5));

    // A replay depends only on the save id, not on the title or a version.
    first["title"] = json!("다른 글");
    first["version"] = json!(2);
    let repeated = raw.post(DAY, &first).await;
    let mut expected = data(&created, 201);
    expected["replayed"] = json!(true);
    assert_eq!(data(&repeated, 201), expected);
    assert!(!repeated.headers.contains_key("etag"));
    assert_eq!(data(&raw.get(DAY).await, 200)["title"], "둘");

    // A save id is scoped to a user and a date.
    first["version"] = Value::Null;
    assert_eq!(data(&raw.post("/api/diary/20260217", &first).await, 201)["replayed"], false);
    let stranger = signed_in(server).await;
    assert_eq!(data(&stranger.post(DAY, &first).await, 201)["replayed"], false);
}

pub async fn a_repeated_save_does_not_restore_a_deleted_diary(server: &impl Target) {
    let raw = signed_in(server).await;
    let named = |title: &str, version: Value| {
        let mut body = save(title, version);
        body["save_id"] = json!(SaveId::new());
        body
    };
    let (first, second) = (named("하나", Value::Null), named("둘", json!(1)));
    let created = data(&raw.post(DAY, &first).await, 201);
    let replaced = data(&raw.post(DAY, &second).await, 200);
    let repeat = async || {
        for (body, status, receipt) in [(&first, 201, &created), (&second, 200, &replaced)] {
            let mut expected = receipt.clone();
            expected["replayed"] = json!(true);
            assert_eq!(data(&raw.post(DAY, body).await, status), expected);
        }
    };
    server.advance(std::time::Duration::from_secs(5));
    data(&raw.delete("/api/diary/20260216?version=2").await, 200);
    let nothing = data(&raw.get(DAY).await, 200);
    assert_eq!(nothing["content"], Value::Null);
    repeat().await;
    assert_eq!(data(&raw.get(DAY).await, 200), nothing);
    assert_error(&raw.delete("/api/diary/20260216?version=2").await, 404, "not_found");

    // It does not change a diary that was saved after the deletion, either.
    let third = data(&raw.post(DAY, &save("셋", Value::Null)).await, 201);
    assert_eq!((&third["version"], &third["replayed"]), (&json!(4), &json!(false)));
    repeat().await;
    assert_eq!(data(&raw.get(DAY).await, 200)["title"], "셋");
    data(&raw.post(&format!("{DAY}/archive"), &json!({"archived": true, "version": 4})).await, 200);
    data(&raw.delete("/api/diary/20260216?version=5").await, 200);
    repeat().await;
    assert_eq!(data(&raw.get(DAY).await, 200), nothing);
}

pub async fn save_ids_are_recognised_up_to_the_limit(server: &impl Target) {
    let raw = signed_in(server).await;
    let named = |version: Value| {
        let mut body = save("글", version);
        body["save_id"] = json!(SaveId::new());
        body
    };
    let first = named(Value::Null);
    data(&raw.post(DAY, &first).await, 201);
    for version in 1..REMEMBERED_SAVES {
        data(&raw.post(DAY, &named(json!(version))).await, 200);
    }
    assert_eq!(data(&raw.post(DAY, &first).await, 201)["version"], 1);
    // Only saves with an id evict older ids.
    data(&raw.post(DAY, &save("글", REMEMBERED_SAVES)).await, 200);
    assert_eq!(data(&raw.post(DAY, &first).await, 201)["version"], 1);
    data(&raw.post(DAY, &named(json!(REMEMBERED_SAVES + 1))).await, 200);
    assert_error(&raw.post(DAY, &first).await, 409, "diary_conflict");
}

pub async fn invalid_diaries_are_rejected_and_not_stored(server: &impl Target) {
    let raw = signed_in(server).await;
    let fine = json!({"type": "doc"});
    let body = |title: &str, content: Value| json!({"title": title, "content": content});
    let many = vec![json!({"type": "paragraph"}); 10_000];
    for (date, body, status, error) in [
        ("20260216", body(&"가".repeat(51), fine.clone()), 400, "title_too_long"),
        ("20260216", body("글", nested(65)), 422, "document_too_deep"),
        (
            "20260216",
            body("글", json!({"type": "doc", "content": many})),
            422,
            "document_too_large",
        ),
        ("20260216", body("글", json!({"type": "paragraph"})), 422, "invalid_document"),
        ("20260216", body("글", json!("문서가 아님")), 422, "invalid_document"),
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
        ("20250230", body("글", fine.clone()), 422, "invalid_date"),
        ("2025811", body("글", fine.clone()), 422, "invalid_date"),
        ("2026-02-16", body("글", fine.clone()), 422, "invalid_date"),
        ("%F0%9F%98%80", json!("garbage"), 422, "invalid_date"),
    ] {
        assert_error(&raw.post(&format!("/api/diary/{date}"), &body).await, status, error);
    }
    let title = raw.post(DAY, &body(&"가".repeat(51), json!("글"))).await;
    assert_eq!(title.json()["data"], json!({"limit": 50}));
    assert_error(&title, 400, "title_too_long");
    let deep = raw.post(DAY, &body("글", nested(65))).await;
    assert_eq!(deep.json()["data"], json!({"limit": 64}));
    assert_eq!(data(&raw.get(DAY).await, 200)["version"], Value::Null);
}

/// Control characters are rejected in titles and kept in texts, because code has tabs.
pub async fn control_characters_are_rejected_in_titles_and_kept_in_texts(server: &impl Target) {
    let raw = signed_in(server).await;
    let body = |title: &str, content: Value| json!({"title": title, "content": content});
    for control in
        ["\0", "\u{1b}[31m", "\t", "\n", "\r", "\u{7f}", "\u{85}", "\u{9b}", "\u{2028}", "\u{2029}"]
    {
        let rejected = raw.post(DAY, &body(&format!("제{control}목"), text("글"))).await;
        assert_error(&rejected, 422, "invalid_request");
        let expected = json!({"field": "title", "rule": "no_control_characters"});
        assert_eq!(rejected.json()["data"], expected, "{control:?}");
    }
    assert_eq!(data(&raw.get(DAY).await, 200)["version"], Value::Null);
    let any = text("fn main() {\n\tprintln!(\"\u{1b}[31m\");\r\n}\0\u{7f}\u{2028}");
    data(&raw.post(DAY, &body("", any.clone())).await, 201);
    assert_eq!(data(&raw.get(DAY).await, 200)["content"], any);
    data(&raw.post("/api/diary/20260217", &body("한글 é 👩‍👩‍👧‍👦 \u{202e}x", any)).await, 201);

    // Ambiguous JSON in the content is rejected with the name of the rule.
    for (content, status, error, expected) in [
        (
            r#"{"type":"doc","type":"doc"}"#,
            422,
            "invalid_request",
            json!({"field": "content", "rule": "unique_keys"}),
        ),
        (
            r#"{"type":"doc","content":[{"type":"x","attrs":{"a":[{"b":1,"b":2}]}}]}"#,
            422,
            "invalid_request",
            json!({"field": "content", "rule": "unique_keys"}),
        ),
        (
            r#"{"type":"doc","content":[{"type":"x","attrs":{"a":1e400}}]}"#,
            422,
            "number_out_of_range",
            json!({"field": "content"}),
        ),
        (
            r#"{"type":"doc","attrs":[-1e999]}"#,
            422,
            "number_out_of_range",
            json!({"field": "content"}),
        ),
    ] {
        let body = format!(r#"{{"title":"글","content":{content},"version":1}}"#);
        let response = raw.send(Method::POST, DAY, Some(body)).await;
        assert_error(&response, status, error);
        assert_eq!(response.json()["data"], expected, "{content}");
    }
    assert_eq!(data(&raw.get(DAY).await, 200)["version"], 1);
}

/// The length of a title is limited in grapheme clusters and in bytes.
pub async fn titles_are_counted_in_grapheme_clusters(server: &impl Target) {
    let raw = signed_in(server).await;
    let body = |title: &str, version: Value| json!({"title": title, "content": {"type": "doc"}, "version": version});
    let mut version = Value::Null;
    for character in ["👨‍👩‍👧‍👦", "🧑🏻‍❤️‍💋‍🧑🏼", "\u{1112}\u{1161}\u{11ab}", "e\u{301}", "🇰🇷", "가"]
    {
        let longest = character.repeat(50);
        let saved = raw.post(DAY, &body(&longest, version)).await;
        assert!(matches!(saved.status, 200 | 201), "{character}: {}", saved.text);
        version = saved.json()["data"]["version"].clone();
        assert_eq!(data(&raw.get(DAY).await, 200)["title"], longest, "byte for byte");
        let rejected = raw.post(DAY, &body(&character.repeat(51), version.clone())).await;
        assert_error(&rejected, 400, "title_too_long");
        assert!(
            [json!({"limit": 50}), json!({"limit_bytes": 2000})].contains(&rejected.json()["data"])
        );
    }
    let stacked = format!("e{}", "\u{301}".repeat(1000));
    let rejected = raw.post(DAY, &body(&stacked, version)).await;
    assert_error(&rejected, 400, "title_too_long");
    assert_eq!(rejected.json()["data"], json!({"limit_bytes": 2000}));
}

pub async fn values_at_the_limits_are_accepted(server: &impl Target) {
    let raw = signed_in(server).await;
    let title = "가".repeat(50);
    let body = json!({"title": title, "content": nested(64)});
    assert_eq!(raw.post(DAY, &body).await.status, 201);
    assert!(raw.get(DAY).await.text.contains(&nested(64).to_string()));
    // Unknown nodes and attributes round-trip byte for byte.
    let letter = r#"{ "zeta":1.0, "type":"doc","content":[ {"type":"x-1","attrs":{"b":1e2,"a":12345678901234567890123}} ]}"#;
    let body = format!(r#"{{"title":"글자","content":{letter},"version":1}}"#);
    data(&raw.send(Method::POST, DAY, Some(body)).await, 200);
    assert!(raw.get(DAY).await.text.contains(letter));
    let lost = raw.post(DAY, &save("진 글", Value::Null)).await;
    assert!(lost.text.contains(letter));
}

pub async fn an_unchanged_diary_returns_304(server: &impl Target) {
    let raw = signed_in(server).await;
    let get = |tags: &[&str]| {
        let request = raw.request(Method::GET, DAY);
        RawResponse::send(
            tags.iter().fold(request, |request, tags| request.header("if-none-match", *tags)),
        )
    };
    assert_eq!(get(&["*"]).await.status, 200, "the date has no diary");
    data(&raw.post(DAY, &save("글", Value::Null)).await, 201);
    let tag = raw.get(DAY).await.headers["etag"].to_str().unwrap().to_owned();
    let weak = format!("W/{tag}");
    let (list, weak_list) = (format!("\"7\", {tag}"), format!("W/\"7\",{weak} , \"8\""));
    for tags in [&[&tag[..]][..], &[&weak], &[&list], &[&weak_list], &["\"7\"", &tag], &["*"]] {
        let response = get(tags).await;
        assert_eq!((response.status, response.text.as_str()), (304, ""), "{tags:?}");
        assert_eq!(response.headers["etag"], tag);
        assert_eq!(response.headers["cache-control"], "private, no-cache");
        assert_eq!(response.headers["vary"], "authorization, accept-language");
        assert!(response.headers.contains_key("x-request-id"));
    }
    let bare = tag.trim_matches('"');
    for tags in [&["\"1\""][..], &[bare], &[""], &["\"7\"", "\"8\""], &["\"7\", *"]] {
        let response = get(tags).await;
        data(&response, 200);
        assert_eq!(response.headers["etag"], tag);
    }
}

/// Every change of the response changes the tag, and different users have different tags.
pub async fn every_change_of_a_response_changes_its_entity_tag(server: &impl Target) {
    let raw = signed_in(server).await;
    let mut tags = std::collections::BTreeSet::new();
    let mut tag = async |raw: &RawClient, what: &str| {
        let (first, again) = (raw.get(DAY).await, raw.get(DAY).await);
        let tag = first.headers["etag"].to_str().unwrap().to_owned();
        assert_eq!(again.headers["etag"], tag, "{what}");
        assert!(!tag.starts_with("W/") && tag.starts_with('"') && tag.ends_with('"'), "{tag}");
        assert!(tags.insert(tag.clone()), "{what}: {tag}");
        let lost = raw.post(DAY, &save("진 글", 99)).await;
        assert_eq!(lost.json()["data"]["current"]["etag"], tag, "{what}");
        let known = raw.request(Method::GET, DAY).header("if-none-match", tag);
        assert_eq!(RawResponse::send(known).await.status, 304, "{what}");
    };
    for date in 16..=22 {
        data(&raw.post(&format!("/api/diary/202602{date}"), &save("글", Value::Null)).await, 201);
    }
    tag(&raw, "saved").await;
    data(&raw.post(DAY, &save("글", 1)).await, 200);
    tag(&raw, "saved again").await;
    let week = json!({"start": "20260216", "end": "20260222"});
    let requested = data(&raw.post("/api/diary/summary", &week).await, 202);
    let id = requested["id"].as_str().unwrap().parse().unwrap();
    tag(&raw, "summary pending").await;
    assert!(server.claim(id).await && server.complete(id, "한 주").await);
    tag(&raw, "summary completed").await;
    data(&raw.post(&format!("{DAY}/archive"), &json!({"archived": true, "version": 2})).await, 200);
    tag(&raw, "archived, and the summary stale").await;
    data(&raw.delete(&format!("{DAY}?version=3")).await, 200);
    assert!(!raw.get(DAY).await.headers.contains_key("etag"));
    data(&raw.post(DAY, &save("글", Value::Null)).await, 201);
    tag(&raw, "saved after a deletion").await;

    let other = signed_in(server).await;
    for version in [Value::Null, json!(1), json!(2), json!(3), json!(4)] {
        data(
            &other.post(DAY, &save("글", version.clone())).await,
            if version.is_null() { 201 } else { 200 },
        );
        tag(&other, "another user's diary").await;
    }
}

/// Personal responses may be cached only by the client, which must revalidate them.
pub async fn personal_responses_are_revalidated(server: &impl Target) {
    use reqwest::Method;

    let raw = signed_in(server).await;
    let saved = save("글", Value::Null).to_string();
    for (method, path, body, status) in [
        (Method::GET, DAY, None, 200),
        (Method::GET, "/api/diary?start=20260216&end=20260222", None, 200),
        (Method::GET, "/api/diary/reflections?start=20260216&end=20260222", None, 200),
        (Method::GET, "/api/auth/sessions", None, 200),
        (Method::GET, "/api/diary/summary/0190a7c4-0000-7000-8000-000000000000", None, 404),
        (Method::GET, "/api/diary?start=20260216", None, 422),
        (Method::POST, DAY, Some(saved.clone()), 201),
        // The conflict contains the text of the diary.
        (Method::POST, DAY, Some(saved), 409),
        (Method::DELETE, "/api/diary/20260216?version=7", None, 409),
        (Method::DELETE, "/api/diary/20260216?version=1", None, 200),
        (Method::POST, "/api/diary/summary", Some("{}".to_owned()), 422),
        (Method::POST, "/api/user/signup", Some("{}".to_owned()), 422),
    ] {
        let anonymous = RawClient::anonymous(&server.url());
        let theirs = anonymous.send(method.clone(), path, body.clone()).await;
        let mine = raw.send(method, path, body).await;
        assert_eq!(mine.status, status, "{path}: {}", mine.text);
        for response in [mine, theirs] {
            assert_eq!(response.headers["cache-control"], "private, no-cache", "{path}");
            assert_eq!(response.headers["vary"], "authorization, accept-language", "{path}");
            assert_eq!(response.headers["x-content-type-options"], "nosniff", "{path}");
        }
    }
}

pub async fn a_listing_is_ordered_and_bounded(server: &impl Target) {
    let raw = signed_in(server).await;
    for date in ["20260218", "20260216", "20260217", "20260219"] {
        data(&raw.post(&format!("/api/diary/{date}"), &save(date, Value::Null)).await, 201);
    }
    let entries = data(&raw.get("/api/diary?start=20260216&end=20260218").await, 200);
    let dates: Vec<_> = entries.as_array().unwrap().iter().map(|day| &day["date"]).collect();
    assert_eq!(dates, ["20260216", "20260217", "20260218"]);
    let mut fields: Vec<_> = entries[0].as_object().unwrap().keys().collect();
    fields.sort();
    assert_eq!(
        fields,
        ["date", "emotion", "is_archived", "summary_status", "title", "updated_at", "version"]
    );
    assert_eq!(data(&raw.get("/api/diary?start=20250101&end=20260101").await, 200), json!([]));
    for (query, status, error) in [
        ("start=20250101&end=20260102", 400, "invalid_range"),
        ("start=20260217&end=20260216", 400, "invalid_range"),
        ("start=20260217", 422, "invalid_request"),
        ("", 422, "invalid_request"),
        ("start=20250230&end=20260216", 422, "invalid_date"),
        ("start=20250228&end=tomorrow", 422, "invalid_date"),
    ] {
        assert_error(&raw.get(&format!("/api/diary?{query}")).await, status, error);
    }
    let missing = raw.get("/api/diary?start=20260217").await;
    assert_eq!(missing.json()["data"], json!({"field": "end", "rule": "required"}));
}

pub async fn a_deleted_diary_is_not_found_and_its_versions_continue(server: &impl Target) {
    let raw = signed_in(server).await;
    let delete = async |version: &str| raw.delete(&format!("{DAY}?version={version}")).await;
    assert_error(&raw.delete(DAY).await, 422, "invalid_request");
    assert_error(&delete("first").await, 422, "invalid_request");
    assert_error(&raw.delete("/api/diary/20250230?version=1").await, 422, "invalid_date");
    assert_error(&delete("1").await, 404, "not_found");
    let created = data(&raw.post(DAY, &save("하나", Value::Null)).await, 201);
    let late = delete("2").await;
    assert_error(&late, 409, "diary_conflict");
    assert_eq!(late.json()["data"]["current"]["title"], "하나");

    assert_eq!(data(&delete("1").await, 200), Value::Null);
    assert_error(&delete("1").await, 404, "not_found");
    assert_eq!(data(&raw.get(DAY).await, 200)["title"], Value::Null);
    assert_eq!(data(&raw.get("/api/diary?start=20260216&end=20260216").await, 200), json!([]));
    for version in [1, 2] {
        let over = raw.post(DAY, &save("없는 글 위에", version)).await;
        assert_error(&over, 409, "diary_conflict");
        assert_eq!(over.json()["data"], json!({"current": null}));
    }
    let again = data(&raw.post(DAY, &save("다시", Value::Null)).await, 201);
    assert_eq!((&again["version"], &again["id"]), (&json!(3), &created["id"]));
}

pub async fn archiving_is_a_compare_and_swap(server: &impl Target) {
    let raw = signed_in(server).await;
    let archive = async |archived: bool, version: u64| {
        let body = json!({"archived": archived, "version": version});
        raw.post(&format!("{DAY}/archive"), &body).await
    };
    assert_error(&archive(true, 1).await, 404, "not_found");
    data(&raw.post(DAY, &save("하나", Value::Null)).await, 201);
    assert_error(&raw.post(&format!("{DAY}/archive"), &json!({})).await, 422, "invalid_request");
    assert_eq!(data(&archive(true, 1).await, 200), json!({"version": 2}));
    let late = archive(false, 1).await;
    assert_error(&late, 409, "diary_conflict");
    assert_eq!(late.json()["data"]["current"]["is_archived"], true);
    data(&raw.post(DAY, &save("둘", 2)).await, 200);
    assert_eq!(
        data(&raw.get(DAY).await, 200)["is_archived"],
        true,
        "a save keeps the archive state"
    );
    assert_eq!(data(&archive(false, 3).await, 200), json!({"version": 4}));
    let diary = data(&raw.get(DAY).await, 200);
    assert_eq!((&diary["is_archived"], &diary["title"]), (&json!(false), &json!("둘")));
    // A deletion resets the archive state.
    data(&archive(true, 4).await, 200);
    data(&raw.delete(&format!("{DAY}?version=5")).await, 200);
    data(&raw.post(DAY, &save("셋", Value::Null)).await, 201);
    assert_eq!(data(&raw.get(DAY).await, 200)["is_archived"], false);
}

pub async fn other_users_diaries_are_not_found(server: &impl Target) {
    let (mine, theirs) = (signed_in(server).await, signed_in(server).await);
    data(&mine.post(DAY, &save("비밀", Value::Null)).await, 201);
    assert_eq!(data(&theirs.get(DAY).await, 200)["version"], Value::Null);
    assert_error(&theirs.delete(&format!("{DAY}?version=1")).await, 404, "not_found");
    let conflict = theirs.post(DAY, &save("내 글", 1)).await;
    assert_eq!(conflict.json()["data"], json!({"current": null}));
    assert_eq!(data(&theirs.get("/api/diary?start=20260216&end=20260216").await, 200), json!([]));
    let draft = Draft::new("내 글", Document::from_text("글"));
    let body = json!({"title": draft.title, "content": draft.content});
    data(&theirs.post(DAY, &body).await, 201);
    assert_eq!(data(&mine.get(DAY).await, 200)["title"], "비밀");
}
