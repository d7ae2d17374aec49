//! A store in a file.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io,
    path::Path,
    sync::{PoisonError, RwLock, RwLockReadGuard},
};

use redb::{
    Builder, Database, ReadableDatabase, TableDefinition, TableHandle, backends::FileBackend,
};
use uuid::Uuid;

use super::store::{ReplicaStore, StoreError, StoredDay};
use crate::{
    private_file::{directory_of, private, sync_directory},
    transport::error::Result,
    types::{Date, DateRange},
};

/// The memory for pages of the file. redb's default is 1 GiB.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// One row.
const HEADER: TableDefinition<'_, (), &[u8]> = TableDefinition::new("header");

/// By the number of the date.
const ENTRIES: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("entries");

/// By the number of the date.
const RECORDS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("records");

/// Stores a replica in a file of the database [redb](https://www.redb.org), which only its owner can
/// read. The file is not encrypted.
///
/// Every change is synced to the disk before it returns. A process has the file for itself until the
/// store and all replicas that use it are dropped.
///
/// ```no_run
/// use shiori_sdk::RedbStore;
///
/// # fn main() -> shiori_sdk::Result<()> {
/// let store = RedbStore::open("diary.redb")?;
/// # let _ = store;
/// # Ok(())
/// # }
/// ```
pub struct RedbStore {
    /// Locked for reading by all calls, also those that write; for writing only to compact the file.
    database: RwLock<Database>,
}

impl RedbStore {
    /// Opens the file, or creates it, accessible only by its owner. Its directory must exist. The
    /// checksums of the whole file are verified; a file of 10 MiB takes some milliseconds.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) of kind [`ReplicaInUse`](crate::ErrorKind::ReplicaInUse) if another
    /// process has the file open, or another store of this process;
    /// [`ReplicaDamaged`](crate::ErrorKind::ReplicaDamaged) if it is damaged or not the file of a
    /// replica: its contents are not changed, so move it away;
    /// [`ReplicaStore`](crate::ErrorKind::ReplicaStore) if it cannot be opened.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let database = open(path.as_ref()).map_err(store_error)?;
        if !is_replica(&database).map_err(store_error)? {
            return Err(StoreError::Damaged("the file belongs to another program".into()).into());
        }
        Ok(Self { database: RwLock::new(database) })
    }

    // No code panics while it holds the lock.
    fn database(&self) -> RwLockReadGuard<'_, Database> {
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_record(&self, date: Date) -> Result<Option<Vec<u8>>, redb::Error> {
        let records = self.database().begin_read()?.open_table(RECORDS)?;
        Ok(records.get(date.as_number())?.map(|record| record.value().to_owned()))
    }

    fn read_header(&self) -> Result<Option<Vec<u8>>, redb::Error> {
        let headers = self.database().begin_read()?.open_table(HEADER)?;
        Ok(headers.get(())?.map(|header| header.value().to_owned()))
    }

    fn read_entries(&self, range: DateRange) -> Result<Vec<(Date, Vec<u8>)>, redb::Error> {
        let table = self.database().begin_read()?.open_table(ENTRIES)?;
        let mut entries = Vec::new();
        for row in table.range(range.start().as_number()..=range.end().as_number())? {
            let (number, entry) = row?;
            let date = Date::from_number(number.value())
                .map_err(|error| redb::Error::Corrupted(error.to_string()))?;
            entries.push((date, entry.value().to_owned()));
        }
        Ok(entries)
    }

    fn write_header(&self, header: &[u8]) -> Result<(), redb::Error> {
        let transaction = self.database().begin_write()?;
        transaction.open_table(HEADER)?.insert((), header)?;
        Ok(transaction.commit()?)
    }

    fn write_days(&self, days: &[StoredDay]) -> Result<(), redb::Error> {
        let transaction = self.database().begin_write()?;
        {
            let mut entries = transaction.open_table(ENTRIES)?;
            let mut records = transaction.open_table(RECORDS)?;
            for day in days {
                let number = day.date.as_number();
                entries.insert(number, &*day.entry)?;
                records.insert(number, &*day.record)?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn remove_all(&self) -> Result<(), redb::Error> {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        let transaction = database.begin_write()?;
        transaction.open_table(HEADER)?.retain(|(), _| false)?;
        transaction.open_table(ENTRIES)?.retain(|_, _| false)?;
        transaction.open_table(RECORDS)?.retain(|_, _| false)?;
        transaction.commit()?;
        // Returns the pages with the texts to the file system.
        database.compact()?;
        Ok(())
    }
}

impl ReplicaStore for RedbStore {
    fn header(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_header().map_err(store_error)
    }

    fn set_header(&self, header: &[u8]) -> Result<(), StoreError> {
        self.write_header(header).map_err(store_error)
    }

    fn record(&self, date: Date) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_record(date).map_err(store_error)
    }

    fn entries(&self, range: DateRange) -> Result<Vec<(Date, Vec<u8>)>, StoreError> {
        self.read_entries(range).map_err(store_error)
    }

    fn write(&self, days: &[StoredDay]) -> Result<(), StoreError> {
        self.write_days(days).map_err(store_error)
    }

    fn clear(&self) -> Result<(), StoreError> {
        self.remove_all().map_err(store_error)
    }
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedbStore")
    }
}

