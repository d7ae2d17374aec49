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
use shiori_sdk::{
    Date, DateRange, Envelope, ErrorCode, MissingDates, Reflection, Revision, Summary, SummaryId,
    SummaryReceipt, SummaryRequest, UserId, Week,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::Caller,
    error::ApiError,
    extract::{Body, IdInPath, Params, RangeInQuery},
    reply::{Message, Reply},
};
use crate::{
    app::App,
    summary::{Requested, SummaryError, Waiter},
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

/// The route that waits, apart because its time-out is longer.
pub(super) fn long_poll_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_summary))
}

/// Request a week's summary. The response never waits for a model.
#[utoipa::path(
    post, path = "/api/diary/summary", tag = "summary", security(("access_token" = [])),
    request_body = SummaryRequest,
    responses(
        (status = 202, description = "on its way", body = Envelope<SummaryReceipt>),
        (status = 200, description = "done already, and no diary has changed since", body = Envelope<SummaryReceipt>),
        (status = 400, description = "invalid_range"),
        (status = 422, description = "week_incomplete, invalid_date or invalid_request", body = Envelope<MissingDates>),
        (status = 429, description = "too_many_summaries"),
    )
)]
async fn request_summary(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    Body(body): Body<SummaryRequest<String>>,
) -> Result<Reply<SummaryReceipt>, ApiError> {
    let week = week(&body)?;
    let requested = app.summaries.request(caller.user, week, body.force, trace(&headers)).await?;
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
            Message { ko: "요약을 시작합니다.", en: "The summary is on its way." };
        Reply::ok(message, receipt)
            .with_status(StatusCode::ACCEPTED)
            .with_header(header::RETRY_AFTER, HeaderValue::from(POLL_AFTER.as_secs()))
    } else {
        let message = Message {
            ko: "이미 완성된 요약이 있습니다.",
            en: "The summary is done already.",
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

/// The `traceparent` of the request (W3C Trace Context), if it is well-formed.
fn trace(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let plain = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
    (text.len() == 55 && text.bytes().all(plain)).then(|| text.to_owned())
}

#[derive(Deserialize)]
struct WaitParams {
    wait: Option<f64>,
    after: Option<Revision>,
}

/// A summary's current state, at once or as soon as it changes.
#[utoipa::path(
    get, path = "/api/diary/summary/{id}", tag = "summary", security(("access_token" = [])),
    params(
        ("id" = SummaryId, Path),
        ("wait" = Option<f64>, Query, description = "seconds to wait for a revision past `after`, 0 to 30"),
        ("after" = Option<u64>, Query, description = "the revision that is known already"),
    ),
    responses(
        (status = 200, description = "the summary", body = Envelope<Summary>),
        (status = 404, description = "not_found"),
        (status = 422, description = "invalid_request"),
    )
)]
async fn get_summary(
    State(app): State<App>,
    caller: Caller,
    IdInPath(id): IdInPath<SummaryId>,
    Params(WaitParams { wait, after }): Params<WaitParams>,
) -> Result<Reply<Summary>, ApiError> {
    let wait = Duration::try_from_secs_f64(wait.unwrap_or_default())
        .ok()
        .filter(|wait| *wait <= app.limits.max_wait)
        .ok_or_else(|| ApiError::invalid_field("wait", "0 to 30 seconds"))?;
    let after = after.unwrap_or(Revision::new(0));
    let summary = app.summaries.wait(caller.user, id, after, wait).await?;
    Ok(Reply::ok(
        Message { ko: "요약의 현재 상태입니다.", en: "The summary as it stands." },
        summary,
    ))
}

/// Cancel an unfinished summary.
#[utoipa::path(
    delete, path = "/api/diary/summary/{id}", tag = "summary", security(("access_token" = [])),
    params(("id" = SummaryId, Path)),
    responses(
        (status = 200, description = "cancelled"),
        (status = 404, description = "not_found"),
        (status = 409, description = "summary_final"),
    )
)]
async fn cancel_summary(
    State(app): State<App>,
    caller: Caller,
    IdInPath(id): IdInPath<SummaryId>,
) -> Result<Reply<()>, ApiError> {
    app.summaries.cancel(caller.user, id).await?;
    Ok(Reply::done(Message {
        ko: "요약을 취소했습니다.", en: "The summary is cancelled."
    }))
}

