//! Revisions: what is kept, listed, read, purged and expired.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use shiori_sdk::limits::{MAX_REVISIONS, REVISION_AGE, REVISION_TTL};

use super::{Device, Target, assert_error, data, diaries::save};
use crate::raw_client::RawClient;

const DAY: &str = "/api/diary/20260216";
const REVISIONS: &str = "/api/diary/20260216/revisions";

/// The titles of the revisions of the day, newest first.
async fn titles(raw: &RawClient) -> Vec<String> {
    let list = data(&raw.get(REVISIONS).await, 200);
    let list = list.as_array().unwrap();
    list.iter().map(|entry| entry["title"].as_str().unwrap().to_owned()).collect()
}

async fn delete(raw: &RawClient, path: &str) {
    data(&raw.send(Method::DELETE, path, None).await, 200);
}

/// Two devices of one user.
async fn devices(server: &impl Target) -> (RawClient, RawClient) {
    let (phone, email) = Device::sign_up(server).await;
    (phone.raw, Device::log_in(server, &email).await.raw)
}

pub async fn replaced_texts_are_listed_and_read(server: &impl Target) {
    let (phone, laptop) = devices(server).await;
    assert_eq!(data(&phone.get(REVISIONS).await, 200), json!([]));
    let first = data(&phone.post(DAY, &save("하나", Value::Null)).await, 201);
    server.advance(Duration::from_secs(7));
    let second = data(&laptop.post(DAY, &save("둘", 1)).await, 200);
    let (saved_at, replaced_at) = (&first["updated_at"], &second["updated_at"]);
    let content = save("하나", 1)["content"].clone();
    let entry = json!({
        "version": 1, "title": "하나", "bytes": content.to_string().len(),
        "saved_at": saved_at, "replaced_at": replaced_at,
    });
    assert_eq!(data(&phone.get(REVISIONS).await, 200), json!([entry]));
    let revision = json!({
        "date": "20260216", "version": 1, "title": "하나", "content": content,
        "saved_at": saved_at, "replaced_at": replaced_at,
    });
    let path = format!("{REVISIONS}/1");
    assert_eq!(data(&laptop.get(&path).await, 200), revision);

    for missing in ["2", "0", "18446744073709551615", "18446744073709551616", "-1", "x"] {
        let path = format!("{REVISIONS}/{missing}");
        assert_error(&phone.get(&path).await, 404, "not_found");
    }
    for path in ["/api/diary/20260230/revisions", "/api/diary/20260230/revisions/1"] {
        assert_error(&phone.get(path).await, 422, "invalid_date");
    }
    let path = "/api/diary/20260230/revisions";
    assert_error(&phone.send(Method::DELETE, path, None).await, 422, "invalid_date");
    for (method, path) in [(Method::POST, REVISIONS), (Method::GET, "/api/diary/revisions")] {
        let response = phone.send(method, path, None).await;
        assert_error(&response, 405, "method_not_allowed");
    }
    let stranger = Device::sign_up(server).await.0.raw;
    assert_eq!(data(&stranger.get(REVISIONS).await, 200), json!([]));
    assert_error(&stranger.get(&format!("{REVISIONS}/1")).await, 404, "not_found");
}

pub async fn autosaves_are_not_kept(server: &impl Target) {
    let raw = Device::sign_up(server).await.0.raw;
    data(&raw.post(DAY, &save("1", Value::Null)).await, 201);
    server.advance(REVISION_AGE);
    data(&raw.post(DAY, &save("2", 1)).await, 200);
    assert_eq!(titles(&raw).await, Vec::<String>::new());
    // Archiving saves no text.
    let archive = json!({"archived": true, "version": 2});
    data(&raw.post(&format!("{DAY}/archive"), &archive).await, 200);
    data(&raw.post(DAY, &save("3", 3)).await, 200);
    assert_eq!(titles(&raw).await, Vec::<String>::new());
    let mut kept = save("4", 4);
    kept["keep_replaced"] = json!(true);
    data(&raw.post(DAY, &kept).await, 200);
    assert_eq!(titles(&raw).await, ["3"]);
    server.advance(Duration::from_secs(1));
    data(&raw.post(DAY, &save("5", 5)).await, 200);
    assert_eq!(titles(&raw).await, ["3"]);
}

pub async fn a_text_older_than_10_minutes_is_kept(server: &impl Target) {
    let raw = Device::sign_up(server).await.0.raw;
    data(&raw.post(DAY, &save("1", Value::Null)).await, 201);
    server.advance(REVISION_AGE + Duration::from_millis(1));
    data(&raw.post(DAY, &save("2", 1)).await, 200);
    assert_eq!(titles(&raw).await, ["1"]);
}

pub async fn a_deleted_text_is_kept_until_it_is_purged(server: &impl Target) {
    let raw = Device::sign_up(server).await.0.raw;
    data(&raw.post(DAY, &save("1", Value::Null)).await, 201);
    delete(&raw, &format!("{DAY}?version=1")).await;
    data(&raw.post(DAY, &save("3", Value::Null)).await, 201);
    delete(&raw, &format!("{DAY}?version=3")).await;
    assert_eq!(titles(&raw).await, ["3", "1"]);
    delete(&raw, REVISIONS).await;
    assert_eq!(titles(&raw).await, Vec::<String>::new());
    assert_eq!(data(&raw.get(DAY).await, 200)["version"], Value::Null);

    data(&raw.post(DAY, &save("5", Value::Null)).await, 201);
    delete(&raw, &format!("{DAY}?version=5")).await;
    let stranger = Device::sign_up(server).await.0.raw;
    delete(&stranger, "/api/diary/revisions").await;
    assert_eq!(titles(&raw).await, ["5"]);
    delete(&raw, "/api/diary/revisions").await;
    assert_eq!(titles(&raw).await, Vec::<String>::new());
}

pub async fn revisions_expire_and_are_bounded(server: &impl Target) {
    let (phone, email) = Device::sign_up(server).await;
    let devices = [phone.raw, Device::log_in(server, &email).await.raw];
    data(&devices[0].post(DAY, &save("1", Value::Null)).await, 201);
    for version in 1..MAX_REVISIONS as usize + 3 {
        let body = save(&(version + 1).to_string(), version);
        data(&devices[version % 2].post(DAY, &body).await, 200);
    }
    let expected: Vec<_> = (3..=52).rev().map(|title: u32| title.to_string()).collect();
    assert_eq!(titles(&devices[0]).await, expected);
    server.advance(REVISION_TTL);
    let raw = Device::log_in(server, &email).await.raw;
    assert_eq!(titles(&raw).await, Vec::<String>::new());
    assert_error(&raw.get(&format!("{REVISIONS}/52")).await, 404, "not_found");
}
