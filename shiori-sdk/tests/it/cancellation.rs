//! Every future of the SDK is `Send`, and may be dropped at any await.

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

use crate::script::{
    SUMMARY_ID, Script, conflict, day, diary, ok, receipt, refuse, summary, tokens,
};

/// Rejects the first token of every login, conflicts now and then: the longest way for each call.
fn long_way(request: &Request, nth: usize) -> ResponseTemplate {
    let fresh = request.headers.get("authorization").is_some_and(|token| token == "Bearer second");
    match (request.method.as_str(), request.url.path()) {
        (_, "/api/auth/refresh") => tokens("second", 3600),
        (_, path) if path.starts_with("/api/diary") && !fresh => {
            refuse(401, "unauthorized", json!(null))
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

/// Polls the future `polls` times, with pauses in which the wire may answer, and drops it; whether
/// it had ended.
async fn dropped_after<F: Future>(future: F, polls: usize) -> bool {
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

async fn dropped_everywhere<F: Future + Send>(call: impl Fn(Client) -> F) {
    let script = Script::of(long_way).await;
    let client = script.client().await;
    for polls in 0..40 {
        client.auth().login("haru@example.com", "secret-pass-1").await.unwrap();
        dropped_after(call(client.clone()), polls).await;
        let usable = client.diaries().get(day()).await;
        assert!(usable.unwrap().is_some(), "dropped after {polls} polls");
    }
}

#[tokio::test]
async fn trap_12_a_dropped_call_leaves_the_client_usable() {
    let append = |mut draft: Draft| async move {
        draft.content.push_paragraph("한 줄");
        draft
    };
    let save = Precondition::IfVersion(Version::new(1));
    dropped_everywhere(|client| async move { client.diaries().get(day()).await }).await;
    dropped_everywhere(move |client| async move { client.diaries().update(day(), append).await })
        .await;
    dropped_everywhere(move |client| async move {
        client.diaries().save(day(), Draft::default(), save).on_conflict(Overwrite).await
    })
    .await;
    dropped_everywhere(|client| async move { client.auth().refresh().await }).await;
    dropped_everywhere(|client| async move {
        client.summaries().handle(SUMMARY_ID.parse().unwrap()).wait().await
    })
    .await;
    dropped_everywhere(|client| async move {
        let handle = client.summaries().handle(SUMMARY_ID.parse().unwrap());
        handle.watch().collect::<Vec<_>>().await
    })
    .await;
}

fn is_send<T: Send>(_: T) {}

/// Compiled, never run.
#[allow(dead_code)]
fn trap_10_every_future_is_send(client: &Client) {
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
