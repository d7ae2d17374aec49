//! What every store must do, and the tests of the file.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use tempfile::TempDir;

use super::{MemoryStore, RedbStore, ReplicaStore, StoredDay};
use crate::{
    transport::error::ErrorKind,
    types::{Date, DateRange},
};

/// Creates stores that can be closed and opened again.
trait Reopened {
    type Store: ReplicaStore + 'static;

    fn new() -> Self;

    /// Opens the store. The one before is dropped.
    fn open(&self) -> Self::Store;
}

struct InMemory(MemoryStore);

impl Reopened for InMemory {
    type Store = MemoryStore;

    fn new() -> Self {
        Self(MemoryStore::new())
    }

    fn open(&self) -> MemoryStore {
        self.0.clone()
    }
}

struct InFile(TempDir);

impl InFile {
    fn path(&self) -> PathBuf {
        self.0.path().join("diary.redb")
    }
}

impl Reopened for InFile {
    type Store = RedbStore;

    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn open(&self) -> RedbStore {
        RedbStore::open(self.path()).expect("the file opens")
    }
}

/// Runs the contract against the stores of a type.
macro_rules! store_contract {
    ($name:ident, $stores:ty) => {
        mod $name {
            use super::*;

            store_contract!(@tests $stores: [
                a_new_store_is_empty,
                what_was_written_is_read_also_after_a_restart,
                entries_are_listed_by_date_within_the_range,
                a_header_is_replaced,
                a_cleared_store_is_empty_and_can_be_used,
                readers_see_each_change_as_a_whole,
            ]);
        }
    };
    (@tests $stores:ty: [$($test:ident,)*]) => {
        $(
            #[test]
            fn $test() {
                contract::$test(&<$stores>::new());
            }
        )*
    };
}

store_contract!(memory, InMemory);
store_contract!(file, InFile);

mod contract {
    use super::*;

    pub(super) fn a_new_store_is_empty(stores: &impl Reopened) {
        let store = stores.open();
        assert_eq!(store.header().expect("read"), None);
        assert_eq!(store.record(date(0)).expect("read"), None);
        assert_eq!(store.entries(days(0, 400)).expect("read"), []);
    }

    pub(super) fn what_was_written_is_read_also_after_a_restart(stores: &impl Reopened) {
        let store = stores.open();
        store.set_header(b"header").expect("stored");
        store.write(&[day(0, "one"), day(1, "two")]).expect("stored");
        store.write(&[day(1, "three"), day(2, "")]).expect("stored");
        store.write(&[]).expect("stored");
        let check = |store: &dyn ReplicaStore| {
            assert_eq!(store.header().expect("read").as_deref(), Some(&b"header"[..]));
            for (at, text) in [(0, "one"), (1, "three"), (2, "")] {
                let record = store.record(date(at)).expect("read").expect("a record");
                assert_eq!(record, format!("record {text}").into_bytes());
            }
            let entries = ["one", "three", ""].map(|text| format!("entry {text}").into_bytes());
            let read = store.entries(days(0, 9)).expect("read");
            assert!(read.into_iter().map(|(_, entry)| entry).eq(entries));
        };
        check(&store);
        drop(store);
        check(&stores.open());
    }

    pub(super) fn entries_are_listed_by_date_within_the_range(stores: &impl Reopened) {
        let store = stores.open();
        for at in [300, 2, 100, 1, 99, 0, 101] {
            store.write(&[day(at, "a day")]).expect("stored");
        }
        let listed = |first, last| -> Vec<_> {
            let entries = store.entries(days(first, last)).expect("read");
            entries.into_iter().map(|(date, _)| date).collect()
        };
        assert_eq!(listed(0, 400), [0, 1, 2, 99, 100, 101, 300].map(date));
        assert_eq!(listed(1, 100), [1, 2, 99, 100].map(date));
        assert_eq!(listed(2, 2), [date(2)]);
        assert_eq!(listed(3, 98), []);
    }

    pub(super) fn a_header_is_replaced(stores: &impl Reopened) {
        let store = stores.open();
        for header in ["first", "", "a longer one than the first"] {
            store.set_header(header.as_bytes()).expect("stored");
            assert_eq!(store.header().expect("read").as_deref(), Some(header.as_bytes()));
        }
    }

    pub(super) fn a_cleared_store_is_empty_and_can_be_used(stores: &impl Reopened) {
        let store = stores.open();
        store.set_header(b"header").expect("stored");
        store.write(&[day(0, "one"), day(1, "two")]).expect("stored");
        store.clear().expect("cleared");
        drop(store);
        a_new_store_is_empty(stores);
        let store = stores.open();
        store.write(&[day(1, "three")]).expect("stored");
        assert_eq!(store.entries(days(0, 9)).expect("read").len(), 1);
    }

    pub(super) fn readers_see_each_change_as_a_whole(stores: &impl Reopened) {
        let store = stores.open();
        let write = |store: &dyn ReplicaStore, round: u32| {
            let changes: Vec<_> = (0..5).map(|at| day(at, &round.to_string())).collect();
            store.write(&changes).expect("stored");
        };
        write(&store, 0);
        let is_written = AtomicBool::new(false);
        let read_until_written = || {
            while !is_written.load(Ordering::SeqCst) {
                let mut entries = store.entries(days(0, 9)).expect("read");
                assert_eq!(entries.len(), 5);
                entries.dedup_by(|a, b| a.1 == b.1);
                assert_eq!(entries.len(), 1, "a change was seen in part");
            }
        };
        thread::scope(|scope| {
            scope.spawn(read_until_written);
            scope.spawn(read_until_written);
            (1..60).for_each(|round| write(&store, round));
            is_written.store(true, Ordering::SeqCst);
        });
    }
}

