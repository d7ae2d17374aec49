//! Versions of many dates, hints of changes, and reading many diaries.

use std::collections::BTreeSet;

use futures_util::{StreamExt, TryStreamExt};
use reqwest::Method;
use serde_json::{Value, json};
use shiori_sdk::{
    Client, Date, DateRange, DateVersion, Document, Draft, Precondition, SummaryId, Version,
    limits::{MAX_READ_BYTES, MAX_READ_DATES},
    testing::Person,
};

use super::{Device, Target, assert_error, data, diaries::save};
use crate::fixtures::{day, draft, new_client};
use crate::raw_client::{RawClient, RawResponse};

const FEBRUARY: &str = "/api/diary/versions?start=20260201&end=20260228";

async fn signed_in(server: &impl Target) -> (RawClient, Client) {
    let (device, email) = Device::sign_up(server).await;
    let client = new_client(&server.url());
    client.auth().login(&email, Person::PASSWORD).await.unwrap();
    (device.raw, client)
}

async fn write(client: &Client, date: Date, draft: Draft) -> Version {
    let saved = client.diaries().save(date, draft, Precondition::IfAbsent).send().await;
    saved.unwrap().version
}

fn february() -> DateRange {
    DateRange::new(day(1), day(28)).unwrap()
}

fn version(n: u8, number: u64) -> DateVersion {
    let version = Version::new(number);
    DateVersion { date: day(n), version, is_archived: false, is_deleted: false }
}

pub async fn versions_contain_every_date_that_had_a_diary(server: &impl Target) {
    let (raw, client) = signed_in(server).await;
    let (others, _) = signed_in(server).await;
    data(&others.post("/api/diary/20260210", &save("남의 글", Value::Null)).await, 201);
    assert_eq!(data(&raw.get(FEBRUARY).await, 200), json!({"versions": [], "next": null}));
    // A save that was rejected leaves nothing.
    assert_error(&raw.post("/api/diary/20260209", &save("글", 7)).await, 409, "diary_conflict");
    for n in [18, 17, 16] {
        let path = format!("/api/diary/202602{n}");
        data(&raw.post(&path, &save("글", Value::Null)).await, 201);
    }
    data(&raw.post("/api/diary/20260216", &save("둘", 1)).await, 200);
    let archive = json!({"archived": true, "version": 1});
    data(&raw.post("/api/diary/20260217/archive", &archive).await, 200);
    data(&raw.delete("/api/diary/20260218?version=1").await, 200);
    let expected = json!([[20_260_216, 2], [20_260_217, 2, 1], [20_260_218, 2, 2]]);
    let listed = data(&raw.get(FEBRUARY).await, 200);
    assert_eq!(listed, json!({"versions": expected, "next": null}));

    let all = client.diaries().versions(february()).await.unwrap();
    let archived = DateVersion { is_archived: true, ..version(17, 2) };
    let deleted = DateVersion { is_deleted: true, ..version(18, 2) };
    assert_eq!(all, [version(16, 2), archived, deleted]);
    let centuries = DateRange::new(Date::new(1, 1, 1).unwrap(), day(17)).unwrap();
    assert_eq!(client.diaries().versions(centuries).await.unwrap(), all[..2]);
}

pub async fn unchanged_versions_return_304(server: &impl Target) {
    let (raw, _) = signed_in(server).await;
    let known = async |etag: &str| {
        let request = raw.request(Method::GET, FEBRUARY).header("if-none-match", etag);
        RawResponse::send(request).await
    };
    let mut tags = BTreeSet::<String>::new();
    for version in [Value::Null, json!(1), json!(2)] {
        let saved = raw.post("/api/diary/20260216", &save("글", version)).await;
        assert!(matches!(saved.status, 200 | 201), "{}", saved.text);
        let listed = raw.get(FEBRUARY).await;
        assert_eq!(listed.headers["cache-control"], "private, no-cache");
        let etag = listed.headers["etag"].to_str().unwrap().to_owned();
        for known in [known(&etag).await, known(&format!("\"x\", W/{etag}")).await] {
            assert_eq!((known.status, known.text.as_str()), (304, ""));
            assert_eq!(known.headers["etag"], etag.as_str());
        }
        for old in &tags {
            assert_eq!(known(old).await.status, 200);
        }
        assert!(tags.insert(etag), "each version changes the tag");
    }
}

