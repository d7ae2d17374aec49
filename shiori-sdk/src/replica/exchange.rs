//! The steps of an exchange with the server.

use super::{
    note::ConflictCause,
    record::{Action, Head, Live, Record, Rejection, Sent, Text},
};
use crate::{
    diary::Precondition,
    types::{DateVersion, Diary, Draft, REMEMBERED_SAVES, SaveId, SaveReceipt, Title, Version},
};

/// What to do next for a date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Need {
    /// Send the request of [`Record::begin`].
    Send,
    /// Read the diary, and pass it to [`Record::learn`].
    Read,
    /// Pass to [`Record::learn`] that the diary was deleted. This needs no request.
    LearnDeletion(Version),
}

/// A request to the server.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Request {
    Save { draft: Draft, precondition: Precondition, save_id: SaveId },
    Delete { version: Version },
    Archive { version: Version, archived: bool },
}

/// The result of a request. A request without a response has none.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Saved(SaveReceipt),
    Deleted,
    /// The new version.
    Archived(Version),
    /// The server has another version: this diary, or none. The latter is also the answer to a
    /// deletion or an archiving if there is no diary.
    Conflict(Option<Diary>),
    /// Repeating the request cannot succeed.
    Rejected(Rejection),
}

/// What the server has.
#[derive(Debug, Clone)]
pub(crate) enum Seen {
    Diary(Diary),
    /// The date has no diary since this version.
    Deleted(Version),
}

impl Record {
    /// What to do next, given the date's newest version that the server has listed, if it has.
    pub(crate) fn next(&self, listed: Option<DateVersion>) -> Option<Need> {
        if self.sent.is_some() {
            return Some(Need::Send);
        }
        let version = self.head.as_ref().map(|head| head.version);
        if let Some(listed) = listed
            && Some(listed.version) > version
        {
            return Some(if listed.is_deleted {
                Need::LearnDeletion(listed.version)
            } else {
                Need::Read
            });
        }
        // The base of the draft may be the content that was dropped.
        if self.lacks_content() && matches!(self.pending.text, Some(Text::Draft(_))) {
            return Some(Need::Read);
        }
        (self.rejection.is_none() && self.action().is_some()).then_some(Need::Send)
    }

    /// The request to send. The returned record must be stored first. `save_id` must be new; it is not
    /// used if an earlier request has no answer, because that one is repeated. `None` if there is
    /// nothing to send.
    pub(crate) fn begin(mut self, save_id: SaveId) -> Option<(Self, Request)> {
        let sent = match self.sent.take() {
            Some(sent) => Sent { is_repeated: true, ..sent },
            None => Sent {
                id: save_id,
                expected: self.live().and(self.head.as_ref()).map(|head| head.version),
                action: self.action()?,
                is_repeated: false,
            },
        };
        let request = sent.request();
        self.sent = Some(sent);
        Some((self, request))
    }

    /// The id of the request without an answer.
    pub(crate) fn sent_id(&self) -> Option<SaveId> {
        self.sent.as_ref().map(|sent| sent.id)
    }

    /// Takes the answer to the request with this id. Late answers to other requests have no effect.
    pub(crate) fn settle(mut self, id: SaveId, answer: Answer) -> Self {
        let Some(sent) = self.sent.take_if(|sent| sent.id == id) else { return self };
        // The version of a deletion is not known: this one, or a later one.
        let after_expected = sent.expected.map_or(self.known_version(), Version::next);
        match (sent.action, answer) {
            (Action::Save(draft), Answer::Saved(receipt)) => {
                // An earlier request may have been applied, and its text deleted.
                if sent.is_repeated && !receipt.replayed && self.is_forgotten(receipt.version) {
                    let (version, draft) = (receipt.version, draft.clone());
                    self.note(ConflictCause::Uncertain, version, Some(draft), None);
                }
                let is_archived = self.is_archived_on_server();
                let SaveReceipt { id, version, updated_at, .. } = receipt;
                let live = Some(Live { id, updated_at, is_archived });
                let Draft { title, content } = draft;
                let (title, content) = (Title(title), Some(content));
                self.head = Some(Head { version, live, title, content });
            }
            // A draft that is pending now was written after the deletion, so it has no base.
            (Action::Delete, Answer::Deleted | Answer::Conflict(None)) => {
                self.head = Some(Head::deleted(after_expected));
                self.pending.text.take_if(|text| *text == Text::Deleted);
            }
            (Action::Archive(is_archived), Answer::Archived(version)) => {
                if let Some(Head { version: known, live: Some(live), .. }) = &mut self.head {
                    (*known, live.is_archived) = (version, is_archived);
                }
            }
            (action, Answer::Conflict(Some(current))) => {
                let has_draft = matches!(self.pending.text, Some(Text::Draft(_)));
                match action {
                    Action::Save(draft)
                        if has_draft && sent.is_repeated && self.is_forgotten(current.version) =>
                    {
                        self.receive_uncertain(current, draft);
                    }
                    // It may have been applied, and the diary written again. Then a draft that was
                    // written after it has no base.
                    Action::Delete
                        if has_draft && sent.is_repeated && current.version > after_expected =>
                    {
                        self.head = Some(Head::deleted(after_expected));
                        self.receive(current, true);
                    }
                    _ => self.receive(current, false),
                }
            }
            (_, Answer::Conflict(None)) => self.remove(after_expected),
            // A change that was made meanwhile is sent.
            (action, Answer::Rejected(rejection)) => {
                self.rejection = (self.action() == Some(action)).then_some(rejection);
            }
            // An answer to another kind of request is none.
            (action, Answer::Saved(_) | Answer::Deleted | Answer::Archived(_)) => {
                self.sent = Some(Sent { action, ..sent });
            }
        }
        self.tidied()
    }

    /// Takes what the server has. While a request has no answer, this has no effect, and neither has
    /// an older version than the known one.
    pub(crate) fn learn(mut self, seen: Seen) -> Self {
        if self.sent.is_some() {
            return self;
        }
        let known = self.head.as_ref().map(|head| head.version);
        match seen {
            Seen::Diary(diary) if Some(diary.version) > known => self.receive(diary, false),
            // The content that was dropped.
            Seen::Diary(diary) if Some(diary.version) == known && self.live().is_some() => {
                self.head = Some(Head::live(diary));
            }
            Seen::Deleted(version) if Some(version) > known => self.remove(version),
            Seen::Diary(_) | Seen::Deleted(_) => return self,
        }
        self.tidied()
    }

    /// What the next request does.
    fn action(&self) -> Option<Action> {
        match &self.pending.text {
            Some(Text::Draft(draft)) => Some(Action::Save(draft.clone())),
            Some(Text::Deleted) => Some(Action::Delete),
            None => self.pending.archived.map(Action::Archive),
        }
    }

    fn known_version(&self) -> Version {
        self.head.as_ref().map_or(Version::new(0), |head| head.version)
    }

    /// Whether the server may have forgotten a save over the head, given its current version.
    fn is_forgotten(&self, current: Version) -> bool {
        let later = current.get().saturating_sub(self.known_version().get());
        later > REMEMBERED_SAVES as u64
    }
}

impl Sent {
    fn request(&self) -> Request {
        // Deletions and archivings have an expected version: they are only pending over a live head.
        let version = self.expected.unwrap_or(Version::new(0));
        match &self.action {
            Action::Save(draft) => Request::Save {
                draft: draft.clone(),
                precondition: self.expected.into(),
                save_id: self.id,
            },
            Action::Delete => Request::Delete { version },
            Action::Archive(archived) => Request::Archive { version, archived: *archived },
        }
    }
}
