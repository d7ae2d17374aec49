//! One save on the wire.

use std::time::Duration;

use reqwest::StatusCode;
use serde::Serialize;
use tokio::time::Instant;

use super::{Precondition, conflict_body, path};
use crate::{
    client::Client,
    transport::{
        error::{Error, Result},
        request::Request,
    },
    types::{
        ConflictBody, Date, Diary, Document, Draft, REMEMBERED_SAVES, SaveId, SaveReceipt, Version,
    },
};

/// The body of a save: a [`SaveRequest`](crate::types::SaveRequest) that borrows the draft.
#[derive(Serialize)]
struct SaveRequestRef<'a> {
    title: &'a str,
    content: &'a Document,
    version: Option<Version>,
    save_id: SaveId,
    #[serde(skip_serializing_if = "is_false")]
    keep_replaced: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature that serde requires
fn is_false(value: &bool) -> bool {
    !value
}

/// The result of one save.
pub(crate) enum Attempt {
    Saved { receipt: SaveReceipt, is_created: bool },
    Conflict(RejectedSave),
}

/// A save that was rejected with a version conflict.
pub(crate) struct RejectedSave {
    pub(super) expected: Option<Version>,
    pub(crate) current: Option<Diary>,
    /// The time between request and response, retries included.
    pub(super) round_trip: Duration,
    /// Whether an earlier request of this save may have been applied. Another save of the same
    /// change could then apply it twice.
    pub(super) maybe_applied: bool,
    pub(super) error: Error,
}

impl RejectedSave {
    /// The number of versions between the expected and the current one.
    pub(super) fn versions_behind(&self) -> u64 {
        versions_behind(self.expected, self.current.as_ref())
    }
}

fn versions_behind(expected: Option<Version>, current: Option<&Diary>) -> u64 {
    let expected = expected.map_or(0, Version::get);
    current.map_or(1, |diary| diary.version.get().saturating_sub(expected))
}

impl Client {
    /// Sends one save. All its requests have the same id.
    pub(crate) async fn attempt_save(
        &self,
        date: Date,
        draft: &Draft,
        precondition: Precondition,
        save_id: SaveId,
        keep_replaced: bool,
    ) -> Result<Attempt> {
        let expected = precondition.version();
        let body = SaveRequestRef {
            title: &draft.title,
            content: &draft.content,
            version: expected,
            save_id,
            keep_replaced,
        };
        // Idempotent, because the server recognises the save's id.
        let request = Request::post(path(date)).idempotent().json(&body)?;
        let sent_at = Instant::now();
        let failed = match self.send(&request).await {
            Ok(response) => {
                let is_created = response.status == StatusCode::CREATED;
                return Ok(Attempt::Saved { receipt: response.data()?, is_created });
            }
            Err(failed) => failed,
        };
        let Some(ConflictBody { current }) = conflict_body(&failed) else {
            return Err(failed.into());
        };
        // The server recognises a repeated save until this many other saves have followed it.
        let is_remembered = current.is_some()
            && versions_behind(expected, current.as_ref()) <= REMEMBERED_SAVES as u64;
        Ok(Attempt::Conflict(RejectedSave {
            expected,
            current,
            round_trip: sent_at.elapsed(),
            maybe_applied: failed.maybe_applied && !is_remembered,
            error: failed.error,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::SaveRequest;

    #[test]
    fn the_body_is_a_save_request() {
        let draft = Draft::new("제목", Document::from_text("글"));
        for (version, keep_replaced) in [(None, false), (Some(Version::new(7)), true)] {
            let save_id = SaveId::new();
            let (title, content) = (draft.title.as_str(), &draft.content);
            let body = SaveRequestRef { title, content, version, save_id, keep_replaced };
            let body = serde_json::to_value(body).expect("JSON");
            let request: SaveRequest =
                serde_json::from_value(body.clone()).expect("a save request");
            assert_eq!(request.content, draft.content);
            assert_eq!((request.version, request.save_id), (version, Some(save_id)));
            assert_eq!(request.keep_replaced, keep_replaced);
            assert_eq!(serde_json::to_value(request).expect("JSON"), body);
        }
    }
}