pub async fn invalid_ranges_of_versions_are_rejected(server: &impl Target) {
    let (raw, _) = signed_in(server).await;
    for (query, status, error) in [
        ("?start=20260217&end=20260216", 400, "invalid_range"),
        ("?start=20260216", 422, "invalid_request"),
        ("?start=2026-02-16&end=20260217", 422, "invalid_date"),
        ("?start=20260216&start=20260216&end=20260217", 422, "invalid_request"),
    ] {
        let response = raw.get(&format!("/api/diary/versions{query}")).await;
        assert_error(&response, status, error);
    }
    let all = raw.get("/api/diary/versions?start=00010101&end=99991231").await;
    assert_eq!(data(&all, 200)["versions"], json!([]));
}

/// A raw event stream.
struct Events {
    response: reqwest::Response,
    text: String,
}

impl Events {
    async fn open(raw: &RawClient) -> Self {
        let response = raw.request(Method::GET, "/api/diary/events").send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        let mut events = Self { response, text: String::new() };
        assert_eq!(events.next().await, json!({"kind": "resync"}));
        events
    }

    /// The data of the next event, whose name must be its kind.
    async fn next(&mut self) -> Value {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name| event.lines().find_map(|line| line.strip_prefix(name));
                if let Some(data) = field("data: ") {
                    let data: Value = serde_json::from_str(data).unwrap();
                    assert_eq!(field("event: "), data["kind"].as_str(), "{event}");
                    return data;
                }
                continue;
            }
            let chunk = self.response.chunk().await.unwrap().expect("the stream is open");
            self.text.push_str(str::from_utf8(&chunk).unwrap());
        }
    }
}

pub async fn every_change_is_streamed_as_a_hint(server: &impl Target) {
    let (raw, _) = signed_in(server).await;
    let (others, _) = signed_in(server).await;
    let week: Vec<_> = (16..=22).map(|n| format!("/api/diary/202602{n}")).collect();
    data(&raw.post(&week[0], &save("먼저", Value::Null)).await, 201);
    let (mut one, mut two) = (Events::open(&raw).await, Events::open(&raw).await);
    let mut expect = async |expected: Value| {
        assert_eq!([one.next().await, two.next().await], [expected.clone(), expected]);
    };
    let hint = |date: &str, version: u64, change: &str| {
        let date = date.rsplit('/').next();
        json!({"kind": "diary", "date": date, "version": version, "change": change})
    };
    data(&others.post(&week[1], &save("남의 글", Value::Null)).await, 201);
    assert_error(&raw.post(&week[0], &save("진 글", 7)).await, 409, "diary_conflict");
    data(&raw.post(&week[0], &save("둘", 1)).await, 200);
    expect(hint(&week[0], 2, "saved")).await;
    let archive = |archived, version| json!({"archived": archived, "version": version});
    data(&raw.post(&format!("{}/archive", week[0]), &archive(true, 2)).await, 200);
    expect(hint(&week[0], 3, "archived")).await;
    data(&raw.post(&format!("{}/archive", week[0]), &archive(false, 3)).await, 200);
    expect(hint(&week[0], 4, "restored")).await;
    data(&raw.delete(&format!("{}?version=4", week[0])).await, 200);
    expect(hint(&week[0], 5, "deleted")).await;
    for (nth, date) in week.iter().enumerate() {
        data(&raw.post(date, &save("하루", Value::Null)).await, 201);
        expect(hint(date, if nth == 0 { 6 } else { 1 }, "saved")).await;
    }

    let body = json!({"start": "20260216", "end": "20260222"});
    let requested = data(&raw.post("/api/diary/summary", &body).await, 202);
    let id: SummaryId = requested["id"].as_str().unwrap().parse().unwrap();
    let hint = |status: &str, revision: u64| json!({"kind": "summary", "id": id, "status": status, "revision": revision});
    expect(hint("queued", 1)).await;
    assert!(server.claim(id).await);
    expect(hint("running", 2)).await;
    assert!(server.complete(id, "끝").await);
    expect(hint("completed", 3)).await;
}

