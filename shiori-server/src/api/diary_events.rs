//! Hints of the changes of a user's diaries and summaries, as server-sent events.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::{Stream, stream};
use serde_json::json;
use shiori_sdk::ChangeHint;
use tokio::time::{Interval, MissedTickBehavior, interval};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::Caller,
    error::ApiError,
    openapi::errors,
    summary::{WaitSlot, wait_slot},
};
use crate::{app::App, changes::ChangeStream, metrics::WaitKind};

/// How often a stream reads its session.
const SESSION_INTERVAL: Duration = Duration::from_secs(5);

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(watch_changes))
}

errors!(ChangesErrors: ANY | AUTHENTICATED, TooManyWaits);

/// A stream of hints of changes.
///
/// There is an event for each change of the user's diaries and summaries, whichever server has made it.
/// The data of each event is an object with its `kind`:
///
/// - `resync` is the first event, and is sent again whenever hints may have been lost. Then compare the
///   versions of `GET /api/diary/versions`.
/// - `diary` has a `date`, the new `version`, and the `change`: `saved`, `archived`, `restored` or
///   `deleted`.
/// - `summary` has the `id` of a summary, and its new `status` and `revision`.
///
/// Hints may be repeated, and a later version may arrive before an earlier one. Clients must ignore
/// unknown kinds and changes. The stream ends within 5 seconds of the end of the session, and when the
/// server stops.
#[utoipa::path(
    get, path = "/api/diary/events", tag = "diary", security(("access_token" = [])),
    responses(
        (status = 200, description = "Server-sent events.", body = ChangeEvent, content_type = "text/event-stream",
         example = json!({
            "event": "diary",
            "data": json!({"kind": "diary", "date": "20260216", "version": 3, "change": "saved"}).to_string(),
         })),
        ChangesErrors,
    )
)]
async fn watch_changes(State(app): State<App>, caller: Caller) -> Result<Response, ApiError> {
    let slot = wait_slot(&app, caller, WaitKind::ChangeStream)?;
    let mut session_check = interval(SESSION_INTERVAL);
    session_check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is immediate, and the session was just read.
    session_check.reset();
    let hints = app.changes.subscribe(caller.user);
    let watch = Watch { app, caller, _slot: slot, hints, session_check };
    let events = Sse::new(watch.events()).keep_alive(KeepAlive::default());
    // Buffering proxies would delay the events.
    Ok(([("x-accel-buffering", "no"), ("cache-control", "no-store")], events).into_response())
}

/// An event of the stream.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct ChangeEvent {
    event: ChangeEventName,
    /// An object as JSON. Its `kind` is the name of the event.
    #[schema(content_media_type = "application/json")]
    data: String,
}

/// The name of an event.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is used")]
enum ChangeEventName {
    Resync,
    Diary,
    Summary,
}

/// The state of one event stream.
struct Watch {
    app: App,
    caller: Caller,
    _slot: WaitSlot,
    hints: ChangeStream,
    session_check: Interval,
}

impl Watch {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut watch| async move {
            let hint = watch.next().await?;
            let event = Event::default().event(hint.kind()).json_data(hint).ok()?;
            Some((Ok(event), watch))
        })
    }

    /// The next hint; `None` if the session has ended, or if the server stops.
    async fn next(&mut self) -> Option<ChangeHint> {
        loop {
            tokio::select! {
                biased;
                () = self.app.stopping.cancelled() => return None,
                _ = self.session_check.tick() => {
                    if !self.caller.is_signed_in(&self.app).await {
                        return None;
                    }
                }
                hint = self.hints.next() => return Some(hint),
            }
        }
    }
}
