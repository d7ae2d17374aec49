//! A store in memory.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use super::store::{ReplicaStore, StoreError, StoredDay};
use crate::types::{Date, DateRange};

/// Stores a replica in memory: for tests, and for programs that keep nothing on the device. Clones
/// share their contents.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<RwLock<Contents>>);

#[derive(Default)]
struct Contents {
    header: Option<Vec<u8>>,
    days: BTreeMap<Date, StoredDay>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    // No code panics while it holds the lock.
    fn read(&self) -> RwLockReadGuard<'_, Contents> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, Contents> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReplicaStore for MemoryStore {
    fn header(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.read().header.clone())
    }

    fn set_header(&self, header: &[u8]) -> Result<(), StoreError> {
        self.change().header = Some(header.to_owned());
        Ok(())
    }

    fn record(&self, date: Date) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.read().days.get(&date).map(|day| day.record.clone()))
    }

    fn entries(&self, range: DateRange) -> Result<Vec<(Date, Vec<u8>)>, StoreError> {
        let contents = self.read();
        let days = contents.days.range(range.start()..=range.end());
        Ok(days.map(|(date, day)| (*date, day.entry.clone())).collect())
    }

    fn write(&self, days: &[StoredDay]) -> Result<(), StoreError> {
        self.change().days.extend(days.iter().map(|day| (day.date, day.clone())));
        Ok(())
    }

    fn clear(&self) -> Result<(), StoreError> {
        *self.change() = Contents::default();
        Ok(())
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("days", &self.read().days.len()).finish()
    }
}
