//! The steps that the simulation calls, and faulty versions of them that it must find.

use super::super::{
    exchange::{Answer, Request, Seen},
    record::{Head, LocalChange, Pending, Record},
};
use crate::types::SaveId;

/// The steps of a record. The defaults are those of the SDK.
pub(super) trait Steps {
    fn write(&self, record: Record, change: LocalChange) -> Record {
        record.write(change)
    }

    fn begin(&self, record: Record, id: SaveId) -> Option<(Record, Request)> {
        record.begin(id)
    }

    fn settle(&self, record: Record, id: SaveId, answer: Answer) -> Record {
        record.settle(id, answer)
    }

    fn learn(&self, record: Record, seen: Seen) -> Record {
        record.learn(seen)
    }
}

pub(super) struct Correct;

impl Steps for Correct {}

/// A merge does not store what it was merged with as the next base.
pub(super) struct ForgottenBase;

fn with_old_base(before: &Record, mut after: Record) -> Record {
    let old = before.head.as_ref().and_then(|head| head.content.clone());
    if let (Some(Head { content, .. }), Some(old), Some(_)) =
        (&mut after.head, old, &after.pending.text)
    {
        *content = Some(old);
    }
    after
}

impl Steps for ForgottenBase {
    fn settle(&self, record: Record, id: SaveId, answer: Answer) -> Record {
        let is_merge = matches!(answer, Answer::Conflict(_));
        let after = record.clone().settle(id, answer);
        if is_merge { with_old_base(&record, after) } else { after }
    }

    fn learn(&self, record: Record, seen: Seen) -> Record {
        let after = record.clone().learn(seen);
        with_old_base(&record, after)
    }
}

/// Each attempt of a save has another id.
pub(super) struct NewIdPerAttempt;

impl Steps for NewIdPerAttempt {
    fn begin(&self, record: Record, id: SaveId) -> Option<(Record, Request)> {
        let (mut record, mut request) = record.begin(id)?;
        if let Some(sent) = &mut record.sent {
            sent.id = id;
        }
        if let Request::Save { save_id, .. } = &mut request {
            *save_id = id;
        }
        Some((record, request))
    }
}

/// A change is no longer pending when its request is sent.
pub(super) struct ClearedOutbox;

impl Steps for ClearedOutbox {
    fn begin(&self, record: Record, id: SaveId) -> Option<(Record, Request)> {
        let (mut record, request) = record.begin(id)?;
        (record.pending, record.sent) = (Pending::default(), None);
        Some((record, request))
    }
}

/// A repeated request is taken for the first one, so a save that the server has forgotten is not
/// listed.
pub(super) struct NeverRepeated;

impl Steps for NeverRepeated {
    fn begin(&self, record: Record, id: SaveId) -> Option<(Record, Request)> {
        let (mut record, request) = record.begin(id)?;
        if let Some(sent) = &mut record.sent {
            sent.is_repeated = false;
        }
        Some((record, request))
    }
}

/// A deletion by another device drops the pending draft.
pub(super) struct DeletionWins;

impl Steps for DeletionWins {
    fn learn(&self, record: Record, seen: Seen) -> Record {
        let is_deletion = matches!(seen, Seen::Deleted(_));
        let mut record = record.learn(seen);
        if is_deletion && record.sent.is_none() {
            record.pending = Pending::default();
        }
        record
    }
}

/// A text that equals the head is not pending, although an earlier one was sent.
pub(super) struct UndoneWhileSent;

impl Steps for UndoneWhileSent {
    fn write(&self, record: Record, change: LocalChange) -> Record {
        let mut record = record.write(change);
        let sent = record.sent.take();
        let mut record = record.tidied();
        record.sent = sent;
        record
    }
}

/// Conflicts are merged, but not listed.
pub(super) struct UnlistedConflicts;

impl Steps for UnlistedConflicts {
    fn settle(&self, record: Record, id: SaveId, answer: Answer) -> Record {
        record.settle(id, answer).acknowledge(u64::MAX)
    }

    fn learn(&self, record: Record, seen: Seen) -> Record {
        record.learn(seen).acknowledge(u64::MAX)
    }
}
