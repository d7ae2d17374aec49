//! Export and import while requests fail.

use std::time::Duration;

use futures_util::TryStreamExt;
use shiori_sdk::{
    Client, Date, Document, Draft, ErrorKind, ExportRecord, ExportedDiary, Precondition,
    testing::{FakeShiori, Fault, Route},
};

const DAYS: u8 = 20;

fn date(day: u8) -> Date {
    Date::new(2026, 2, day).unwrap()
}

async fn write(client: &Client) {
    for day in 1..=DAYS {
        let draft = Draft::new(format!("{day}일"), Document::from_text("조용한 하루"));
        let saved = client.diaries().save(date(day), draft, Precondition::IfAbsent).await.unwrap();
        if day % 2 == 0 {
            client.diaries().archive(date(day), saved.version, true).await.unwrap();
        }
    }
}

async fn exported(client: &Client) -> Vec<ExportRecord> {
    client.account().export().try_collect().await.unwrap()
}

#[tokio::test]
async fn an_export_begins_after_a_retry_or_a_renewal() {
    let fake = FakeShiori::start();
    let client = fake.client().await;
    write(&client).await;
    fake.inject(Fault::status(503).on(Route::Export));
    assert_eq!(exported(&client).await.len(), usize::from(DAYS) + 3);
    assert_eq!(fake.count(Route::Export), 2);
    fake.inject(Fault::status(401).on(Route::Export));
    assert_eq!(exported(&client).await.len(), usize::from(DAYS) + 3);
    assert_eq!((fake.count(Route::Export), fake.count(Route::Refresh)), (4, 1));
    fake.inject(Fault::lost_response().on(Route::Export));
    assert_eq!(exported(&client).await.len(), usize::from(DAYS) + 3);

    let wait = Duration::from_secs(3600);
    fake.inject(Fault::status(429).with_retry_after(wait).on(Route::Export));
    let error = client.account().export().try_next().await.unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::RateLimited, Some(wait)));
    assert_eq!(error.attempts(), 1, "a retry would begin after the time limit of a call");
    assert!(error.request_id().is_some());
    drop(fake);
    let error = client.account().export().try_next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
}

/// Lost requests and responses neither lose a diary nor save it twice, and neither does an import
/// that is repeated after an error.
#[tokio::test]
async fn an_import_survives_lost_responses_and_can_be_repeated() {
    let fake = FakeShiori::start();
    let (from, to) = (fake.client().await, fake.client().await);
    write(&from).await;
    let records = exported(&from).await;
    for route in [Route::Save, Route::Archive] {
        fake.inject(Fault::lost_response().on(route).times(3));
        fake.inject(Fault::lost_request().on(route).times(3));
    }
    // More failures than the retries of one request.
    fake.inject(Fault::status(503).on(Route::Save).times(30));
    let import = async || to.account().import(records.iter().cloned().map(Ok)).await;
    let error = import().await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    let mut repeated = 0;
    let report = loop {
        match import().await {
            Ok(report) => break report,
            Err(error) => assert!(error.is_retryable() && repeated < 30, "{error:?}"),
        }
        repeated += 1;
    };
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(report.created + report.present, u64::from(DAYS));

    let copied = exported(&to).await;
    let diaries = |records: &[ExportRecord]| {
        let diary = |record: &ExportRecord| match record {
            ExportRecord::Diary(ExportedDiary { date, title, version, is_archived, .. }) => {
                Some((*date, title.clone(), *version, *is_archived))
            }
            _ => None,
        };
        records.iter().filter_map(diary).collect::<Vec<_>>()
    };
    assert_eq!(diaries(&copied), diaries(&records), "each version was saved once");
}

/// An import ends with the first record that cannot be read.
#[tokio::test]
async fn an_import_of_an_incomplete_export_is_an_error() {
    let fake = FakeShiori::start();
    let client = fake.client().await;
    write(&client).await;
    let records = exported(&client).await;
    let lines: String = records[..records.len() - 1]
        .iter()
        .map(|record| serde_json::to_string(record).unwrap() + "\n")
        .collect();
    let reader = shiori_sdk::ExportReader::new(lines.as_bytes());
    let error = fake.client().await.account().import(reader).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidExport);
}
