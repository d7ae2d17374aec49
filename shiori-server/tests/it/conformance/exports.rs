//! Export and import.

use futures_util::TryStreamExt;
use reqwest::Method;
use serde_json::{Value, json};
use shiori_sdk::{
    Client, Draft, ErrorKind, ExportRecord, ExportedDiary, Precondition, Version, testing::Person,
};

use super::{Device, Target, assert_error};
use crate::fixtures::{day, draft, new_client, week, write_week};

/// The content of 16 February: with a line break between its tokens, and numbers that a parser would
/// change.
const CONTENT: &str =
    "{ \"type\":\"doc\",\n\"content\":[{\"type\":\"x\",\"attrs\":{\"n\":1.50}}] }";

/// A signed-in SDK client of a new user, and the same user's access without the SDK.
async fn sign_up(server: &impl Target) -> (Client, Device) {
    let (device, email) = Device::sign_up(server).await;
    let client = new_client(&server.url());
    client.auth().login(&email, Person::PASSWORD).await.unwrap();
    (client, device)
}

async fn exported(client: &Client) -> Vec<ExportRecord> {
    client.account().export().try_collect().await.unwrap()
}

fn diaries(records: &[ExportRecord]) -> Vec<ExportedDiary> {
    let diaries = records.iter().filter_map(|record| match record {
        ExportRecord::Diary(diary) => Some(diary.clone()),
        _ => None,
    });
    diaries.collect()
}

/// The export contains the account, every diary as it can be read, and every reflection. Nothing of
/// other users, and no deleted diary.
pub async fn an_export_contains_everything_once(server: &impl Target) {
    let (client, device) = sign_up(server).await;
    let (other, _) = sign_up(server).await;
    write_week(&other, "남의 글").await;
    write_week(&client, "한 주").await;
    let body = format!("{{\"title\":\"둘째 글\",\"content\":{CONTENT},\"version\":1}}");
    let saved = device.raw.send(Method::POST, "/api/diary/20260216", Some(body)).await;
    assert_eq!(saved.status, 200, "{}", saved.text);
    let summary = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
    assert!(server.claim(summary.id()).await);
    assert!(server.complete(summary.id(), "한 주의 글").await);
    let archived = client.diaries().archive(day(17), version(1), true).await.unwrap();
    assert_eq!(archived, version(2));
    let extra = client.diaries().save(day(23), draft("지울 글"), Precondition::IfAbsent).await;
    client.diaries().delete(day(23), extra.unwrap().version).await.unwrap();

    let response = device.raw.get("/api/user/export").await;
    assert_eq!(response.status, 200);
    assert_eq!(response.headers["content-type"], "application/x-ndjson");
    assert_eq!(response.headers["cache-control"], "no-store");
    let disposition = response.headers["content-disposition"].to_str().unwrap();
    assert_eq!(disposition, "attachment; filename=\"shiori-export.ndjson\"");
    let lines: Vec<Value> =
        response.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kind = |line: &Value| line.as_object().unwrap().keys().next().unwrap().clone();
    let kinds: Vec<_> = lines.iter().map(kind).collect();
    let expected = ["header", "account"]
        .into_iter()
        .chain(["diary"; 7])
        .chain(["reflection", "end"])
        .collect::<Vec<_>>();
    assert_eq!(kinds, expected);
    assert_eq!(lines[0]["header"]["format"], "shiori-export");
    assert_eq!(lines[0]["header"]["version"], 1);
    assert_eq!(lines[1]["account"]["nickname"], "손");
    let end = json!({"diaries": 7, "reflections": 1, "emotions": 7, "unreadable": 0});
    assert_eq!(lines[10]["end"], end);
    assert!(!response.text.contains("남의 글") && !response.text.contains("password"));

    let records = exported(&client).await;
    let found = diaries(&records);
    for (diary, date) in found.iter().zip(week().dates()) {
        let read = client.diaries().get(date).await.unwrap().unwrap();
        assert_eq!(diary.content.as_json(), read.content.as_json());
        assert_eq!((&diary.title, diary.date), (&read.title, date));
        assert_eq!((diary.id, diary.version), (read.id, read.version));
        assert_eq!((diary.is_archived, diary.updated_at), (read.is_archived, read.updated_at));
    }
    assert_eq!((found.len(), found[0].content.as_json()), (7, CONTENT));
    assert!(found[1].is_archived);
    let Some(ExportRecord::Reflection(reflection)) = records.get(9) else {
        panic!("expected a reflection: {records:?}")
    };
    let read = client.reflections().get(week()).await.unwrap().unwrap();
    assert_eq!(
        (reflection.summary_id, &reflection.reflection),
        (read.summary_id, &read.reflection)
    );
    assert_eq!((&reflection.emotions, &reflection.engine), (&read.emotions, &read.engine));
    assert_eq!((reflection.start, reflection.end), (read.start, read.end));
    assert_eq!(reflection.generated_at, read.generated_at);
}

