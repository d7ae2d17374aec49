//! All that a replica stores of one date, and the steps that need no network.

use serde::{Deserialize, Serialize};

use super::note::{ConflictNote, Notes};
use crate::types::{Diary, DiaryId, Document, Draft, ErrorCode, SaveId, Timestamp, Title, Version};

/// One date of a replica. It is stored as JSON, because documents keep their JSON byte for byte.
///
/// What a user sees is the pending change, if there is one, or else the head.
///
/// `Debug` shows no text.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// What the server has, as far as it is known; `None` if the date was never seen to have a diary.
    pub(super) head: Option<Head>,
    pub(super) pending: Pending,
    /// The request whose result is not known.
    pub(super) sent: Option<Sent>,
    pub(super) notes: Notes,
    pub(super) rejection: Option<Rejection>,
}

/// A version of the server's diary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Head {
    /// Of a deleted diary, the version of the deletion or an earlier one: a response that states that
    /// a diary was deleted has no version.
    pub(super) version: Version,
    /// `None` if the diary was deleted.
    pub(super) live: Option<Live>,
    pub(super) title: Title,
    /// `None` if it was dropped. Of a deleted diary, this and the title are the last text that is
    /// known, as long as a draft that was made from it is pending.
    pub(super) content: Option<Document>,
}

/// What the server has of a diary, besides its text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Live {
    pub(super) id: DiaryId,
    pub(super) updated_at: Timestamp,
    pub(super) is_archived: bool,
}

/// The local changes of the head.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) text: Option<Text>,
    pub(super) archived: Option<bool>,
}

/// A changed text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Text {
    Draft(Draft),
    Deleted,
}

/// A request, stored before it is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Sent {
    /// Also identifies requests other than saves, so that a late response is not taken for that of
    /// another request.
    pub(super) id: SaveId,
    /// The version that it replaces; `None` if the date had no diary.
    pub(super) expected: Option<Version>,
    pub(super) action: Action,
    /// Whether it may have been sent before.
    pub(super) is_repeated: bool,
}

/// What a request does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Action {
    Save(Draft),
    Delete,
    Archive(bool),
}

/// A save, deletion or archiving that the server rejected for a reason other than its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rejection {
    /// The reason, such as [`ErrorCode::DocumentTooLarge`].
    pub code: ErrorCode,
}

/// The state of a date in a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DateStatus {
    /// The server has everything that this replica has.
    Synced,
    /// Local changes are not sent, or their result is not known.
    Pending,
    /// Conflicts are listed that nobody has acknowledged. Changes may be pending, too.
    Conflicted,
    /// The server rejected the local changes. They are kept, and sent again after the next local
    /// change. Conflicts may be listed, too.
    Rejected,
}

/// A local change.
#[derive(Debug)]
pub(crate) enum LocalChange {
    Save(Draft),
    Delete,
    Archive(bool),
}

/// A diary as the user sees it.
pub(crate) struct View<'a> {
    pub(crate) title: &'a str,
    /// `None` if it was dropped and must be read from the server.
    pub(crate) content: Option<&'a Document>,
    pub(crate) is_archived: bool,
    /// The server's state that it is made from; `None` if the server has no diary.
    pub(crate) server: Option<ServerState>,
}

/// What the server has of a diary, besides its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ServerState {
    pub(crate) id: DiaryId,
    pub(crate) version: Version,
    pub(crate) updated_at: Timestamp,
}

impl Record {
    /// A local change. It has no effect on a date without a diary, except for a save.
    pub(crate) fn write(mut self, change: LocalChange) -> Self {
        match change {
            LocalChange::Save(draft) => {
                if self.pending.text == Some(Text::Deleted) {
                    // A new diary is not archived, whether or not the deletion was sent.
                    self.pending.archived = Some(false);
                }
                self.pending.text = Some(Text::Draft(draft));
            }
            LocalChange::Delete if self.view().is_some() => {
                self.pending = Pending { text: Some(Text::Deleted), archived: None };
            }
            LocalChange::Archive(archived) if self.view().is_some() => {
                self.pending.archived = Some(archived);
            }
            LocalChange::Delete | LocalChange::Archive(_) => return self,
        }
        self.rejection = None;
        self.tidied()
    }

