//! One device: what it stores, and what it has in memory.

use std::rc::Rc;

use serde_json::Value;

use super::{
    super::{
        exchange::{Answer, Seen},
        record::Record,
    },
    ledger::{Counts, Known, Ledger},
};
use crate::{
    merge::tests::judge::writer::Writer,
    types::{DateVersion, Document, Draft, SaveId},
};

pub(super) struct Device {
    pub(super) stored: Stored,
    pub(super) memory: Memory,
    pub(super) writer: Writer,
    pub(super) is_online: bool,
}

/// What survives a crash.
#[derive(Clone, Default)]
pub(super) struct Stored {
    pub(super) record: Record,
    /// What is known of the words of the visible text.
    pub(super) known: Known,
    /// The number of the request without an answer, and what was known of its text.
    pub(super) sent: Option<(u64, Known)>,
}

/// What a crash loses.
#[derive(Default)]
pub(super) struct Memory {
    /// Answers on their way, in any order.
    pub(super) inbox: Vec<(Message, Known)>,
    /// The versions that were listed last, and what was known of that text.
    pub(super) listed: Option<(DateVersion, Known)>,
    /// A text that the user saw before, to return to.
    pub(super) earlier: Option<Draft>,
}

#[derive(Clone)]
pub(super) enum Message {
    Answer(SaveId, Answer),
    Seen(Seen),
}

impl Stored {
    /// The words that the user sees; `None` if the content is not stored.
    pub(super) fn counts(&self, ledger: &mut Ledger) -> Option<Rc<Counts>> {
        match self.record.view() {
            None => Some(Rc::default()),
            Some(_) => self.draft().map(|draft| ledger.counts(&draft)),
        }
    }

    /// The number of conflicts that were listed so far, unless all are acknowledged.
    pub(super) fn last_note(&self) -> u64 {
        self.record.conflicts().last().map_or(0, |note| note.number)
    }

    pub(super) fn draft(&self) -> Option<Draft> {
        let view = self.record.view()?;
        Some(Draft::new(view.title, view.content?.clone()))
    }
}

impl Device {
    /// Stops and starts again with what is stored.
    pub(super) fn restart(&mut self) {
        let json = serde_json::to_string(&self.stored.record).expect("JSON");
        self.stored.record = serde_json::from_str(&json).expect("a record");
        self.memory = Memory::default();
    }

    /// The next text that the user writes.
    pub(super) fn next_draft(&mut self) -> Draft {
        let (title, mut doc) = match self.stored.draft() {
            Some(draft) => (draft.title, draft.content.to_value()),
            None => (String::new(), self.new_document()),
        };
        let title = if self.writer.random.one_in(12) { self.writer.word() } else { title };
        for _ in 0..=self.writer.random.below(2) {
            self.writer.edit(&mut doc);
        }
        Draft::new(title, Document::from_value(&doc).expect("a document"))
    }

    fn new_document(&mut self) -> Value {
        if self.writer.random.one_in(8) {
            self.writer.document()
        } else {
            let blocks = (0..=self.writer.random.below(2)).map(|_| self.writer.paragraph());
            serde_json::json!({"type": "doc", "content": blocks.collect::<Vec<_>>()})
        }
    }
}
