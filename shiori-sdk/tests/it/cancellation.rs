//! Every future of the SDK is `Send` and can be cancelled at any await.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Waker},
    time::Duration,
};

use futures_util::StreamExt;
use serde_json::json;
use shiori_sdk::{Client, Draft, Overwrite, Precondition, SessionId, Version, Week};
use wiremock::{Request, ResponseTemplate};

use crate::scripted_server::{
    SUMMARY_ID, ScriptedServer, conflict, day, diary, error_response, ok, receipt, summary, tokens,
};

/// Rejects the first token of every login and returns conflicts, so that each call has many awaits.
fn longest_path(request: &Request, nth: usize) -> ResponseTemplate {
    let fresh = request.headers.get("authorization").is_some_and(|token| token == "Bearer second");
    match (request.method.as_str(), request.url.path()) {
        (_, "/api/auth/refresh") => tokens("second", 3600),
        (_, path) if path.starts_with("/api/diary") && !fresh => {
            error_response(401, "unauthorized", json!(null))
        }
        ("POST", "/api/diary/20260216") if !nth.is_multiple_of(3) => {
            conflict(nth as u64, "남의 글")
        }
        ("POST", "/api/diary/20260216") => ok(receipt(nth as u64)),
        ("GET", "/api/diary/20260216") => ok(diary(nth as u64, "글")),
        ("GET", path) if path.contains("/summary/") => ok(summary(3, "completed")),
        _ => ok(json!([])),
    }
}

/// Polls the future `polls` times, with pauses for the responses, and drops it. Returns whether it
/// was ready.
async fn poll_and_cancel<F: Future>(future: F, polls: usize) -> bool {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..polls {
        if future.as_mut().poll(&mut context).is_ready() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    false
}

async fn cancel_at_every_await<F: Future + Send>(call: impl Fn(Client) -> F) {
    let server = ScriptedServer::start(longest_path).await;
    let client = server.client().await;
    for polls in 0..40 {
        client.auth().login("haru@example.com", "secret-pass-1").await.unwrap();
        poll_and_cancel(call(client.clone()), polls).await;
        let usable = client.diaries().get(day()).await;
        assert!(usable.unwrap().is_some(), "cancelled after {polls} polls");
    }
}

#[tokio::test]
async fn the_client_stays_usable_after_a_call_is_cancelled() {
    let append = |mut draft: Draft| async move {
        draft.content.push_paragraph("한 줄");
        draft
    };
    let save = Precondition::IfVersion(Version::new(1));
    cancel_at_every_await(|client| async move { client.diaries().get(day()).await }).await;
    cancel_at_every_await(
        move |client| async move { client.diaries().update(day(), append).await },
    )
    .await;
    cancel_at_every_await(move |client| async move {
        client.diaries().save(day(), Draft::default(), save).on_conflict(Overwrite).await
    })
    .await;
    cancel_at_every_await(|client| async move { client.auth().refresh().await }).await;
    cancel_at_every_await(|client| async move {
        client.summaries().handle(SUMMARY_ID.parse().unwrap()).wait().await
    })
    .await;
    cancel_at_every_await(|client| async move {
        let handle = client.summaries().handle(SUMMARY_ID.parse().unwrap());
        handle.watch().collect::<Vec<_>>().await
    })
    .await;
}

fn is_send<T: Send>(_: T) {}

/// Compiled, never run.
#[allow(dead_code)]
fn every_future_is_send(client: &Client) {
    let (auth, diaries, summaries) = (client.auth(), client.diaries(), client.summaries());
    let (week, version) = (Week::containing(day()), Version::new(1));
    let handle = summaries.handle(SUMMARY_ID.parse().unwrap());
    is_send(auth.signup("", "", ""));
    is_send(auth.login("", ""));
    is_send(auth.refresh());
    is_send(auth.logout());
    is_send(auth.verify());
    is_send(auth.sessions());
    is_send(auth.revoke(SessionId::new()));
    is_send(diaries.get(day()));
    is_send(diaries.save(day(), Draft::default(), Precondition::IfAbsent).send());
    is_send(diaries.update(day(), async |draft: Draft| draft));
    is_send(diaries.list(week.into()));
    is_send(diaries.delete(day(), version));
    is_send(diaries.archive(day(), version, true));
    is_send(summaries.request(week));
    is_send(handle.poll());
    is_send(handle.wait());
    is_send(handle.watch());
    is_send(handle.cancel());
    is_send(client.reflections().get(week));
    is_send(client.weeks().meta(week));
}
