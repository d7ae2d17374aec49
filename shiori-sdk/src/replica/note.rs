//! Conflicts that were resolved without the user, listed until someone acknowledges them.

use serde::{Deserialize, Serialize};

use crate::types::{Draft, Version};

/// Conflicts listed for one date. Of more, the newest are kept. A conflict has up to three texts of up
/// to 1 MiB.
pub(crate) const MAX_NOTES: usize = 4;

/// A conflict between this replica and another device that was resolved so that no text is lost, and
/// that a user should look at.
///
/// `Debug` shows no text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConflictNote {
    /// Counts the conflicts of the date, from 1.
    pub number: u64,
    /// What happened.
    pub cause: ConflictCause,
    /// The version of the server's diary, or of its deletion.
    pub version: Version,
    /// The text that both sides changed; `None` if there was none, or if its content was dropped.
    pub base: Option<Draft>,
    /// The text of this replica; `None` if it was deleted here.
    pub ours: Option<Draft>,
    /// The text of the server; `None` if it was deleted there.
    pub theirs: Option<Draft>,
}

/// The cause of a [`ConflictNote`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConflictCause {
    /// Both sides changed the same words, blocks or title differently. The merged text has both.
    Overlap,
    /// The diary was deleted here and changed on another device. The changed text stays.
    DeletedHere,
    /// The diary was changed here and deleted on another device. The whole text of this replica is
    /// saved again.
    DeletedElsewhere,
    /// Text may occur twice, or removed text may be back. Either the server can no longer tell whether
    /// it applied an earlier save of this replica, because more than
    /// [`REMEMBERED_SAVES`](crate::REMEMBERED_SAVES) versions have followed, or the draft was
    /// saved while the content of its base was not stored here.
    Uncertain,
}

/// The conflicts of one date.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Notes {
    listed: Vec<ConflictNote>,
    /// All conflicts of the date so far.
    count: u64,
}

impl Notes {
    /// Numbers a conflict and lists it.
    pub(super) fn add(&mut self, note: ConflictNote) {
        self.count += 1;
        if self.listed.len() == MAX_NOTES {
            self.listed.remove(0);
        }
        self.listed.push(ConflictNote { number: self.count, ..note });
    }

    /// Removes those up to this number.
    pub(super) fn acknowledge(&mut self, number: u64) {
        self.listed.retain(|note| note.number > number);
    }

    pub(super) fn listed(&self) -> &[ConflictNote] {
        &self.listed
    }
}
