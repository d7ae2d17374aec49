//! What a replica shows of a date.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::record::{DateStatus, Record, Rejection};
use crate::types::{Date, DateVersion, Document, Draft, Timestamp, Version};

/// A date in the list of a replica, without its text. Created by [`Replica::list`](crate::Replica::list).
///
/// `Debug` shows no title.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplicaEntry {
    /// The date.
    pub date: Date,
    /// The title; `None` if the diary was deleted here. Such a date is listed while the deletion is
    /// not sent, or while a conflict is not acknowledged.
    pub title: Option<String>,
    /// The state of the date.
    pub status: DateStatus,
    /// Why the server has rejected the local changes, if the status is [`DateStatus::Rejected`].
    pub rejection: Option<Rejection>,
    /// Whether it is archived.
    pub is_archived: bool,
    /// The newest version of the server that is known; `None` if the server has no diary.
    pub version: Option<Version>,
    /// When that version was saved.
    pub updated_at: Option<Timestamp>,
    /// Whether the text is stored on this device. Otherwise [`Replica::get`](crate::Replica::get)
    /// needs the server.
    pub is_on_device: bool,
}

impl fmt::Debug for ReplicaEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicaEntry")
            .field("date", &self.date)
            .field("status", &self.status)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// A diary of a replica, with the local changes. Created by [`Replica::get`](crate::Replica::get).
///
/// `Debug` shows no text.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct ReplicaDiary {
    /// The date.
    pub date: Date,
    /// The title.
    pub title: String,
    /// The text.
    pub content: Document,
    /// The state of the date.
    pub status: DateStatus,
    /// Why the server has rejected the local changes, if the status is [`DateStatus::Rejected`].
    pub rejection: Option<Rejection>,
    /// Whether it is archived.
    pub is_archived: bool,
    /// The newest version of the server that is known; `None` if the server has no diary.
    pub version: Option<Version>,
    /// When that version was saved.
    pub updated_at: Option<Timestamp>,
}

impl ReplicaDiary {
    /// Title and content, to change and save them.
    pub fn to_draft(&self) -> Draft {
        Draft { title: self.title.clone(), content: self.content.clone() }
    }
}

impl fmt::Debug for ReplicaDiary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicaDiary")
            .field("date", &self.date)
            .field("content", &self.content)
            .field("status", &self.status)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// The entry of a date in the store: what a list, the size bound and a comparison of versions need,
/// so that they do not read the record.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredEntry {
    title: Option<String>,
    status: DateStatus,
    rejection: Option<Rejection>,
    is_archived: bool,
    updated_at: Option<Timestamp>,
    is_on_device: bool,
    pub(super) facts: Facts,
}

/// What a replica keeps in memory of each date.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    /// The newest version that is known; 0 if none is.
    pub(super) version: u64,
    pub(super) is_live: bool,
    pub(super) is_archived_on_server: bool,
    /// Whether there are changes that the server does not have, as far as it is known.
    pub(super) is_unsent: bool,
    /// The size of the content if it can be dropped; otherwise 0.
    pub(super) droppable_bytes: u64,
}

impl StoredEntry {
    pub(super) fn of(record: &Record) -> Self {
        let view = record.view();
        let server = view.as_ref().and_then(|view| view.server);
        Self {
            title: view.as_ref().map(|view| view.title.to_owned()),
            status: record.status(),
            rejection: record.rejection().cloned(),
            is_archived: view.as_ref().is_some_and(|view| view.is_archived),
            updated_at: server.map(|server| server.updated_at),
            is_on_device: view.as_ref().is_none_or(|view| view.content.is_some()),
            facts: Facts::of(record),
        }
    }

    /// The entry of a list; `None` if a list does not show the date.
    pub(super) fn into_entry(self, date: Date) -> Option<ReplicaEntry> {
        if self.title.is_none() && self.status == DateStatus::Synced {
            return None;
        }
        let Self { title, status, rejection, is_archived, updated_at, is_on_device, facts } = self;
        let version = facts.is_live.then(|| Version::new(facts.version));
        Some(ReplicaEntry {
            date,
            title,
            status,
            rejection,
            is_archived,
            version,
            updated_at,
            is_on_device,
        })
    }
}

impl Facts {
    fn of(record: &Record) -> Self {
        let is_unsent = record.is_unsent();
        let head = record.head.as_ref();
        let content = head.and_then(|head| head.content.as_ref()).filter(|_| !is_unsent);
        Self {
            version: head.map_or(0, |head| head.version.get()),
            is_live: record.live().is_some(),
            is_archived_on_server: record.is_archived_on_server(),
            is_unsent,
            droppable_bytes: content.map_or(0, |content| content.as_json().len() as u64),
        }
    }

    /// The version that is known, for a watch; `None` if none is.
    pub(super) fn known(&self, date: Date) -> Option<DateVersion> {
        (self.version > 0).then(|| DateVersion {
            date,
            version: Version::new(self.version),
            is_archived: self.is_archived_on_server,
            is_deleted: !self.is_live,
        })
    }
}

impl Record {
    /// Whether there are changes that the server does not have, as far as it is known.
    fn is_unsent(&self) -> bool {
        self.sent.is_some() || self.pending.text.is_some() || self.pending.archived.is_some()
    }

    /// The diary as the user sees it, with this content if its own was dropped; `None` if there is
    /// none, or no content.
    pub(super) fn diary(&self, date: Date, dropped: Option<Document>) -> Option<ReplicaDiary> {
        let view = self.view()?;
        Some(ReplicaDiary {
            date,
            title: view.title.to_owned(),
            content: view.content.cloned().or(dropped)?,
            status: self.status(),
            rejection: self.rejection().cloned(),
            is_archived: view.is_archived,
            version: view.server.map(|server| server.version),
            updated_at: view.server.map(|server| server.updated_at),
        })
    }
}
