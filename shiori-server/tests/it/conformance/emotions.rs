//! The emotions of a range of days.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Device, Target, assert_error, data, diaries::save};
use crate::{fixtures::week, raw_client::RawClient};

fn path(start: &str, end: &str) -> String {
    format!("/api/diary/emotions?start={start}&end={end}")
}

/// Writes the week and completes its summary.
async fn summarised_week(server: &impl Target, raw: &RawClient) {
    for date in week().dates() {
        data(&raw.post(&format!("/api/diary/{date}"), &save("글", Value::Null)).await, 201);
    }
    let body = json!({"start": week().start(), "end": week().end()});
    let receipt = data(&raw.post("/api/diary/summary", &body).await, 202);
    let id = receipt["id"].as_str().unwrap().parse().unwrap();
    assert!(server.claim(id).await && server.complete(id, "한 주").await);
}

pub async fn emotions_are_listed_and_counted(server: &impl Target) {
    let raw = Device::sign_up(server).await.0.raw;
    let year = path("20260101", "20261231");
    let nothing = json!({"days": [], "weeks": [], "months": []});
    assert_eq!(data(&raw.get(&year).await, 200), nothing);
    summarised_week(server, &raw).await;

    let neutral = |days: u32| json!({"공포": 0, "놀람": 0, "분노": 0, "슬픔": 0, "중립": days, "행복": 0, "혐오": 0});
    let history = data(&raw.get(&year).await, 200);
    let days = history["days"].as_array().unwrap();
    assert_eq!(days.len(), 7);
    for (day, date) in days.iter().zip(week().dates()) {
        assert_eq!((&day["date"], &day["label"]), (&json!(date), &json!("중립")));
        assert_eq!((&day["confidence"], &day["distribution"]["중립"]), (&json!(1.0), &json!(1.0)));
        let diary = data(&raw.get(&format!("/api/diary/{date}")).await, 200);
        assert_eq!(diary["emotion"], day["label"]);
    }
    assert_eq!(history["weeks"], json!([{"start": "20260216", "counts": neutral(7)}]));
    assert_eq!(history["months"], json!([{"start": "20260201", "counts": neutral(7)}]));

    // As in a reading of a day: a changed diary keeps its emotion, and a deleted one has none.
    data(&raw.post("/api/diary/20260217", &save("고친 글", 1)).await, 200);
    data(&raw.send(Method::DELETE, "/api/diary/20260218?version=1", None).await, 200);
    let part = data(&raw.get(&path("20260217", "20260219")).await, 200);
    let dates: Vec<_> = part["days"].as_array().unwrap().iter().map(|day| &day["date"]).collect();
    assert_eq!(dates, ["20260217", "20260219"]);
    assert_eq!(part["weeks"], json!([{"start": "20260216", "counts": neutral(2)}]));
    let stranger = Device::sign_up(server).await.0.raw;
    assert_eq!(data(&stranger.get(&year).await, 200), nothing);
}

pub async fn emotions_of_ten_years_are_read_at_once(server: &impl Target) {
    let raw = Device::sign_up(server).await.0.raw;
    summarised_week(server, &raw).await;
    let history = data(&raw.get(&path("20200101", "20291231")).await, 200);
    assert_eq!(history["days"].as_array().unwrap().len(), 7);
    for (start, end) in [("20200101", "20300101"), ("20260217", "20260216")] {
        assert_error(&raw.get(&path(start, end)).await, 400, "invalid_range");
    }
    assert_error(&raw.get(&path("20260230", "20260301")).await, 422, "invalid_date");
    assert_error(&raw.get("/api/diary/emotions?start=20260101").await, 422, "invalid_request");
    let response = raw.send(Method::POST, &path("20260101", "20260102"), None).await;
    assert_error(&response, 405, "method_not_allowed");
}
