//! Saves with version conflicts, request by request.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use shiori_sdk::{
    Conflict, ConflictPolicy, ConflictResolver, Document, Draft, ErrorKind, FailOnConflict,
    MergeBlocks, Outcome, Overwrite, Precondition, REMEMBERED_SAVES, Resolution, Version, WasSent,
    merge::OnOverlap, resolve_with,
};

use crate::scripted_server::{DIARY, ScriptedServer, conflict, day, diary, ok, receipt};

fn ours() -> Draft {
    Draft::new("제목", Document::from_text("우리 글"))
}

#[tokio::test]
async fn the_first_retry_uses_the_conflict_and_later_ones_a_fresh_read() {
    // Three saves conflict; between the second and the third, another save is applied.
    let server = ScriptedServer::start(|request, _| match request.method.as_str() {
        "GET" => ok(diary(9, "읽은 글")),
        _ => {
            let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
            match body["version"].as_u64() {
                Some(9) => ok(receipt(10)),
                Some(5) => conflict(7, "둘째 승자"),
                _ => conflict(5, "첫 승자"),
            }
        }
    })
    .await;
    let client = server.client().await;
    let read = Precondition::IfVersion(Version::new(4));
    let save = client.diaries().save(day(), ours(), read).on_conflict(Overwrite);
    let saved = save.await.unwrap();
    assert_eq!((saved.outcome, saved.version), (Outcome::Merged, Version::new(10)));
    assert_eq!((saved.report.attempts, saved.report.conflicts), (3, 2));
    let steps: Vec<_> = server
        .requests()
        .iter()
        .map(|request| (request.method.clone(), request.body["version"].as_u64()))
        .collect();
    let (post, get) = ("POST".to_owned(), "GET".to_owned());
    assert_eq!(
        steps,
        [(post.clone(), Some(4)), (post.clone(), Some(5)), (get, None), (post, Some(9))]
    );
    let ids: std::collections::BTreeSet<_> = server
        .requests()
        .iter()
        .filter_map(|request| request.body["save_id"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(ids.len(), 1, "all rounds of one save have one id");
}

#[tokio::test]
async fn a_merge_keeps_both_texts_and_a_resolver_can_fail() {
    let server = ScriptedServer::start(|request, nth| match (request.method.as_str(), nth) {
        ("POST", 0) => conflict(1, "그들의 글"),
        _ => ok(receipt(2)),
    })
    .await;
    let client = server.client().await;
    let merge = MergeBlocks { on_overlap: OnOverlap::KeepBoth };
    let save = client.diaries().save(day(), ours(), Precondition::IfAbsent).on_conflict(merge);
    let saved = save.await.unwrap();
    let mut texts = saved.draft.content.block_texts();
    texts.sort();
    assert_eq!(texts, ["그들의 글", "우리 글"]);

    let server = ScriptedServer::start(|_, _| conflict(2, "그들의 글")).await;
    let client = server.client().await;
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    let refuse = resolve_with(move |conflict: &Conflict| {
        assert_eq!(conflict.attempt, 1);
        counted.fetch_add(1, Ordering::SeqCst);
        Resolution::Fail
    });
    let save = client.diaries().save(day(), ours(), Precondition::IfAbsent).on_conflict(refuse);
    let error = save.await.unwrap_err();
    assert_eq!(error.as_conflict().unwrap().ours, ours());
    assert_eq!((calls.load(Ordering::SeqCst), server.count(DIARY)), (1, 1));
}

#[tokio::test]
async fn the_policy_bounds_the_saves_and_the_last_conflict_is_returned() {
    let server = ScriptedServer::start(|request, _| match request.method.as_str() {
        "GET" => ok(diary(4, "읽은 글")),
        _ => conflict(5, "언제나 남이 먼저"),
    })
    .await;
    let policy = ConflictPolicy::default().with_attempts(3);
    let client = server.signed_in(server.builder().conflict_policy(policy)).await;
    let error = client.diaries().update(day(), async |_| ours()).await;
    let error = error.unwrap_err();
    assert_eq!(error.attempts(), 3);
    let conflict = error.as_conflict().unwrap();
    assert_eq!((conflict.attempt, &conflict.ours), (3, &ours()));
    let saves = server.requests().iter().filter(|request| request.method == "POST").count();
    assert_eq!(saves, 3);
}

#[tokio::test]
async fn a_writer_that_is_several_versions_behind_reads_again_first() {
    let server = ScriptedServer::start(|request, nth| match (request.method.as_str(), nth) {
        ("GET", _) => ok(diary(9, "읽은 글")),
        ("POST", 0) => conflict(7, "여럿이 먼저"),
        _ => ok(receipt(10)),
    })
    .await;
    let client = server.client().await;
    let read = Precondition::IfVersion(Version::new(4));
    let saved = client.diaries().save(day(), ours(), read).on_conflict(Overwrite).await.unwrap();
    assert_eq!(saved.report.attempts, 2);
    let methods: Vec<_> = server.requests().into_iter().map(|request| request.method).collect();
    assert_eq!(methods, ["POST", "GET", "POST"]);
}

#[tokio::test]
async fn an_entry_applies_its_changes_in_order_to_the_current_diary() {
    let absent = |_: &wiremock::Request, nth| match nth {
        0 => ok(json!({"id": null, "date": "20260216", "title": null, "content": null,
            "version": null, "is_archived": false, "updated_at": null, "emotion": null,
            "summary_status": "none"})),
        1 => conflict(1, "먼저 쓴 글"),
        _ => ok(receipt(2)),
    };
    let server = ScriptedServer::start(absent).await;
    let client = server.client().await;
    let inserted = AtomicU32::new(0);
    let saved = client
        .diaries()
        .entry(day())
        .and_modify(|draft| draft.title.push('!'))
        .or_insert_with(|| {
            inserted.fetch_add(1, Ordering::SeqCst);
            Draft::new("새 글", Document::empty())
        })
        .and_modify(|draft| draft.content.push_paragraph("한 줄"))
        .save()
        .await
        .unwrap();
    // The first attempt found no diary, the second the diary of another save.
    assert_eq!(inserted.load(Ordering::SeqCst), 1);
    assert_eq!((saved.draft.title.as_str(), saved.report.conflicts), ("제목!", 1));
    assert_eq!(saved.draft.content.block_texts(), ["먼저 쓴 글", "한 줄"]);

    let server = ScriptedServer::start(absent).await;
    let client = server.client().await;
    let modified = client.diaries().entry(day()).and_modify(|_| unreachable!()).save().await;
    assert!(modified.unwrap().is_none(), "the date has no diary and none was inserted");
    assert_eq!(server.count(DIARY), 1);
}

#[tokio::test]
async fn a_closure_is_not_run_again_if_its_result_may_have_been_saved() {
    // The first response is lost, and then more saves follow than the server recognises.
    let forgotten = REMEMBERED_SAVES as u64 + 5;
    let server = ScriptedServer::start(move |request, nth| match (request.method.as_str(), nth) {
        ("GET", _) => ok(diary(4, "글")),
        (_, 1) => wiremock::ResponseTemplate::new(504),
        _ => conflict(4 + forgotten, "다른 글"),
    })
    .await;
    let client = server.client().await;
    let runs = AtomicU32::new(0);
    let append = |mut draft: Draft| {
        runs.fetch_add(1, Ordering::SeqCst);
        draft.content.push_paragraph("한 줄");
        async { draft }
    };
    let error = client.diaries().update(day(), append).await.unwrap_err();
    assert_eq!((error.is_conflict(), error.was_sent()), (true, WasSent::Maybe));
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_deadline_also_bounds_the_requests() {
    let server =
        ScriptedServer::start(|_, _| ok(receipt(1)).set_delay(Duration::from_secs(3600))).await;
    let client = server.client().await;
    let save = client.diaries().save(day(), ours(), Precondition::IfAbsent);
    let error = save.with_deadline(Duration::from_millis(100)).await.unwrap_err();
    assert_eq!((error.kind(), error.was_sent()), (ErrorKind::Timeout, WasSent::Maybe));
}

#[tokio::test]
async fn an_update_that_changes_nothing_sends_nothing() {
    let server = ScriptedServer::start(|_, _| ok(diary(4, "그대로"))).await;
    let client = server.client().await;
    let saved = client.diaries().update(day(), |draft| async move { draft }).await.unwrap();
    assert_eq!((saved.outcome, saved.version), (Outcome::Skipped, Version::new(4)));
    assert!(server.requests().iter().all(|request| request.method == "GET"));
}

#[tokio::test]
async fn a_closure_is_not_run_again_after_a_lost_response() {
    let server = ScriptedServer::start(|request, nth| match (request.method.as_str(), nth) {
        ("GET", _) => ok(json!({"id": null, "date": "20260216", "title": null, "content": null,
            "version": null, "is_archived": false, "updated_at": null, "emotion": null,
            "summary_status": "none"})),
        (_, 1) => wiremock::ResponseTemplate::new(504),
        _ => {
            let mut receipt = receipt(1);
            receipt["replayed"] = json!(true);
            ok(receipt)
        }
    })
    .await;
    let client = server.client().await;
    let runs = Arc::new(AtomicU32::new(0));
    let counted = runs.clone();
    let append = move |mut draft: Draft| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            draft.content.push_paragraph("한 줄");
            draft
        }
    };
    let saved = client.diaries().update(day(), append).await.unwrap();
    assert_eq!(saved.outcome, Outcome::Replayed);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_closure_with_captured_state_runs_in_a_spawned_task() {
    let server = ScriptedServer::start(|request, _| match request.method.as_str() {
        "GET" => ok(diary(4, "글")),
        _ => ok(receipt(5)),
    })
    .await;
    let diaries = server.client().await.diaries();
    let (lines, mut next) = (vec!["한 줄".to_owned(), "두 줄".to_owned()], 0);
    let append = move |mut draft: Draft| {
        // The closure may change its state; its future must not borrow it.
        let line = lines[next % lines.len()].clone();
        next += 1;
        async move {
            tokio::task::yield_now().await;
            draft.content.push_paragraph(&line);
            draft
        }
    };
    let update = tokio::spawn(async move { diaries.update(day(), append).await });
    assert_eq!(update.await.unwrap().unwrap().draft.content.block_texts(), ["글", "한 줄"]);
}

#[tokio::test]
async fn debug_and_errors_show_no_diary_text() {
    let server = ScriptedServer::start(|_, _| conflict(2, "비밀 그들")).await;
    let client = server.client().await;
    let secret = Draft::new("비밀 제목", Document::from_text("비밀 우리"));
    let save = client.diaries().save(day(), secret, Precondition::IfAbsent);
    let mut shown = format!("{save:?}");
    let error = save.await.unwrap_err();
    shown += &format!("{error:?} {error} {:?} {client:?}", error.as_conflict());
    assert!(error.request_id().is_some());
    for secret in ["비밀", "cookie-first", "Bearer", "secret-pass"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

/// Never retries, and counts its calls.
struct NeverRetry(Arc<AtomicU32>);

impl ConflictResolver for NeverRetry {
    fn resolve(&self, _: &Conflict) -> Resolution {
        self.0.fetch_add(1, Ordering::SeqCst);
        Resolution::Fail
    }

    fn can_retry(&self) -> bool {
        false
    }
}

/// A conflict that is several versions behind would otherwise be followed by a pause and a read.
#[tokio::test]
async fn a_resolver_that_cannot_retry_fails_without_a_pause_or_a_read() {
    let server = ScriptedServer::start(|request, _| match request.method.as_str() {
        "GET" => ok(diary(9, "읽은 글")),
        _ => conflict(9, "여럿이 먼저"),
    })
    .await;
    let mut policy = ConflictPolicy::default().with_deadline(Duration::MAX);
    policy.min_window = Duration::MAX;
    policy.max_window = Duration::MAX;
    let client = server.signed_in(server.builder().conflict_policy(policy)).await;
    let save = || client.diaries().save(day(), ours(), Precondition::IfAbsent);
    let resolutions = Arc::new(AtomicU32::new(0));
    for save in [save(), save().on_conflict(NeverRetry(resolutions.clone()))] {
        let error = save.await.unwrap_err();
        assert_eq!(error.as_conflict().unwrap().current.as_ref().unwrap().version.get(), 9);
    }
    assert_eq!(resolutions.load(Ordering::SeqCst), 0);
    let methods: Vec<_> = server.requests().into_iter().map(|request| request.method).collect();
    assert_eq!(methods, ["POST", "POST"]);
    assert!(!FailOnConflict.can_retry() && Overwrite.can_retry());
}

/// The drafts have the same allocations at the end as at the start.
#[tokio::test]
async fn a_conflict_moves_the_drafts_and_copies_nothing() {
    let server = ScriptedServer::start(|_, nth| conflict(5 + nth as u64, "먼저 쓴 글")).await;
    let client = server.client().await;
    let (ours, base) = (ours(), Draft::new("처음 제목", Document::from_text("처음 글")));
    let addresses = [ours.title.as_ptr(), base.title.as_ptr()].map(|pointer| pointer as usize);
    let retry_once = resolve_with(|conflict: &Conflict| match conflict.attempt {
        1 => Resolution::Retry(Draft::new("새 제목", Document::empty())),
        _ => Resolution::Fail,
    });
    let read = Precondition::IfVersion(Version::new(4));
    let save = client.diaries().save(day(), ours, read).with_base(base).on_conflict(retry_once);
    let error = save.await.unwrap_err();
    assert_eq!(server.count(DIARY), 2);
    let conflict = error.as_conflict().unwrap();
    let base = conflict.base.as_ref().unwrap();
    let pointers = [conflict.ours.title.as_ptr(), base.title.as_ptr()];
    assert_eq!(pointers.map(|pointer| pointer as usize), addresses);
}

#[tokio::test]
async fn the_longest_deadlines_do_not_panic() {
    let server = ScriptedServer::start(|request, nth| match request.method.as_str() {
        "GET" => ok(diary(7, "읽은 글")),
        _ if nth.is_multiple_of(4) => conflict(5, "여럿이 먼저"),
        _ => ok(receipt(8)),
    })
    .await;
    let policy = ConflictPolicy::default().with_deadline(Duration::MAX);
    let client = server.signed_in(server.builder().conflict_policy(policy)).await;
    let save = client.diaries().save(day(), ours(), Precondition::IfAbsent).on_conflict(Overwrite);
    let saved = save.with_deadline(Duration::MAX).await.unwrap();
    assert_eq!((saved.outcome, saved.report.conflicts), (Outcome::Merged, 1));
    let append = async |mut draft: Draft| {
        draft.content.push_paragraph("한 줄");
        draft
    };
    let updated = client.diaries().update(day(), append).await.unwrap();
    assert_eq!(updated.report.conflicts, 1);
}
