//! Weekly summaries: request, wait, watch, cancel; and their reflections.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::{Stream, stream};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use shiori_sdk::{
    Date, DateRange, ErrorCode, PartialText, Reflection, Revision, Summary, SummaryAndText,
    SummaryId, SummaryReceipt, SummaryRequest, UserId, Week,
};
use tokio::join;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::{Bearer, Caller},
    error::ApiError,
    extract::{Body, IdInPath, Params, RangeInQuery},
    openapi::{Done, Optional, Success, errors},
    reply::{Message, Reply},
    trace::trace_parent,
};
use crate::{
    app::App,
    metrics::{OpenWait, WaitKind},
    slots::Slot,
    store::SessionKey,
    summary::{Known, Requested, SummaryError, View, Waiter},
};

/// The recommended polling interval for clients that do not long-poll.
const POLL_AFTER: Duration = Duration::from_secs(1);

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(request_summary))
        .routes(routes!(cancel_summary))
        .routes(routes!(watch_summary))
        .routes(routes!(get_reflection))
}

/// The long-poll route. It is separate because its timeout is longer.
pub(super) fn long_poll_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_summary))
}

type RequestResponse = Success<SummaryReceipt>;
type SummaryResponse = Success<SummaryAndText>;
type ReflectionResponse = Optional<Reflection>;

errors!(RequestSummaryErrors: ANY | AUTHENTICATED | BODY, InvalidRange, InvalidDate, WeekIncomplete, TooManySummaries, QuotaExceeded);

/// Request a week's summary.
///
/// The response does not wait for the summary. If the same week has an unfinished summary, that one
/// is returned.
#[utoipa::path(
    post, path = "/api/diary/summary", tag = "summary", security(("access_token" = [])),
    request_body(content = SummaryRequest, example = json!({"start": "20260216", "end": "20260222"})),
    responses(
        (status = 202, description = "The summary was requested.", body = RequestResponse,
         headers(
            ("Location" = String, description = "The path of the summary."),
            ("Retry-After" = u64, description = "Seconds to wait before polling."),
         ),
         example = json!({
            "code": 202, "message": "The summary was requested.",
            "data": {"id": "0197f3a2-0000-7000-8000-000000000001", "status": "queued", "poll_after_ms": 1000},
         })),
        (status = 200, description = "The summary is already completed, and no diary of the week has changed since.", body = RequestResponse,
         headers(("Location" = String, description = "The path of the summary.")),
         example = json!({
            "code": 200, "message": "The summary is already completed.",
            "data": {"id": "0197f3a2-0000-7000-8000-000000000001", "status": "completed", "poll_after_ms": 1000},
         })),
        RequestSummaryErrors,
    )
)]
async fn request_summary(
    State(app): State<App>,
    bearer: Bearer,
    headers: HeaderMap,
    body: Result<Body<SummaryRequest<String>>, ApiError>,
) -> Result<Reply<SummaryReceipt>, ApiError> {
    // An error of the body is returned only if the session is active.
    let asked = body.and_then(|Body(body)| Ok((week(&body)?, body.force)));
    let valid = asked.as_ref().ok().copied();
    let state = bearer.read(&app, async |SessionKey { user, id, now }| {
        let state = async {
            match valid {
                Some((week, force)) => app.summaries.week(user, week, force).await.map(Some),
                None => Ok(None),
            }
        };
        let (session, state) = join!(app.sessions.get(user, id, now), state);
        let Some(session) = session? else { return Ok(None) };
        Ok(Some((session, state?)))
    });
    let state = state.await?;
    asked?;
    let state = state.ok_or_else(|| ApiError::new(ErrorCode::Internal))?;
    let trace = trace_parent(&headers).map(|trace| trace.as_str().to_owned());
    let requested = app.summaries.request(state, trace).await?;
    let (id, status, accepted) = match requested {
        Requested::Accepted(id, status) => (id, status, true),
        Requested::AlreadyDone(id) => (id, shiori_sdk::SummaryStatus::Completed, false),
    };
    let receipt = SummaryReceipt {
        id,
        status,
        poll_after_ms: POLL_AFTER.as_millis().try_into().unwrap_or(0),
    };
    let location = HeaderValue::from_str(&format!("/api/diary/summary/{id}"))?;
    let reply = if accepted {
        let message =
            Message { ko: "요약을 요청했습니다.", en: "The summary was requested." };
        Reply::ok(message, receipt)
            .with_status(StatusCode::ACCEPTED)
            .with_header(header::RETRY_AFTER, HeaderValue::from(POLL_AFTER.as_secs()))
    } else {
        let message = Message {
            ko: "이미 완성된 요약이 있습니다.",
            en: "The summary is already completed.",
        };
        Reply::ok(message, receipt)
    };
    Ok(reply.with_header(header::LOCATION, location))
}

