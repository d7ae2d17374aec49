//! The event stream of a user's changes.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use hyper::body::Bytes;
use tokio::sync::watch;

use super::{Shared, request::ApiRequest, response::ApiError};
use crate::types::{
    ChangeHint, Date, DateVersion, DiaryChange, DiaryHint, Revision, SummaryHint, SummaryId, UserId,
};

/// The server-sent events of a user's changes.
pub(super) struct ChangeStream {
    shared: Arc<Shared>,
    user: UserId,
    changes: watch::Receiver<()>,
    /// The versions of which the client has received hints, or which were there before.
    diaries: BTreeMap<Date, DateVersion>,
    summaries: HashMap<SummaryId, Revision>,
    ready: VecDeque<ChangeHint>,
}

impl ChangeStream {
    pub(super) fn open(shared: Arc<Shared>, request: &ApiRequest) -> Result<Self, ApiError> {
        let user = shared.state().user(request)?;
        let changes = shared.subscribe();
        let (diaries, summaries) = (BTreeMap::new(), HashMap::new());
        let mut stream = Self { shared, user, changes, diaries, summaries, ready: VecDeque::new() };
        stream.look();
        // The first event replaces the hints of everything that is there.
        stream.ready = [ChangeHint::Resync].into();
        Ok(stream)
    }

    /// The next event.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(hint) = self.ready.pop_front() {
                let data = serde_json::to_string(&hint).ok()?;
                return Some(format!("event: {}\ndata: {data}\n\n", hint.kind()).into());
            }
            self.changes.changed().await.ok()?;
            self.look();
        }
    }

    /// Compares the state with what is known.
    fn look(&mut self) {
        let state = self.shared.state();
        for current in state.diaries.date_versions(self.user) {
            let before = self.diaries.insert(current.date, current);
            if before.is_some_and(|before| before.version == current.version) {
                continue;
            }
            let was_archived = before.is_some_and(|before| before.is_archived);
            let change = match (current.is_deleted, was_archived, current.is_archived) {
                (true, ..) => DiaryChange::Deleted,
                (false, false, true) => DiaryChange::Archived,
                (false, true, false) => DiaryChange::Restored,
                (false, ..) => DiaryChange::Saved,
            };
            let DateVersion { date, version, .. } = current;
            self.ready.push_back(ChangeHint::Diary(DiaryHint { date, version, change }));
        }
        for SummaryHint { id, status, revision } in state.summaries.hints(self.user) {
            if self.summaries.insert(id, revision) != Some(revision) {
                let hint = SummaryHint { id, status, revision };
                self.ready.push_back(ChangeHint::Summary(hint));
            }
        }
    }
}
