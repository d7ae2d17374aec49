//! The stored dates, and steps on their records. All methods block.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::sync::broadcast;
use uuid::Uuid;

use super::{
    entry::{Facts, ReplicaEntry, StoredEntry},
    event::ReplicaEvent,
    record::Record,
    store::{ReplicaStore, StoreError, StoredDay},
};
use crate::{
    transport::{
        error::{Error, ErrorKind, Result},
        request::describe,
    },
    types::{Date, DateRange, DateVersion, UserId},
};

/// The format of the stored values.
const FORMAT: u32 = 1;

/// When the contents exceed their bound, they are dropped to this share of it, so that not every
/// further diary drops another one.
const KEPT_PERCENT: u64 = 90;

/// The header of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    format: u32,
    pub(super) base_url: String,
    pub(super) account: UserId,
    /// A login of the account.
    login: Uuid,
}

impl Header {
    pub(super) fn new(base_url: &str, account: UserId, login: Uuid) -> Self {
        Self { format: FORMAT, base_url: base_url.to_owned(), account, login }
    }

    /// Whether this login is known to be one of the account.
    pub(super) fn knows(&self, login: Uuid) -> bool {
        // Sessions that version 0.1.0 stored have no login.
        login == self.login && !login.is_nil()
    }
}

/// The stored dates.
#[derive(Debug)]
pub(super) struct Days {
    store: Box<dyn ReplicaStore>,
    max_content_bytes: u64,
    events: broadcast::Sender<ReplicaEvent>,
    /// Locked during a step, so that no two steps change the same record at the same time.
    steps: Mutex<()>,
    /// Changed only during a step, and never locked while the store is called.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    header: Header,
    facts: BTreeMap<Date, Facts>,
    droppable_bytes: u64,
    /// Whether the user has signed out: the store is empty, and nothing is written any more.
    is_closed: bool,
}

/// The header of the store; `None` if it is new.
pub(super) fn read_header(store: &dyn ReplicaStore) -> Result<Option<Header>> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }

    let Some(header) = store.header()? else { return Ok(None) };
    let Format { format } = from_json(&header)?;
    if format > FORMAT {
        let reason = "a later version of the crate has stored the replica";
        return Err(StoreError::Damaged(reason.into()).into());
    }
    from_json(&header).map(Some)
}

impl Days {
    /// Opens a store. A new one gets this header.
    pub(super) fn open(
        store: Box<dyn ReplicaStore>,
        header: Header,
        max_content_bytes: u64,
        events: broadcast::Sender<ReplicaEvent>,
    ) -> Result<Self> {
        if store.header()?.is_none() {
            store.set_header(&to_json(&header)?)?;
        }
        let mut facts = BTreeMap::new();
        for (date, entry) in store.entries(every_date())? {
            facts.insert(date, from_json::<StoredEntry>(&entry)?.facts);
        }
        let droppable_bytes = facts.values().map(|facts| facts.droppable_bytes).sum();
        let state = State { header, facts, droppable_bytes, is_closed: false };
        let (steps, state) = (Mutex::default(), Mutex::new(state));
        Ok(Self { store, max_content_bytes, events, steps, state })
    }

    pub(super) fn header(&self) -> Result<Header> {
        let state = self.state();
        if state.is_closed { Err(signed_out()) } else { Ok(state.header.clone()) }
    }

    /// Stores another login of the account.
    pub(super) fn set_login(&self, login: Uuid) -> Result<()> {
        let _step = self.begin_step()?;
        let header = Header { login, ..self.header()? };
        self.store.set_header(&to_json(&header)?)?;
        self.state().header = header;
        Ok(())
    }

    /// The record of a date.
    pub(super) fn record(&self, date: Date) -> Result<Record> {
        match self.store.record(date)? {
            Some(record) => from_json(&record),
            None => Ok(Record::default()),
        }
    }

    /// The dates of a range that a list shows.
    pub(super) fn list(&self, range: DateRange) -> Result<Vec<ReplicaEntry>> {
        let mut list = Vec::new();
        for (date, entry) in self.store.entries(range)? {
            list.extend(from_json::<StoredEntry>(&entry)?.into_entry(date));
        }
        Ok(list)
    }

