//! A web app of another team: notes go into the day's diary, and the week is looked back on. Its
//! tests, at the end, need neither a server nor a model.
//!
//! ```console
//! $ cargo run -p shiori-examples --example journal_app            # until Ctrl-C
//! $ cargo run -p shiori-examples --example journal_app -- --once  # a few requests
//! $ cargo test -p shiori-examples --example journal_app           # its tests
//! ```
#![allow(clippy::print_stdout)] // an example is there to be read

use std::env;

use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::State,
    http::{Request, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use shiori_examples::Service;
use shiori_sdk::{Client, Date, Draft, ErrorKind, Requested, Week};
use tokio::net::TcpListener;
use tower::ServiceExt;

/// The app of one person. Which day it is comes from outside, so that tests choose it.
#[derive(Clone)]
struct Journal {
    client: Client,
    today: fn() -> Date,
}

fn app(journal: Journal) -> Router {
    Router::new()
        .route("/notes", get(read_notes).post(add_note))
        .route("/week", get(look_back))
        .with_state(journal)
}

/// A note becomes the last paragraph of today's diary, whoever else writes it meanwhile.
async fn add_note(State(journal): State<Journal>, note: String) -> Result<Response, Failure> {
    let note = note.as_str();
    let append = |mut draft: Draft| async move {
        draft.content.push_paragraph(note);
        draft
    };
    let saved = journal.client.diaries().update((journal.today)(), append).await?;
    let notes = saved.draft.content.block_texts();
    Ok((StatusCode::CREATED, Json(json!({ "notes": notes }))).into_response())
}

async fn read_notes(State(journal): State<Journal>) -> Result<Json<Value>, Failure> {
    let diary = journal.client.diaries().get((journal.today)()).await?;
    let notes = diary.map(|diary| diary.content.block_texts()).unwrap_or_default();
    Ok(Json(json!({ "notes": notes })))
}

/// What there is to say of the week. Asking for a summary that is on its way, or done, makes no
/// second one, so there is no id to be kept.
async fn look_back(State(journal): State<Journal>) -> Result<Json<Value>, Failure> {
    let week = Week::containing((journal.today)());
    match journal.client.summaries().request(week).await? {
        Requested::Incomplete { missing } => {
            Ok(Json(json!({ "status": "incomplete", "missing": missing })))
        }
        Requested::Accepted(summary) | Requested::AlreadyDone(summary) => {
            let summary = summary.poll().await?;
            Ok(Json(json!({ "status": summary.status, "reflection": summary.reflection })))
        }
    }
}

/// What the app says when the diary does not do as it is asked.
struct Failure(shiori_sdk::Error);

impl From<shiori_sdk::Error> for Failure {
    fn from(error: shiori_sdk::Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self(error) = self;
        let request_id = error.request_id();
        let told = |text: &str| Json(json!({ "error": text, "request_id": request_id }));
        match error.kind() {
            ErrorKind::SignedOut => {
                (StatusCode::UNAUTHORIZED, told("다시 로그인해 주세요.")).into_response()
            }
            ErrorKind::Conflict => {
                (StatusCode::CONFLICT, told("지금 다른 기기에서 쓰고 있어요.")).into_response()
            }
            _ if error.is_retryable() => {
                let wait = error.retry_after().map_or(1, |wait| wait.as_secs());
                let told = told("일기장이 잠시 쉬고 있어요. 곧 다시 와 주세요.");
                (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, wait.to_string())], told)
                    .into_response()
            }
            _ => (StatusCode::BAD_GATEWAY, told("일기장에 문제가 생겼어요.")).into_response(),
        }
    }
}

#[tokio::main]
async fn main() -> shiori_examples::Result {
    let once = match env::args().nth(1).as_deref() {
        None => false,
        Some("--once") => true,
        Some(_) => return Err("usage: journal_app [--once]".into()),
    };
    let service = Service::start_or_connect().await?;
    let client = service.sign_up().await?.sign_in("journal_app").await?;
    let app = app(Journal { client, today: Date::today });
    if once {
        for (method, path, note) in [
            ("POST", "/notes", "비가 와서 오래 걸었다."),
            ("POST", "/notes", "저녁에는 비가 그쳤다."),
            ("GET", "/notes", ""),
            ("GET", "/week", ""),
        ] {
            let (status, _, answer) = ask(&app, method, path, note).await?;
            println!("{}", format!("{method} {path} {note}").trim_end());
            println!("  {} {answer}", status.as_u16());
            if !status.is_success() {
                return Err("the app has failed".into());
            }
        }
    } else {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        println!("curl -d '비가 와서 오래 걸었다.' http://{address}/notes");
        println!("curl http://{address}/week");
        println!("Ctrl-C stops it");
        axum::serve(listener, app)
            .with_graceful_shutdown(async { drop(tokio::signal::ctrl_c().await) })
            .await?;
    }
    service.stop().await
}

