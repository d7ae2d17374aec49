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
use crate::types::{Revision, Summary, SummaryId, UserId, limits::MAX_LONG_POLL};

/// Responds with the summary when its revision is greater than `after`, when it is final, or when
/// `wait` is over. `wait` is in real time.
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
    let wait = Duration::try_from_secs_f64(wait).ok().filter(|wait| *wait <= MAX_LONG_POLL);
    let wait = wait.ok_or_else(|| ApiError::invalid_field("wait", "0 to 30 seconds"))?;
    let deadline = Instant::now() + wait;
    let mut changes = shared.subscribe();
    loop {
        let summary = shared.state().available_summary(user, id)?;
        let is_changed = summary.revision > after || summary.status.is_final();
        if is_changed || Instant::now() >= deadline {
            return Ok(ApiResponse::ok(&summary));
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
        Ok(Self { shared, user, id, changes, last_event_id, last_sent: None, is_final: false })
    }

    /// The next event; `None` after a final status.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        while !self.is_final {
            let summary = self.shared.state().summaries.view(self.user, self.id).ok()?;
            self.is_final = summary.status.is_final();
            if let Some(name) = self.event_name(&summary) {
                let data = serde_json::to_string(&summary).ok()?;
                let event = format!("event: {name}\nid: {}\ndata: {data}\n\n", summary.revision);
                self.last_sent = Some(summary);
                return Some(event.into());
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