/// An account without data has an export, too.
pub async fn the_export_of_a_new_account_is_complete(server: &impl Target) {
    let (client, device) = sign_up(server).await;
    let records = exported(&client).await;
    assert!(matches!(
        records[..],
        [ExportRecord::Header(_), ExportRecord::Account(_), ExportRecord::End(_)]
    ));
    let response = device.raw.send(Method::POST, "/api/user/export", None).await;
    assert_error(&response, 405, "method_not_allowed");
}

/// An import saves what is absent and changes nothing else, however often it is repeated.
pub async fn an_export_is_imported_into_another_account(server: &impl Target) {
    let (from, _) = sign_up(server).await;
    let (to, _) = sign_up(server).await;
    write_week(&from, "한 주").await;
    from.diaries().archive(day(17), version(1), true).await.unwrap();
    let theirs = Draft::new("먼저 쓴 글", draft("다른 글").content);
    to.diaries().save(day(18), theirs.clone(), Precondition::IfAbsent).await.unwrap();
    let same = from.diaries().get(day(19)).await.unwrap().unwrap().to_draft();
    to.diaries().save(day(19), same, Precondition::IfAbsent).await.unwrap();

    let records = exported(&from).await;
    let import = async || {
        let records = records.iter().cloned().map(Ok);
        to.account().import(records).await.unwrap()
    };
    let report = import().await;
    assert_eq!((report.created, report.present), (5, 1), "{report:?}");
    let conflicts: Vec<_> = report.conflicts.iter().map(|conflict| conflict.date).collect();
    assert_eq!((conflicts, report.conflicts[0].current), (vec![day(18)], version(1)));
    assert!(report.deleted.is_empty() && report.rejected.is_empty() && !report.is_complete());
    for diary in diaries(&records) {
        let read = to.diaries().get(diary.date).await.unwrap().unwrap();
        if diary.date == day(18) {
            assert_eq!(read.to_draft(), theirs);
            continue;
        }
        assert_eq!(read.content.as_json(), diary.content.as_json());
        assert_eq!((read.title, read.is_archived), (diary.title, diary.is_archived));
    }

    // Later changes are kept: a save, a restored diary, a deletion.
    let there = to.diaries();
    let saved = there.update(day(16), |mut draft| async {
        draft.content.push_paragraph("나중에 쓴 줄");
        draft
    });
    assert_eq!(saved.await.unwrap().version, version(2));
    to.diaries().archive(day(17), version(2), false).await.unwrap();
    to.diaries().delete(day(20), version(1)).await.unwrap();
    let versions = async || {
        let listed = to.diaries().list(week().into()).await.unwrap();
        listed.iter().map(|day| (day.date, day.version, day.is_archived)).collect::<Vec<_>>()
    };
    let before = versions().await;
    for _ in 0..2 {
        let report = import().await;
        assert_eq!((report.created, report.present), (0, 5), "{report:?}");
        assert_eq!((report.deleted, report.conflicts.len()), (vec![day(20)], 1));
    }
    assert_eq!(versions().await, before);

    // An import that was interrupted between a save and its archiving is completed.
    let (client, _) = sign_up(server).await;
    let archived = records.iter().cloned().map(|record| match record {
        ExportRecord::Diary(diary) => {
            ExportRecord::Diary(ExportedDiary { is_archived: false, ..diary })
        }
        other => other,
    });
    let report = client.account().import(archived.map(Ok)).await.unwrap();
    assert!((report.created, report.is_complete()) == (7, true), "{report:?}");
    let report = client.account().import(records.iter().cloned().map(Ok)).await.unwrap();
    assert!((report.present, report.is_complete()) == (7, true), "{report:?}");
    let read = client.diaries().get(day(17)).await.unwrap().unwrap();
    assert!(read.is_archived && read.version == version(2));
}

/// A diary that the server rejects is listed, and the others are imported.
pub async fn a_rejected_diary_does_not_stop_an_import(server: &impl Target) {
    let (from, _) = sign_up(server).await;
    write_week(&from, "한 주").await;
    let records = exported(&from).await.into_iter().map(|record| match record {
        ExportRecord::Diary(diary) if diary.date == day(20) => {
            ExportRecord::Diary(ExportedDiary { title: "가".repeat(51), ..diary })
        }
        other => other,
    });
    let (to, _) = sign_up(server).await;
    let report = to.account().import(records.map(Ok)).await.unwrap();
    assert_eq!((report.created, report.rejected.len()), (6, 1), "{report:?}");
    assert_eq!(report.rejected[0].date, day(20));
    assert_eq!(report.rejected[0].error.code().unwrap().as_str(), "title_too_long");
    let signed_out = new_client(&server.url());
    let error = signed_out.account().export().try_next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SignedOut);
}

fn version(number: u64) -> Version {
    Version::new(number)
}
