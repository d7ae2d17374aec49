//! Waiting for changes of a summary: long-polls and event streams.

use std::{sync::Arc, time::Duration};

use hyper::body::Bytes;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::{
    Shared,
    request::ApiRequest,
    response::{ApiError, ApiResponse},
};
use crate::types::{
    PartialText, Revision, Summary, SummaryAndText, SummaryId, UserId, limits::MAX_LONG_POLL,
};

/// Responds with the summary when its revision is greater than `after`, when it is final, when its
/// text is later than `text_after`, or when `wait` is over. `wait` is in real time.
pub(super) async fn long_poll(
    shared: &Shared,
    request: &ApiRequest,
) -> Result<ApiResponse, ApiError> {
    let user = shared.state().user(request)?;
    let id = request.id()?;
    let wait = request.query_parameter::<f64>("wait")?.unwrap_or_default();
    let after = Revision::new(request.query_parameter("after")?.unwrap_or_default());
    if i64::try_from(after.get()).is_err() {
        return Err(ApiError::invalid_field("after", "type"));
    }
    let text_after = request.query_parameter::<u32>("text_after")?;
    let wait = Duration::try_from_secs_f64(wait).ok().filter(|wait| *wait <= MAX_LONG_POLL);
    let wait = wait.ok_or_else(|| ApiError::invalid_field("wait", "0 to 30 seconds"))?;
    let deadline = Instant::now() + wait;
    let mut changes = shared.subscribe();
    loop {
        let (summary, partial_text) = shared.state().available_text(user, id)?;
        let partial_text = text_after.and(partial_text);
        let has_text = partial_text.as_ref().is_some_and(|text| Some(text.number) > text_after);
        let is_changed = summary.revision > after || summary.status.is_final() || has_text;
        if is_changed || Instant::now() >= deadline {
            return Ok(ApiResponse::ok(&SummaryAndText { summary, partial_text }));
        }
        // After a timeout the loop reads the summary once more.
        let _ = timeout_at(deadline, changes.changed()).await;
    }
}

/// The server-sent events of a summary.
pub(super) struct EventStream {
    shared: Arc<Shared>,
    user: UserId,
    id: SummaryId,
    changes: watch::Receiver<()>,
    /// The revision in the request's `Last-Event-ID`.
    last_event_id: Option<Revision>,
    last_sent: Option<Summary>,
    last_text: Option<PartialText>,
    is_final: bool,
}

impl EventStream {
    pub(super) fn open(shared: Arc<Shared>, request: &ApiRequest) -> Result<Self, ApiError> {
        let user = shared.state().user(request)?;
        let id = request.id()?;
        let changes = shared.subscribe();
        shared.state().available_summary(user, id)?;
        let last_event_id = request.header("last-event-id").and_then(|text| text.parse().ok());
        let last_event_id = last_event_id.map(Revision::new);
        Ok(Self {
            shared,
            user,
            id,
            changes,
            last_event_id,
            last_sent: None,
            last_text: None,
            is_final: false,
        })
    }

    /// The next event; `None` after a final status.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        while !self.is_final {
            let (summary, text) = {
                let mut state = self.shared.state();
                let summary = state.summaries.view(self.user, self.id).ok()?;
                (summary, state.summaries.partial_text(self.user, self.id))
            };
            self.is_final = summary.status.is_final();
            let revision = summary.revision;
            if let Some(name) = self.event_name(&summary) {
                let data = serde_json::to_string(&summary).ok()?;
                self.last_sent = Some(summary);
                return Some(event(name, revision, &data));
            }
            if let Some(text) = text.filter(|text| self.last_text.as_ref() != Some(text)) {
                let data = serde_json::to_string(&text).ok()?;
                self.last_text = Some(text);
                return Some(event("text", revision, &data));
            }
            if !self.is_final {
                self.changes.changed().await.ok()?;
            }
        }
        None
    }

    /// The name of the event that sends this summary; `None` if nothing changed.
    fn event_name(&self, summary: &Summary) -> Option<&'static str> {
        let known = self.last_sent.as_ref().map(|sent| sent.revision).max(self.last_event_id);
        if known.is_none_or(|known| summary.revision > known) {
            return Some("status");
        }
        let sent = self.last_sent.as_ref().and_then(|sent| sent.progress);
        (summary.progress.is_some() && summary.progress != sent).then_some("progress")
    }
}

fn event(name: &str, revision: Revision, data: &str) -> Bytes {
    format!("event: {name}\nid: {revision}\ndata: {data}\n\n").into()
}