fn week(body: &SummaryRequest<String>) -> Result<Week, ApiError> {
    let date = |text: &str| -> Result<Date, ApiError> {
        text.parse().map_err(|_| ApiError::new(ErrorCode::InvalidDate))
    };
    DateRange::new(date(&body.start)?, date(&body.end)?)
        .and_then(Week::from_range)
        .map_err(|_| ApiError::new(ErrorCode::InvalidRange))
}

#[derive(Deserialize)]
struct WaitParams {
    wait: Option<f64>,
    after: Option<Revision>,
    text_after: Option<u32>,
}

errors!(GetSummaryErrors: ANY | AUTHENTICATED, NotFound, InvalidRequest, TooManyWaits);

/// A summary's current state.
///
/// With `wait`, the response is sent as soon as the revision is greater than `after`, or after that
/// time; if the session ends meanwhile, within 5 seconds of its end. With `text_after`, the response
/// has the text that a running summary has written so far, and is also sent as soon as there is a
/// later one.
#[utoipa::path(
    get, path = "/api/diary/summary/{id}", tag = "summary", security(("access_token" = [])),
    params(
        ("id" = SummaryId, Path, description = "The id of one of the caller's summaries."),
        ("wait" = Option<f64>, Query, minimum = 0, maximum = 30, description = "Seconds to wait for a change.", example = 5),
        ("after" = Option<u64>, Query, description = "The last revision that the client received.", example = 1),
        ("text_after" = Option<u64>, Query, maximum = 4_294_967_295_u64, description = "The number of the last text that the client received for this revision, 0 if none. Without it, the response has no text.", example = 0),
    ),
    responses(
        (status = 200, description = "The summary.", body = SummaryResponse,
         example = json!({"code": 200, "message": "The current state of the summary.", "data": example()})),
        GetSummaryErrors,
    )
)]
async fn get_summary(
    State(app): State<App>,
    caller: Caller,
    IdInPath(id): IdInPath<SummaryId>,
    Params(WaitParams { wait, after, text_after }): Params<WaitParams>,
) -> Result<Reply<SummaryAndText>, ApiError> {
    let wait = Duration::try_from_secs_f64(wait.unwrap_or_default())
        .ok()
        .filter(|wait| *wait <= app.limits.max_wait)
        .ok_or_else(|| ApiError::invalid_field("wait", "0 to 30 seconds"))?;
    let after = after.unwrap_or(Revision::new(0));
    if i64::try_from(after.get()).is_err() {
        return Err(ApiError::invalid_field("after", "type"));
    }
    let _slot =
        if wait.is_zero() { None } else { Some(wait_slot(&app, caller, WaitKind::LongPoll)?) };
    let is_signed_in = || caller.is_signed_in(&app);
    let known = Known { revision: after, text_number: text_after };
    let summary = app.summaries.wait(caller.user, id, known, wait, is_signed_in).await?;
    Ok(Reply::ok(
        Message {
            ko: "요약의 현재 상태입니다.", en: "The current state of the summary."
        },
        summary,
    ))
}

/// A long-poll or an event stream of a user in progress.
#[derive(Debug)]
pub(super) struct WaitSlot {
    _slot: Slot<UserId>,
    _open: OpenWait,
}

/// A slot for a long-poll or an event stream of the user.
pub(super) fn wait_slot(app: &App, caller: Caller, kind: WaitKind) -> Result<WaitSlot, ApiError> {
    let slot = app
        .waits_of_users
        .take(caller.user)
        .map_err(|_| ApiError::new(ErrorCode::TooManyWaits).with_retry_after(WAIT_RETRY_AFTER))?;
    Ok(WaitSlot { _slot: slot, _open: app.metrics.wait_opened(kind) })
}

/// `Retry-After` if too many requests of a user are waiting.
const WAIT_RETRY_AFTER: Duration = Duration::from_secs(5);

errors!(CancelErrors: ANY | AUTHENTICATED, NotFound, SummaryFinal);