    /// Changes records by a step. They are stored together, and durable when this returns.
    pub(super) fn step<T>(
        &self,
        inputs: impl IntoIterator<Item = (Date, T)>,
        mut step: impl FnMut(Record, T) -> Record,
    ) -> Result<()> {
        let _step = self.begin_step()?;
        let mut changes = Vec::new();
        for (date, input) in inputs {
            let before = self.record(date)?;
            let after = step(before.clone(), input);
            if after != before {
                changes.push((date, after));
            }
        }
        self.put(changes)?;
        self.drop_contents()
    }

    fn put(&self, changes: Vec<(Date, Record)>) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let (mut days, mut facts) = (Vec::new(), Vec::new());
        for (date, record) in &changes {
            let entry = StoredEntry::of(record);
            facts.push((*date, entry.facts));
            days.push(StoredDay::new(*date, to_json(&entry)?, to_json(record)?));
        }
        self.store.write(&days)?;
        let mut state = self.state();
        for (date, facts) in facts {
            state.droppable_bytes += facts.droppable_bytes;
            let before = state.facts.insert(date, facts).unwrap_or_default();
            state.droppable_bytes -= before.droppable_bytes;
        }
        drop(state);
        for (date, record) in changes {
            // Without a receiver, nobody is interested.
            let _ = self.events.send(ReplicaEvent::Changed { date, status: record.status() });
        }
        Ok(())
    }

    /// Drops the contents of the earliest dates if all together exceed their bound.
    fn drop_contents(&self) -> Result<()> {
        let dates: Vec<_> = {
            let state = self.state();
            if state.droppable_bytes <= self.max_content_bytes {
                return Ok(());
            }
            let kept_bytes = self.max_content_bytes / 100 * KEPT_PERCENT;
            let mut excess_bytes = state.droppable_bytes.saturating_sub(kept_bytes);
            let droppable = state.facts.iter().filter(|(_, facts)| facts.droppable_bytes > 0);
            let dropped = droppable.take_while(|(_, facts)| {
                let is_dropped = excess_bytes > 0;
                excess_bytes = excess_bytes.saturating_sub(facts.droppable_bytes);
                is_dropped
            });
            dropped.map(|(date, _)| *date).collect()
        };
        let dropped = dates.into_iter().map(|date| Ok((date, self.record(date)?.drop_content())));
        self.put(dropped.collect::<Result<_>>()?)
    }

    /// The dates with changes that the server does not have.
    pub(super) fn unsent(&self) -> Vec<Date> {
        let state = self.state();
        state.facts.iter().filter(|(_, facts)| facts.is_unsent).map(|(date, _)| *date).collect()
    }

    /// The newest known versions, of all dates.
    pub(super) fn known(&self) -> Vec<DateVersion> {
        self.state().facts.iter().filter_map(|(date, facts)| facts.known(*date)).collect()
    }

    /// Whether this version of the server is newer than the known one.
    pub(super) fn is_new(&self, listed: DateVersion) -> bool {
        let known = self.state().facts.get(&listed.date).map_or(0, |facts| facts.version);
        listed.version.get() > known
    }

    /// Removes everything from the store, and closes it. Returns the header.
    pub(super) fn clear(&self, may_discard: bool) -> Result<Header> {
        let _step = self.begin_step()?;
        if !may_discard && !self.unsent().is_empty() {
            return Err(Error::new(ErrorKind::UnsentChanges));
        }
        self.store.clear()?;
        let mut state = self.state();
        state.facts.clear();
        state.droppable_bytes = 0;
        state.is_closed = true;
        Ok(state.header.clone())
    }

    /// Whether the user has signed out.
    pub(super) fn is_closed(&self) -> bool {
        self.state().is_closed
    }

    /// Waits for the step in progress.
    fn begin_step(&self) -> Result<MutexGuard<'_, ()>> {
        // A step that panicked has not changed the state.
        let step = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_closed() { Err(signed_out()) } else { Ok(step) }
    }

    // No code panics while it holds the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn signed_out() -> Error {
    Error::new(ErrorKind::SignedOut)
}

/// All dates.
pub(super) fn every_date() -> DateRange {
    let first = Date::new(1, 1, 1).expect("the first date is valid");
    let last = Date::new(9999, 12, 31).expect("the last date is valid");
    DateRange::new(first, last).expect("the first date is not after the last")
}

fn to_json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| StoreError::Failed(describe(&error).into()).into())
}

fn from_json<T: DeserializeOwned>(json: &[u8]) -> Result<T> {
    serde_json::from_slice(json)
        .map_err(|error| StoreError::Damaged(describe(&error).into()).into())
}
