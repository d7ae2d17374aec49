use std::{fmt, sync::Arc};

use super::{Shared, state::State};
use crate::types::{Date, Emotion, FailureKind, Progress, SummaryId};

/// Steps summaries in place of a worker. Created by
/// [`FakeShiori::summaries`](super::FakeShiori::summaries).
///
/// Each step returns whether it was applied. A summary with a final status rejects every step.
#[derive(Clone)]
pub struct SummaryClock {
    shared: Arc<Shared>,
}

impl SummaryClock {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The unfinished summaries, in the order of their requests.
    pub fn unfinished(&self) -> Vec<SummaryId> {
        self.shared.state().summaries.unfinished()
    }

    /// From queued to running: a worker claims the summary and reads the current diaries. If one
    /// was deleted since the request, the summary fails.
    pub fn start(&self, id: SummaryId) -> bool {
        self.step(|state| state.summaries.start(id, &state.diaries, state.now))
    }

    /// Sets the progress of a running summary. It does not change the revision: event streams send
    /// it, and long-polls keep waiting.
    pub fn progress(&self, id: SummaryId, progress: Progress) -> bool {
        self.step(|state| state.summaries.set_progress(id, progress))
    }

    /// Sets the text that a running summary has written so far. It does not change the revision:
    /// event streams send it, and so do long-polls that request it. It is discarded when the run
    /// ends.
    pub fn write(&self, id: SummaryId, text: impl Into<String>) -> bool {
        let text = text.into();
        self.step(|state| state.summaries.write(id, text))
    }

    /// To completed, with this text and the emotion neutral for every day. A queued summary is
    /// started first.
    pub fn complete(&self, id: SummaryId, reflection: impl Into<String>) -> bool {
        self.complete_with(id, reflection, |_| Emotion::Neutral)
    }

    /// To completed, with this text and the emotion that the closure returns for each day. A queued
    /// summary is started first.
    pub fn complete_with(
        &self,
        id: SummaryId,
        reflection: impl Into<String>,
        emotion: impl Fn(Date) -> Emotion,
    ) -> bool {
        let text = reflection.into();
        self.step(|state| state.summaries.complete(id, text, emotion, &state.diaries, state.now))
    }

    /// Completes all unfinished summaries with this text; returns their number.
    pub fn complete_all(&self, reflection: &str) -> usize {
        self.unfinished().into_iter().filter(|id| self.complete(*id, reflection)).count()
    }

    /// Completes every later summary with this text as soon as it is requested.
    pub fn auto_complete(&self, reflection: impl Into<String>) {
        self.shared.state().summaries.auto_complete = Some(reflection.into());
    }

    /// To failed, without a retry. A queued summary is started first.
    pub fn fail(&self, id: SummaryId, kind: FailureKind) -> bool {
        self.step(|state| state.summaries.fail(id, kind, &state.diaries, state.now))
    }

    /// From running back to queued: the attempt failed and is retried.
    pub fn requeue(&self, id: SummaryId, kind: FailureKind) -> bool {
        self.step(|state| state.summaries.requeue(id, kind))
    }

    /// While `unavailable`, requests for summaries and reflections fail with 503, and diaries have
    /// no [`summary_status`](crate::Diary::summary_status), `emotion` or `etag`, as when the server
    /// cannot reach its store of summaries. Diaries can still be read and saved, and steps are
    /// still applied.
    pub fn set_unavailable(&self, unavailable: bool) {
        self.shared.state().summaries.are_unavailable = unavailable;
    }

    fn step(&self, step: impl FnOnce(&mut State) -> bool) -> bool {
        let is_applied = step(&mut self.shared.state());
        self.shared.notify_changed();
        is_applied
    }
}

impl fmt::Debug for SummaryClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SummaryClock").field("unfinished", &self.unfinished()).finish()
    }
}