    /// Removes the listed conflicts up to this [number](ConflictNote::number).
    pub(crate) fn acknowledge(mut self, number: u64) -> Self {
        self.notes.acknowledge(number);
        self
    }

    /// Drops the content, to save space. It stays if it is needed for a pending change.
    pub(crate) fn drop_content(mut self) -> Self {
        if self.pending == Pending::default()
            && self.sent.is_none()
            && let Some(head) = &mut self.head
        {
            head.content = None;
        }
        self
    }

    /// The diary as the user sees it; `None` if there is none.
    pub(crate) fn view(&self) -> Option<View<'_>> {
        let live = self.live();
        let (title, content) = match &self.pending.text {
            Some(Text::Deleted) => return None,
            Some(Text::Draft(draft)) => (draft.title.as_str(), Some(&draft.content)),
            None => {
                let head = self.head.as_ref().filter(|head| head.live.is_some())?;
                (head.title.0.as_str(), head.content.as_ref())
            }
        };
        let server = self.head.as_ref().zip(live).map(|(head, live)| ServerState {
            id: live.id,
            version: head.version,
            updated_at: live.updated_at,
        });
        let is_archived = self.pending.archived.unwrap_or(self.is_archived_on_server());
        Some(View { title, content, is_archived, server })
    }

    pub(crate) fn status(&self) -> DateStatus {
        if self.rejection.is_some() {
            DateStatus::Rejected
        } else if !self.conflicts().is_empty() {
            DateStatus::Conflicted
        } else if self.pending != Pending::default() || self.sent.is_some() {
            DateStatus::Pending
        } else {
            DateStatus::Synced
        }
    }

    /// The conflicts that nobody has acknowledged, oldest first.
    pub(crate) fn conflicts(&self) -> &[ConflictNote] {
        self.notes.listed()
    }

    pub(crate) fn rejection(&self) -> Option<&Rejection> {
        self.rejection.as_ref()
    }

    pub(super) fn live(&self) -> Option<&Live> {
        self.head.as_ref()?.live.as_ref()
    }

    pub(super) fn is_archived_on_server(&self) -> bool {
        self.live().is_some_and(|live| live.is_archived)
    }

    /// Removes pending changes that the server already has. While a request has no response, what the
    /// server has is not known, so all of them stay.
    pub(super) fn tidied(mut self) -> Self {
        if self.sent.is_some() {
            return self;
        }
        let is_done = match &self.pending.text {
            Some(Text::Draft(draft)) => self.head.as_ref().is_some_and(|head| head.has(draft)),
            Some(Text::Deleted) => self.live().is_none(),
            None => false,
        };
        if is_done {
            self.pending.text = None;
        }
        let is_absent = self.live().is_none() && self.pending.text.is_none();
        if is_absent || self.pending.archived == Some(self.is_archived_on_server()) {
            self.pending.archived = None;
        }
        if self.pending == Pending::default() {
            self.rejection = None;
        }
        if let Some(head) = &mut self.head
            && is_absent
        {
            *head = Head::deleted(head.version);
        }
        self
    }
}

impl Head {
    pub(super) fn live(diary: Diary) -> Self {
        let Diary { id, title, content, version, is_archived, updated_at, .. } = diary;
        let live = Some(Live { id, updated_at, is_archived });
        Self { version, live, title: Title(title), content: Some(content) }
    }

    /// A deleted diary.
    pub(super) fn deleted(version: Version) -> Self {
        Self { version, live: None, title: Title(String::new()), content: None }
    }

    /// Whether it is live and has this text, byte for byte.
    fn has(&self, draft: &Draft) -> bool {
        let content = self.content.as_ref().map(Document::as_json);
        self.live.is_some()
            && self.title.0 == draft.title
            && content == Some(draft.content.as_json())
    }
}