fn open(path: &Path) -> Result<Database, redb::Error> {
    if !path.try_exists()? {
        create(path)?;
    }
    database(OpenOptions::new().read(true).write(true).open(path)?)
}

fn database(file: File) -> Result<Database, redb::Error> {
    let mut builder = Builder::new();
    // Without the check, redb may panic when it reads a damaged page.
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    Ok(builder.create_with_backend(FileBackend::new(file)?)?)
}

/// Creates the file with its tables under another name, because a file that was created in part could
/// not be opened.
fn create(path: &Path) -> Result<(), redb::Error> {
    let directory = directory_of(path);
    let unfinished = directory.join(format!(".{}.new", Uuid::new_v4()));
    let created = create_at(&unfinished).and_then(|()| match fs::hard_link(&unfinished, path) {
        Ok(()) => Ok(()),
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // A file system without links.
        Err(_) => Ok(fs::rename(&unfinished, path)?),
    });
    // It is absent after a rename.
    let _ = fs::remove_file(&unfinished);
    created?;
    Ok(sync_directory(directory)?)
}

fn create_at(path: &Path) -> Result<(), redb::Error> {
    let mut options = OpenOptions::new();
    let file = private(options.read(true).write(true).create_new(true)).open(path)?;
    create_tables(&database(file)?)
}

fn create_tables(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(HEADER)?;
    transaction.open_table(ENTRIES)?;
    transaction.open_table(RECORDS)?;
    Ok(transaction.commit()?)
}

/// Whether the database is that of a replica.
fn is_replica(database: &Database) -> Result<bool, redb::Error> {
    let names: Vec<_> =
        database.begin_read()?.list_tables()?.map(|table| table.name().to_owned()).collect();
    Ok([HEADER.name(), ENTRIES.name(), RECORDS.name()]
        .iter()
        .all(|table| names.iter().any(|name| name == table)))
}

fn store_error(error: redb::Error) -> StoreError {
    use io::ErrorKind::{InvalidData, UnexpectedEof};

    match error {
        redb::Error::DatabaseAlreadyOpen => StoreError::InUse,
        redb::Error::Io(error) if matches!(error.kind(), InvalidData | UnexpectedEof) => {
            StoreError::Damaged(error.into())
        }
        error @ (redb::Error::Corrupted(_) | redb::Error::TableTypeMismatch { .. }) => {
            StoreError::Damaged(error.into())
        }
        error => StoreError::Failed(error.into()),
    }
}
