//! Events in short form, for the trace of a history that fails. It shows the texts.

use super::{
    super::{
        exchange::{Answer, Request, Seen},
        record::LocalChange,
    },
    device::{Message, Stored},
};
use crate::{merge::tests::judge::ledger::sketch, types::Document};

fn text(document: &Document) -> String {
    sketch(&document.to_value())
}

pub(super) fn change(change: &LocalChange) -> String {
    match change {
        LocalChange::Save(draft) => text(&draft.content),
        other => format!("{other:?}"),
    }
}

pub(super) fn request(request: &Request) -> String {
    match request {
        Request::Save { draft, precondition, .. } => {
            format!("{precondition:?} {}", text(&draft.content))
        }
        other => format!("{other:?}"),
    }
}

pub(super) fn message(message: &Message) -> String {
    match message {
        Message::Answer(_, Answer::Conflict(Some(diary))) => {
            format!("conflict {} {}", diary.version, text(&diary.content))
        }
        Message::Seen(Seen::Diary(diary)) => {
            format!("diary {} {}", diary.version, text(&diary.content))
        }
        Message::Answer(_, answer) => format!("{answer:?}"),
        Message::Seen(seen) => format!("{seen:?}"),
    }
}

pub(super) fn stored(stored: &Stored) -> String {
    let visible = stored.draft().map(|draft| text(&draft.content)).unwrap_or_default();
    let conflicts = stored.record.conflicts().iter();
    format!("{visible} {:?}", conflicts.map(|note| note.cause).collect::<Vec<_>>())
}