/// Cancel an unfinished summary.
#[utoipa::path(
    delete, path = "/api/diary/summary/{id}", tag = "summary", security(("access_token" = [])),
    params(("id" = SummaryId, Path, description = "The id of one of the caller's summaries.")),
    responses(
        (status = 200, description = "The summary was cancelled.", body = Done,
         example = json!({"code": 200, "message": "The summary was cancelled.", "data": null})),
        CancelErrors,
    )
)]
async fn cancel_summary(
    State(app): State<App>,
    caller: Caller,
    IdInPath(id): IdInPath<SummaryId>,
) -> Result<Reply<()>, ApiError> {
    app.summaries.cancel(caller.user, id).await?;
    Ok(Reply::done(Message {
        ko: "요약을 취소했습니다.", en: "The summary was cancelled."
    }))
}

errors!(WatchErrors: ANY | AUTHENTICATED, NotFound, TooManyWaits);

/// A stream of a summary's changes.
///
/// `status` events have the revision as their id; `progress` and `text` events may follow in between.
/// The data of a `text` event is the text that the summary has written so far, at most once a second;
/// the data of the others is the summary. A `status` event with a greater revision replaces the text.
/// The stream ends after a final status, and within 5 seconds of the end of the session.
#[utoipa::path(
    get, path = "/api/diary/summary/{id}/events", tag = "summary", security(("access_token" = [])),
    params(
        ("id" = SummaryId, Path, description = "The id of one of the caller's summaries."),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that the client received; an unknown one is ignored."),
    ),
    responses(
        (status = 200, description = "Server-sent events.", body = SummaryEvent, content_type = "text/event-stream",
         examples(
            ("status" = (summary = "a status", value = json!({
                "event": "status", "id": "3", "data": example().to_string(),
            }))),
            ("text" = (summary = "the text so far", value = json!({
                "event": "text", "id": "2",
                "data": json!({"revision": 2, "number": 1, "text": "조용해서 좋은"}).to_string(),
            }))),
         )),
        WatchErrors,
    )
)]
async fn watch_summary(
    State(app): State<App>,
    caller: Caller,
    IdInPath(id): IdInPath<SummaryId>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let slot = wait_slot(&app, caller, WaitKind::SummaryStream)?;
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse().ok());
    let waiter = app.summaries.subscribe(id);
    // Checked before the stream begins, so that an unknown summary is a 404.
    app.summaries.view(caller.user, id).await?;
    let watch = Watch {
        caller,
        _slot: slot,
        id,
        waiter,
        seen: last.map(Revision::new),
        last: None,
        last_text: None,
        is_finished: false,
        app,
    };
    let events = Sse::new(watch.events()).keep_alive(KeepAlive::default());
    // Buffering proxies would delay the events.
    Ok(([("x-accel-buffering", "no"), ("cache-control", "no-store")], events).into_response())
}

/// An event of the stream.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct SummaryEvent {
    event: SummaryEventName,
    /// The revision of the summary.
    #[schema(pattern = "^[0-9]+$")]
    id: String,
    /// JSON: an object of the schema `PartialText` for a `text`, otherwise of the schema `Summary`.
    #[schema(content_media_type = "application/json")]
    data: String,
}

/// The name of an event: whether the status has changed, or only the progress or the text so far.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is used")]
enum SummaryEventName {
    Status,
    Progress,
    Text,
}

/// A completed summary, for the description of the API.
fn example() -> Value {
    json!({
        "id": "0197f3a2-0000-7000-8000-000000000001",
        "start": "20260216",
        "end": "20260222",
        "status": "completed",
        "revision": 3,
        "attempts": 1,
        "requested_at": "2026-02-23T09:00:00.000Z",
        "started_at": "2026-02-23T09:00:00.100Z",
        "finished_at": "2026-02-23T09:00:02.000Z",
        "reflection": "조용해서 좋은 한 주였어요.",
        "engine": "extractive/1",
        "emotions": [example_day()],
        "truncated": [],
        "failure": null,
        "progress": null,
    })
}

/// The emotion of a day, for the description of the API.
fn example_day() -> Value {
    json!({
        "date": "20260216",
        "label": "행복",
        "confidence": 0.7,
        "distribution": {
            "공포": 0.0, "놀람": 0.1, "분노": 0.0, "슬픔": 0.1, "중립": 0.1, "행복": 0.7, "혐오": 0.0,
        },
    })
}

