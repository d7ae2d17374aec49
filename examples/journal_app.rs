//! A web app that uses the SDK: it adds notes to the day's diary and shows the week's summary. Its
//! tests, at the end of the file, need neither a server nor a model.
//!
//! ```console
//! $ cargo run -p shiori-examples --example journal_app            # until Ctrl-C
//! $ cargo run -p shiori-examples --example journal_app -- --once  # a few requests
//! $ cargo test -p shiori-examples --example journal_app           # its tests
//! ```
#![allow(clippy::print_stdout)] // the output is the purpose of an example

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

/// The app, for one signed-in user. Tests replace `today`.
#[derive(Clone)]
struct Journal {
    client: Client,
    today: fn() -> Date,
}

fn app(journal: Journal) -> Router {
    Router::new()
        .route("/notes", get(read_notes).post(add_note))
        .route("/week", get(read_week))
        .with_state(journal)
}

/// Appends a note to today's diary. `update` retries if another device saves at the same time.
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

/// The state of the week's summary. Requests are idempotent, so the app does not have to store the
/// summary's id.
async fn read_week(State(journal): State<Journal>) -> Result<Json<Value>, Failure> {
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

/// The response to a failed SDK call.
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
        let body = |text: &str| Json(json!({ "error": text, "request_id": request_id }));
        match error.kind() {
            ErrorKind::SignedOut => {
                (StatusCode::UNAUTHORIZED, body("다시 로그인해 주세요.")).into_response()
            }
            ErrorKind::Conflict => (
                StatusCode::CONFLICT,
                body("다른 기기에서 저장 중이에요. 잠시 후 다시 시도해 주세요."),
            )
                .into_response(),
            _ if error.is_retryable() => {
                let wait = error.retry_after().map_or(1, |wait| wait.as_secs());
                let body = body("지금은 일기장에 연결할 수 없어요. 잠시 후 다시 시도해 주세요.");
                (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, wait.to_string())], body)
                    .into_response()
            }
            _ => (StatusCode::BAD_GATEWAY, body("일기장에 문제가 생겼어요.")).into_response(),
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
            let (status, _, body) = request(&app, method, path, note).await?;
            println!("{}", format!("{method} {path} {note}").trim_end());
            println!("  {} {body}", status.as_u16());
            if !status.is_success() {
                return Err("the request failed".into());
            }
        }
    } else {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        println!("curl -d '비가 와서 오래 걸었다.' http://{address}/notes");
        println!("curl http://{address}/week");
        println!("press Ctrl-C to stop");
        axum::serve(listener, app)
            .with_graceful_shutdown(async { drop(tokio::signal::ctrl_c().await) })
            .await?;
    }
    service.stop().await
}

/// Sends a request to the app without a network. Returns status, `Retry-After` and body.
async fn request(
    app: &Router,
    method: &str,
    path: &str,
    note: &'static str,
) -> shiori_examples::Result<(StatusCode, Option<String>, Value)> {
    let request = Request::builder().method(method).uri(path).body(Body::from(note))?;
    let response = app.clone().oneshot(request).await?;
    let retry_after =
        response.headers().get(RETRY_AFTER).map(|wait| wait.to_str().map(str::to_owned));
    let status = response.status();
    let body = to_bytes(response.into_body(), 1024 * 1024).await?;
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

    /// The app with the fake server, on the last day of a week.
    async fn app_with(fake: &FakeShiori) -> Router {
        app(Journal { client: fake.client().await, today: sunday })
    }

    async fn get(app: &Router, path: &str) -> Value {
        let (status, _, body) = request(app, "GET", path, "").await.expect("a response");
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    }

    async fn note(app: &Router, note: &'static str) -> (StatusCode, Option<String>, Value) {
        request(app, "POST", "/notes", note).await.expect("a response")
    }

    #[tokio::test]
    async fn a_note_is_appended_to_the_day() {
        let fake = FakeShiori::start();
        let app = app_with(&fake).await;
        assert_eq!(get(&app, "/notes").await, json!({"notes": []}));
        assert_eq!(note(&app, "하나").await.0, StatusCode::CREATED);
        assert_eq!(note(&app, "둘").await.2, json!({"notes": ["하나", "둘"]}));
        assert_eq!(get(&app, "/notes").await, json!({"notes": ["하나", "둘"]}));
    }

    #[tokio::test]
    async fn a_note_and_a_concurrent_save_are_both_kept() {
        let fake = FakeShiori::start();
        let app = app_with(&fake).await;
        note(&app, "하나").await;
        fake.inject_conflicts(1);
        let (status, _, body) = note(&app, "둘").await;
        assert_eq!(
            (status, body),
            (StatusCode::CREATED, json!({"notes": ["하나", CONFLICTING_LINE, "둘"]}))
        );
    }

    #[tokio::test]
    async fn a_note_whose_response_is_lost_is_saved_once() {
        let fake = FakeShiori::start();
        let app = app_with(&fake).await;
        fake.inject(Fault::lost_response().on(Route::Save));
        assert_eq!(note(&app, "하나").await.0, StatusCode::CREATED);
        assert_eq!(get(&app, "/notes").await, json!({"notes": ["하나"]}));
        assert_eq!(fake.count(Route::Save), 2);
    }

    #[tokio::test]
    async fn an_unavailable_server_is_a_503_with_retry_after() {
        let fake = FakeShiori::start();
        let app = app_with(&fake).await;
        // Longer than the call timeout, so that the client does not retry.
        fake.inject(Fault::status(503).on(Route::Get).with_retry_after(Duration::from_secs(120)));
        let (status, retry_after, _) = note(&app, "하나").await;
        assert_eq!(
            (status, retry_after.as_deref()),
            (StatusCode::SERVICE_UNAVAILABLE, Some("120"))
        );
        assert_eq!(note(&app, "하나").await.0, StatusCode::CREATED);

        drop(fake);
        let (status, retry_after, body) = note(&app, "둘").await;
        assert_eq!((status, retry_after.as_deref()), (StatusCode::SERVICE_UNAVAILABLE, Some("1")));
        assert!(body["request_id"].is_string(), "{body}");
    }

    #[tokio::test]
    async fn an_expired_session_is_a_401() {
        let fake = FakeShiori::start();
        let app = app_with(&fake).await;
        fake.advance(Duration::from_secs(31 * 24 * 60 * 60));
        assert_eq!(note(&app, "하나").await.0, StatusCode::UNAUTHORIZED);
    }

    #[tokio::test]
    async fn a_complete_week_is_summarised() {
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

        // The summary changes only when the test steps it, and a repeated request creates no other.
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
