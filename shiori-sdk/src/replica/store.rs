//! The interface between a replica and what stores it.

use std::{error, fmt};

use crate::{
    transport::error::{Error, ErrorKind},
    types::{Date, DateRange},
};

/// Stores a [`Replica`](crate::Replica), for example in a file or in a database of the platform.
/// [`RedbStore`](crate::RedbStore) and [`MemoryStore`](crate::MemoryStore) implement it.
///
/// A store is a map from dates to two values, and one header for the whole. It does not interpret
/// them. They contain the text of the diaries, so protect them.
///
/// The replica calls the methods on threads that may block. It makes one change at a time, and reads
/// at the same time from other threads. A reader sees each change as a whole or not at all.
pub trait ReplicaStore: Send + Sync + fmt::Debug {
    /// The header; `None` if it was never set, or since the store was [cleared](Self::clear).
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it cannot be read.
    fn header(&self) -> Result<Option<Vec<u8>>, StoreError>;

    /// Replaces the header. It must be durable when this returns.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it cannot be stored.
    fn set_header(&self, header: &[u8]) -> Result<(), StoreError>;

    /// The record of a date; `None` if it has none.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it cannot be read.
    fn record(&self, date: Date) -> Result<Option<Vec<u8>>, StoreError>;

    /// The entries of the dates of a range that have one, by date. They are much smaller than the
    /// records, so store them apart.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if they cannot be read.
    fn entries(&self, range: DateRange) -> Result<Vec<(Date, Vec<u8>)>, StoreError>;

    /// Replaces the entries and the records of these dates: all of them or, after an error or a
    /// crash, possibly none. They must be durable when this returns.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if they cannot be stored.
    fn write(&self, days: &[StoredDay]) -> Result<(), StoreError>;

    /// Removes the header and all dates, in one step that is durable when this returns.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if they cannot be removed.
    fn clear(&self) -> Result<(), StoreError>;
}

/// What a [`ReplicaStore`] stores of a date. `Debug` shows only sizes.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredDay {
    /// The date.
    pub date: Date,
    /// What a list shows of it; some hundred bytes.
    pub entry: Vec<u8>,
    /// All that is known of it, with its texts.
    pub record: Vec<u8>,
}

impl StoredDay {
    /// The entry and the record of a date.
    pub fn new(date: Date, entry: Vec<u8>, record: Vec<u8>) -> Self {
        Self { date, entry, record }
    }
}

impl fmt::Debug for StoredDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredDay")
            .field("date", &self.date)
            .field("entry_bytes", &self.entry.len())
            .field("record_bytes", &self.record.len())
            .finish()
    }
}

/// A [`ReplicaStore`] failed. The sources must not contain text of diaries.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has the store open, or this process has it open a second time. The replica
    /// returns it as [`ErrorKind::ReplicaInUse`].
    InUse,
    /// The stored data are damaged: [`ErrorKind::ReplicaDamaged`].
    Damaged(Box<dyn error::Error + Send + Sync>),
    /// Any other failure, such as a full disk: [`ErrorKind::ReplicaStore`].
    Failed(Box<dyn error::Error + Send + Sync>),
}

impl StoreError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::InUse => ErrorKind::ReplicaInUse,
            Self::Damaged(_) => ErrorKind::ReplicaDamaged,
            Self::Failed(_) => ErrorKind::ReplicaStore,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Error::new(self.kind()), f)
    }
}

impl error::Error for StoreError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::InUse => None,
            Self::Damaged(source) | Self::Failed(source) => Some(&**source),
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let failed = Self::new(error.kind());
        match error {
            StoreError::InUse => failed,
            StoreError::Damaged(source) | StoreError::Failed(source) => failed.with_source(source),
        }
    }
}