/// A summary's changes as they happen: `status` events with a revision as their id, and `progress`
/// events in between. The stream ends after a final status.
#[utoipa::path(
    get, path = "/api/diary/summary/{id}/events", tag = "summary", security(("access_token" = [])),
    params(("id" = SummaryId, Path), ("Last-Event-ID" = Option<u64>, Header)),
    responses(
        (status = 200, description = "server-sent events; each one's data is the summary", body = Summary, content_type = "text/event-stream"),
        (status = 404, description = "not_found"),
    )
)]
async fn watch_summary(
    State(app): State<App>,
    caller: Caller,
    IdInPath(id): IdInPath<SummaryId>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse().ok());
    let waiter = app.summaries.subscribe(id);
    // Before the stream begins, so that a missing summary is a 404.
    app.summaries.view(caller.user, id).await?;
    let watch = Watch {
        user: caller.user,
        id,
        waiter,
        seen: last.map(Revision::new),
        last: None,
        is_finished: false,
        app,
    };
    let events = Sse::new(watch.events()).keep_alive(KeepAlive::default());
    // Buffering proxies would delay the events.
    Ok(([("x-accel-buffering", "no"), ("cache-control", "no-store")], events).into_response())
}

/// The state of one event stream.
struct Watch {
    app: App,
    user: UserId,
    id: SummaryId,
    waiter: Waiter,
    /// The revision of the request's Last-Event-ID.
    seen: Option<Revision>,
    /// The summary of the last event.
    last: Option<Summary>,
    is_finished: bool,
}

impl Watch {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut watch| async move {
            let event = watch.next().await?;
            Some((Ok(event), watch))
        })
    }

    /// The next change; `None` after a final one, when the summary is gone, or when the server
    /// stops. The client then reconnects with its Last-Event-ID.
    async fn next(&mut self) -> Option<Event> {
        if self.is_finished {
            return None;
        }
        loop {
            if self.app.summaries.is_stopping() {
                return None;
            }
            match self.app.summaries.view(self.user, self.id).await {
                Ok(summary) => {
                    self.is_finished = summary.status.is_final();
                    if let Some(event) = self.change_event(summary) {
                        return Some(event);
                    }
                    if self.is_finished {
                        return None;
                    }
                }
                // Transient; the stream stays open and reads again.
                Err(SummaryError::Store(_)) => {}
                Err(_) => return None,
            }
            self.app.summaries.changed(&mut self.waiter).await;
        }
    }

    /// The event for a changed revision or changed progress; `None` without a change.
    fn change_event(&mut self, summary: Summary) -> Option<Event> {
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
        let event = Event::default().event(name).id(summary.revision.to_string());
        let event = event.json_data(&summary).ok();
        self.last = Some(summary);
        event
    }
}

/// The newest reflection on a week, or null.
#[utoipa::path(
    get, path = "/api/diary/reflections", tag = "summary", security(("access_token" = [])),
    params(("start" = Date, Query), ("end" = Date, Query)),
    responses(
        (status = 200, description = "the reflection, or null", body = Envelope<Reflection>),
        (status = 400, description = "invalid_range"),
        (status = 422, description = "invalid_date or invalid_request"),
    )
)]
async fn get_reflection(
    State(app): State<App>,
    caller: Caller,
    RangeInQuery(range): RangeInQuery,
) -> Result<Reply<Option<Reflection>>, ApiError> {
    let week = Week::from_range(range).map_err(|_| ApiError::new(ErrorCode::InvalidRange))?;
    let reflection = app.summaries.reflection(caller.user, week).await?;
    Ok(Reply::ok(Message { ko: "주간 성찰입니다.", en: "The reflection on the week." }, reflection))
}