fn date(days: i64) -> Date {
    let first = Date::new(2026, 1, 30).expect("a date");
    first.plus_days(days).expect("a date")
}

fn days(first: i64, last: i64) -> DateRange {
    DateRange::new(date(first), date(last)).expect("a range")
}

fn day(at: i64, text: &str) -> StoredDay {
    let (entry, record) = (format!("entry {text}"), format!("record {text}"));
    StoredDay::new(date(at), entry.into_bytes(), record.into_bytes())
}

#[test]
#[cfg(unix)]
fn only_the_owner_can_read_the_file() {
    use std::os::unix::fs::PermissionsExt;

    let stores = InFile::new();
    let _store = stores.open();
    let mode = fs::metadata(stores.path()).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_new_file_is_complete_and_alone() {
    let stores = InFile::new();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let path = stores.path();
            thread::spawn(move || RedbStore::open(path).err().map(|error| error.kind()))
        })
        .collect();
    for thread in threads {
        let failed = thread.join().expect("no panic");
        assert!(matches!(failed, None | Some(ErrorKind::ReplicaInUse)), "{failed:?}");
    }
    let directory = stores.path().parent().expect("a directory").to_owned();
    assert_eq!(fs::read_dir(directory).expect("the directory").count(), 1);
    stores.open();
}

#[test]
fn a_file_is_opened_once() {
    let stores = InFile::new();
    let store = stores.open();
    let error = RedbStore::open(stores.path()).expect_err("it is open");
    assert_eq!(error.kind(), ErrorKind::ReplicaInUse);
    store.write(&[day(0, "one")]).expect("stored");
    drop(store);
    assert_eq!(stores.open().entries(days(0, 9)).expect("read").len(), 1);
}

/// Every byte of a file with a few pages is damaged, one after another in steps.
#[test]
fn a_damaged_file_is_an_error_and_not_changed() {
    let stores = InFile::new();
    let store = stores.open();
    store.set_header(b"header").expect("stored");
    for at in 0..40 {
        store.write(&[day(at, &"text ".repeat(200))]).expect("stored");
    }
    drop(store);
    let intact = fs::read(stores.path()).expect("the file");
    let mut damaged_files = 0;
    for at in (0..intact.len()).step_by(997) {
        let mut damaged = intact.clone();
        damaged[at] ^= 0xff;
        fs::write(stores.path(), &damaged).expect("written");
        match RedbStore::open(stores.path()) {
            // A page that is not in use, or data that the file has twice.
            Ok(store) => assert_eq!(store.entries(days(0, 99)).expect("read").len(), 40),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ReplicaDamaged, "byte {at}: {error:?}");
                assert!(fs::read(stores.path()).expect("the file") == damaged, "byte {at}");
                damaged_files += 1;
            }
        }
    }
    assert!(damaged_files > 5, "{damaged_files}");
}

#[test]
fn other_files_are_rejected_and_not_changed() {
    use redb::{Database, ReadableDatabase, TableDefinition};

    let stores = InFile::new();
    let other: TableDefinition<'_, u32, u32> = TableDefinition::new("other");
    let database = Database::create(stores.path()).expect("created");
    let transaction = database.begin_write().expect("begun");
    transaction.open_table(other).expect("opened").insert(1, 2).expect("inserted");
    transaction.commit().expect("committed");
    drop(database);
    let error = RedbStore::open(stores.path()).expect_err("not a replica");
    assert_eq!(error.kind(), ErrorKind::ReplicaDamaged, "{error:?}");
    let database = Database::open(stores.path()).expect("opened");
    let table = database.begin_read().expect("begun").open_table(other).expect("opened");
    assert_eq!(table.get(1).expect("read").expect("a row").value(), 2);
    drop((table, database));

    let truncated = fs::read(stores.path()).expect("the file")[..5000].to_vec();
    for content in [b"not a database, but some text".to_vec(), vec![0; 4096], truncated] {
        fs::write(stores.path(), &content).expect("written");
        let error = RedbStore::open(stores.path()).expect_err("not a replica");
        assert_eq!(error.kind(), ErrorKind::ReplicaDamaged, "{error:?}");
        assert!(fs::read(stores.path()).expect("the file") == content, "the file was changed");
    }
}

#[test]
fn a_cleared_file_contains_no_text() {
    let stores = InFile::new();
    let store = stores.open();
    for at in 0..40 {
        store.write(&[day(at, &"some text ".repeat(200))]).expect("stored");
    }
    let contains_text = || {
        let file = fs::read(stores.path()).expect("the file");
        file.windows(9).any(|window| window == b"some text")
    };
    assert!(contains_text());
    store.clear().expect("cleared");
    assert!(!contains_text());
    drop(store);
    assert!(!contains_text());
}

#[test]
fn a_file_that_cannot_be_created_is_an_error() {
    let stores = InFile::new();
    let error = RedbStore::open(stores.path().join("missing")).expect_err("no directory");
    assert_eq!(error.kind(), ErrorKind::ReplicaStore);
}