/// Asks the app without a network; the status, `Retry-After`, and the answer.
async fn ask(
    app: &Router,
    method: &str,
    path: &str,
    note: &'static str,
) -> shiori_examples::Result<(StatusCode, Option<String>, Value)> {
    let request = Request::builder().method(method).uri(path).body(Body::from(note))?;
    let answer = app.clone().oneshot(request).await?;
    let retry_after =
        answer.headers().get(RETRY_AFTER).map(|wait| wait.to_str().map(str::to_owned));
    let status = answer.status();
    let body = to_bytes(answer.into_body(), 1024 * 1024).await?;
    Ok((status, retry_after.transpose()?, serde_json::from_slice(&body)?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shiori_sdk::testing::{CONFLICTING_LINE, FakeShiori, Fault, Route};

    use super::*;

    fn sunday() -> Date {
        "20260412".parse().expect("a date")
    }

    /// The app on the fake, on the last day of a week.
    async fn app_on(fake: &FakeShiori) -> Router {
        app(Journal { client: fake.client().await, today: sunday })
    }

    async fn get(app: &Router, path: &str) -> Value {
        let (status, _, answer) = ask(app, "GET", path, "").await.expect("an answer");
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }

    async fn note(app: &Router, note: &'static str) -> (StatusCode, Option<String>, Value) {
        ask(app, "POST", "/notes", note).await.expect("an answer")
    }

    #[tokio::test]
    async fn a_note_is_the_last_line_of_the_day() {
        let fake = FakeShiori::start();
        let app = app_on(&fake).await;
        assert_eq!(get(&app, "/notes").await, json!({"notes": []}));
        assert_eq!(note(&app, "하나").await.0, StatusCode::CREATED);
        assert_eq!(note(&app, "둘").await.2, json!({"notes": ["하나", "둘"]}));
        assert_eq!(get(&app, "/notes").await, json!({"notes": ["하나", "둘"]}));
    }

    #[tokio::test]
    async fn a_note_and_what_another_device_writes_are_both_kept() {
        let fake = FakeShiori::start();
        let app = app_on(&fake).await;
        note(&app, "하나").await;
        fake.inject_conflicts(1);
        let (status, _, answer) = note(&app, "둘").await;
        assert_eq!(
            (status, answer),
            (StatusCode::CREATED, json!({"notes": ["하나", CONFLICTING_LINE, "둘"]}))
        );
    }

    #[tokio::test]
    async fn a_note_whose_answer_is_lost_is_written_once() {
        let fake = FakeShiori::start();
        let app = app_on(&fake).await;
        fake.inject(Fault::lost_response().on(Route::Save));
        assert_eq!(note(&app, "하나").await.0, StatusCode::CREATED);
        assert_eq!(get(&app, "/notes").await, json!({"notes": ["하나"]}));
        assert_eq!(fake.count(Route::Save), 2);
    }

    #[tokio::test]
    async fn while_the_server_is_busy_or_down_the_app_says_when_to_come_back() {
        let fake = FakeShiori::start();
        let app = app_on(&fake).await;
        // Longer than the client would wait.
        fake.inject(Fault::status(503).on(Route::Get).with_retry_after(Duration::from_secs(120)));
        let (status, retry_after, _) = note(&app, "하나").await;
        assert_eq!(
            (status, retry_after.as_deref()),
            (StatusCode::SERVICE_UNAVAILABLE, Some("120"))
        );
        assert_eq!(note(&app, "하나").await.0, StatusCode::CREATED);

        drop(fake);
        let (status, retry_after, answer) = note(&app, "둘").await;
        assert_eq!((status, retry_after.as_deref()), (StatusCode::SERVICE_UNAVAILABLE, Some("1")));
        assert!(answer["request_id"].is_string(), "{answer}");
    }

    #[tokio::test]
    async fn a_person_who_was_away_too_long_signs_in_again() {
        let fake = FakeShiori::start();
        let app = app_on(&fake).await;
        fake.advance(Duration::from_secs(31 * 24 * 60 * 60));
        assert_eq!(note(&app, "하나").await.0, StatusCode::UNAUTHORIZED);
    }

    #[tokio::test]
    async fn the_week_is_looked_back_on_when_it_is_written() {
        let fake = FakeShiori::start();
        let client = fake.client().await;
        let app = app(Journal { client: client.clone(), today: sunday });
        let week = Week::containing(sunday());
        for date in week.dates().take(6) {
            let quiet = |mut draft: Draft| async move {
                draft.content.push_paragraph("조용한 하루");
                draft
            };
            client.diaries().update(date, quiet).await.expect("saved");
        }
        let incomplete = json!({"status": "incomplete", "missing": ["20260412"]});
        assert_eq!(get(&app, "/week").await, incomplete);
        note(&app, "한 주의 끝").await;

        // Nothing happens to a summary until the test says so, and looking makes no second one.
        let clock = fake.summaries();
        for _ in 0..2 {
            assert_eq!(get(&app, "/week").await["status"], "queued");
        }
        let [summary] = clock.unfinished()[..] else { panic!("one summary") };
        clock.start(summary);
        assert_eq!(get(&app, "/week").await["status"], "running");
        clock.complete(summary, "조용해서 좋은 한 주였어요.");
        let done = json!({"status": "completed", "reflection": "조용해서 좋은 한 주였어요."});
        assert_eq!(get(&app, "/week").await, done);
    }
}
