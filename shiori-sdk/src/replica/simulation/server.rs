//! A model of the server: what it does with the requests for one date.

use std::collections::{BTreeSet, VecDeque};

use super::{
    super::{
        exchange::{Answer, Request, Seen},
        record::Rejection,
    },
    ledger::Known,
};
use crate::types::{
    Date, DateVersion, Diary, DiaryId, Draft, ErrorCode, REMEMBERED_SAVES, SaveId, SaveReceipt,
    Timestamp, Version,
};

pub(super) struct Server {
    version: Version,
    live: Option<(Draft, bool)>,
    saves: VecDeque<(SaveId, Version)>,
    /// What is known of the words of the current text.
    pub(super) known: Known,
    /// The largest document that it accepts.
    pub(super) max_bytes: usize,
    /// The saves that it has applied, by the number that the simulation gave them.
    applied: BTreeSet<u64>,
    /// The saves whose ids it has forgotten.
    forgotten: BTreeSet<SaveId>,
}

/// A request as a device sends it.
#[derive(Clone)]
pub(super) struct Envelope {
    pub(super) request: Request,
    /// Numbers the changes that devices send, whatever the ids of their requests.
    pub(super) number: u64,
    pub(super) known: Known,
}

impl Server {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            version: Version::new(0),
            live: None,
            saves: VecDeque::new(),
            known: Known::default(),
            max_bytes,
            applied: BTreeSet::new(),
            forgotten: BTreeSet::new(),
        }
    }

    /// Handles a request. An error if it applies one save twice.
    pub(super) fn handle(&mut self, envelope: &Envelope) -> Result<Answer, String> {
        Ok(match &envelope.request {
            Request::Save { draft, precondition, save_id } => {
                if draft.content.as_json().len() > self.max_bytes {
                    let code = ErrorCode::DocumentTooLarge;
                    return Ok(Answer::Rejected(Rejection { code }));
                }
                if let Some((_, version)) = self.saves.iter().find(|(id, _)| id == save_id) {
                    return Ok(saved(*version, true));
                }
                if *precondition != self.current_version().into() {
                    return Ok(Answer::Conflict(self.diary()));
                }
                let is_again = !self.applied.insert(envelope.number);
                if is_again && !self.forgotten.contains(save_id) {
                    return Err("a save was applied twice".to_owned());
                }
                self.save(*save_id, draft.clone(), envelope.known.clone());
                if is_again {
                    // To a date without a diary. The device lists it.
                    self.known.excuse_all();
                }
                saved(self.version, false)
            }
            Request::Delete { version } if self.current_version() == Some(*version) => {
                self.version = self.version.next();
                self.live = None;
                self.known = envelope.known.clone();
                Answer::Deleted
            }
            Request::Archive { version, archived } if self.current_version() == Some(*version) => {
                self.version = self.version.next();
                if let Some((_, is_archived)) = &mut self.live {
                    *is_archived = *archived;
                }
                Answer::Archived(self.version)
            }
            Request::Delete { .. } | Request::Archive { .. } => Answer::Conflict(self.diary()),
        })
    }

    /// As many saves of another program that the server forgets all earlier ones.
    pub(super) fn forget_saves(&mut self, mut next_id: impl FnMut() -> SaveId) {
        for _ in 0..=REMEMBERED_SAVES {
            if let Some((draft, _)) = self.live.clone() {
                let known = self.known.clone();
                self.save(next_id(), draft, known);
            }
        }
    }

    pub(super) fn save(&mut self, id: SaveId, draft: Draft, mut known: Known) {
        // A device that has not seen a deleted diary does not know that its words were removed.
        known.join(&self.known);
        self.version = self.version.next();
        let is_archived = self.live.as_ref().is_some_and(|(_, is_archived)| *is_archived);
        self.live = Some((draft, is_archived));
        self.known = known;
        self.saves.push_back((id, self.version));
        if self.saves.len() > REMEMBERED_SAVES {
            self.forgotten.extend(self.saves.pop_front().map(|(id, _)| id));
        }
    }

    fn current_version(&self) -> Option<Version> {
        self.live.as_ref().map(|_| self.version)
    }

    pub(super) fn diary(&self) -> Option<Diary> {
        let (draft, is_archived) = self.live.as_ref()?;
        Some(Diary {
            id: DiaryId::from_bytes([0; 16]),
            date: date(),
            title: draft.title.clone(),
            content: draft.content.clone(),
            version: self.version,
            is_archived: *is_archived,
            updated_at: Timestamp::UNIX_EPOCH,
            emotion: None,
            summary_status: None,
            etag: None,
        })
    }

    pub(super) fn seen(&self) -> Seen {
        self.diary().map_or(Seen::Deleted(self.version), Seen::Diary)
    }

    pub(super) fn listed(&self) -> Option<DateVersion> {
        (self.version > Version::new(0)).then(|| DateVersion {
            date: date(),
            version: self.version,
            is_archived: self.live.as_ref().is_some_and(|(_, is_archived)| *is_archived),
            is_deleted: self.live.is_none(),
        })
    }
}

fn saved(version: Version, replayed: bool) -> Answer {
    let (id, updated_at) = (DiaryId::from_bytes([0; 16]), Timestamp::UNIX_EPOCH);
    Answer::Saved(SaveReceipt { id, version, updated_at, replayed })
}

fn date() -> Date {
    Date::new(2026, 2, 16).expect("a date")
}