pub async fn a_watch_yields_the_versions_of_all_devices(server: &impl Target) {
    let (raw, client) = signed_in(server).await;
    write(&client, day(1), draft("글")).await;
    let known = version(2, 1);
    write(&client, day(2), draft("글")).await;
    let mut all = client.diaries().watch();
    let mut others = client.diaries().watch_since([known]);
    assert_eq!(all.next().await.unwrap().unwrap(), version(1, 1));
    assert_eq!(all.next().await.unwrap().unwrap(), known);
    assert_eq!(others.next().await.unwrap().unwrap(), version(1, 1));
    let mut expect = async |expected: DateVersion| {
        assert_eq!(all.next().await.unwrap().unwrap(), expected);
        assert_eq!(others.next().await.unwrap().unwrap(), expected);
    };
    data(&raw.post("/api/diary/20260202", &save("둘", 1)).await, 200);
    expect(version(2, 2)).await;
    client.diaries().archive(day(2), Version::new(2), true).await.unwrap();
    expect(DateVersion { is_archived: true, ..version(2, 3) }).await;
    data(&raw.post("/api/diary/20260202", &save("셋", 3)).await, 200);
    expect(DateVersion { is_archived: true, ..version(2, 4) }).await;
    client.diaries().delete(day(2), Version::new(4)).await.unwrap();
    expect(DateVersion { is_deleted: true, ..version(2, 5) }).await;
    write(&client, day(2), draft("다시")).await;
    expect(version(2, 6)).await;
    write(&client, day(3), draft("글")).await;
    expect(version(3, 1)).await;
}

pub async fn many_diaries_are_read_at_once(server: &impl Target) {
    let (raw, client) = signed_in(server).await;
    let (others, _) = signed_in(server).await;
    data(&others.post("/api/diary/20260203", &save("남의 글", Value::Null)).await, 201);
    for n in [8, 2, 4] {
        write(&client, day(n), draft(&format!("{n}일"))).await;
    }
    client.diaries().archive(day(2), Version::new(1), true).await.unwrap();
    client.diaries().delete(day(4), Version::new(1)).await.unwrap();
    let dates = ["20260208", "20260203", "20260202", "20260204"];
    let read = data(&raw.post("/api/diary/read", &json!({ "dates": dates })).await, 200);
    let alone = async |date: &str| data(&raw.get(&format!("/api/diary/{date}")).await, 200);
    let diaries = [alone("20260202").await, alone("20260208").await];
    assert_eq!(read, json!({"diaries": diaries, "unreadable": [], "rest": []}));

    let read: Vec<_> = client.diaries().read(february()).try_collect().await.unwrap();
    let texts: Vec<_> = read.iter().map(|diary| diary.content.block_texts()).collect();
    assert_eq!(texts, [["2일"], ["8일"]]);
    assert_eq!(read[0], client.diaries().get(day(2)).await.unwrap().unwrap());
    let chosen = client.diaries().read_dates([day(8), day(3), day(8)]);
    assert_eq!(chosen.try_collect::<Vec<_>>().await.unwrap(), read[1..]);
    let nothing = client.diaries().read(DateRange::new(day(20), day(28)).unwrap());
    assert!(nothing.try_collect::<Vec<_>>().await.unwrap().is_empty());
}

pub async fn invalid_reads_are_rejected(server: &impl Target) {
    let (raw, _) = signed_in(server).await;
    let start = day(1);
    let dates = |count: usize| -> Vec<Date> {
        (0..count).map(|days| start.plus_days(i64::try_from(days).unwrap()).unwrap()).collect()
    };
    let read = async |dates: Value| raw.post("/api/diary/read", &json!({ "dates": dates })).await;
    for (dates, rule) in [
        (json!([]), "1 to 100 dates"),
        (json!(dates(MAX_READ_DATES + 1)), "1 to 100 dates"),
        (json!(["20260216", "20260217", "20260216"]), "distinct"),
    ] {
        let response = read(dates).await;
        assert_error(&response, 422, "invalid_request");
        assert_eq!(response.json()["data"], json!({"field": "dates", "rule": rule}));
    }
    assert_error(&read(json!(["20260230"])).await, 422, "invalid_date");
    assert_error(&read(json!("20260216")).await, 422, "invalid_request");
    data(&read(json!(dates(MAX_READ_DATES))).await, 200);
}

pub async fn large_reads_are_continued(server: &impl Target) {
    let (raw, client) = signed_in(server).await;
    let content = Document::from_text(&"x".repeat(MAX_READ_BYTES * 2 / 5));
    for n in 1..=7 {
        write(&client, day(n), Draft::new(format!("{n}"), content.clone())).await;
    }
    let dates: Vec<_> = (1..=8).map(day).collect();
    let read = data(&raw.post("/api/diary/read", &json!({ "dates": dates })).await, 200);
    assert_eq!(read["diaries"].as_array().unwrap().len(), 3);
    assert_eq!(read["rest"], json!(dates[3..]));
    let read: Vec<_> = client.diaries().read(february()).try_collect().await.unwrap();
    assert_eq!(read.iter().map(|diary| diary.date).collect::<Vec<_>>(), dates[..7]);
    assert!(read.iter().all(|diary| diary.content == content));
}