/// The state of one event stream.
struct Watch {
    app: App,
    caller: Caller,
    _slot: WaitSlot,
    id: SummaryId,
    waiter: Waiter,
    /// The revision of the request's Last-Event-ID.
    seen: Option<Revision>,
    /// The summary of the last event.
    last: Option<Summary>,
    /// The revision and the number of the last text.
    last_text: Option<(Revision, u32)>,
    is_finished: bool,
}

impl Watch {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut watch| async move {
            let event = watch.next().await?;
            Some((Ok(event), watch))
        })
    }

    /// The next change; `None` after a final status, if the summary was deleted, if the session has
    /// ended, or if the server stops. The client then reconnects with its `Last-Event-ID`.
    async fn next(&mut self) -> Option<Event> {
        if self.is_finished {
            return None;
        }
        loop {
            if self.app.summaries.is_stopping() {
                return None;
            }
            match self.app.summaries.view(self.caller.user, self.id).await {
                Ok(View { summary, text_number }) => {
                    self.is_finished = summary.status.is_final();
                    let text = text_number.map(|number| (summary.revision, number));
                    if let Some(event) = self.change_event(&summary) {
                        self.last = Some(summary);
                        return Some(event);
                    }
                    if text > self.last_text
                        && let Some(event) = self.text_event(&summary).await
                    {
                        return Some(event);
                    }
                    if self.is_finished {
                        return None;
                    }
                }
                // Transient; the stream remains open and reads again.
                Err(SummaryError::Store(_)) => {}
                Err(_) => return None,
            }
            self.app.summaries.changed(&mut self.waiter).await;
            if !self.caller.is_signed_in(&self.app).await {
                return None;
            }
        }
    }

    /// The event for a changed revision or changed progress; `None` without a change.
    fn change_event(&self, summary: &Summary) -> Option<Event> {
        let known = self.last.as_ref().map(|last| last.revision).max(self.seen);
        let name = if known.is_none_or(|known| summary.revision > known) {
            "status"
        } else if self.last.as_ref().map(|last| last.progress) != Some(summary.progress)
            && summary.progress.is_some()
        {
            "progress"
        } else {
            return None;
        };
        Event::default().event(name).id(summary.revision.to_string()).json_data(summary).ok()
    }

    /// The event for a later text; `None` if the run has ended meanwhile, which is the next event, or
    /// the text cannot be read.
    async fn text_event(&mut self, summary: &Summary) -> Option<Event> {
        let text = self.app.summaries.partial_text(summary).await.ok()??;
        let PartialText { revision, number, .. } = text;
        self.last_text = Some((revision, number));
        Event::default().event("text").id(revision.to_string()).json_data(&text).ok()
    }
}

errors!(ReflectionErrors: ANY | AUTHENTICATED | RANGE);

/// The newest reflection on a week.
#[utoipa::path(
    get, path = "/api/diary/reflections", tag = "summary", security(("access_token" = [])),
    params(
        ("start" = Date, Query, description = "The first day of the week.", example = "20260216"),
        ("end" = Date, Query, description = "The last day of the week, six days after the first.", example = "20260222"),
    ),
    responses(
        (status = 200, description = "The reflection, or null if there is none.", body = ReflectionResponse,
         examples(
            ("reflection" = (summary = "a reflection", value = json!({
                "code": 200, "message": "The reflection on the week.",
                "data": {
                    "summary_id": "0197f3a2-0000-7000-8000-000000000001", "start": "20260216", "end": "20260222",
                    "reflection": "조용해서 좋은 한 주였어요.", "emotions": [example_day()], "truncated": [],
                    "generated_at": "2026-02-23T09:00:02.000Z", "stale": false, "engine": "extractive/1",
                },
            }))),
            ("none" = (summary = "no reflection", value = json!({
                "code": 200, "message": "The reflection on the week.", "data": null,
            }))),
         )),
        ReflectionErrors,
    )
)]
async fn get_reflection(
    State(app): State<App>,
    caller: Caller,
    RangeInQuery(range): RangeInQuery,
) -> Result<Reply<Option<Reflection>>, ApiError> {
    let week = Week::from_range(range).map_err(|_| ApiError::new(ErrorCode::InvalidRange))?;
    let reflection = app.summaries.reflection(caller.user, week).await?;
    Ok(Reply::ok(Message { ko: "주간 회고입니다.", en: "The reflection on the week." }, reflection))
}
