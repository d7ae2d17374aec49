//! Connections to the file, and the execution of statements.

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Params, Row, config::DbConfig,
    ffi::code_to_str,
};

use crate::store::StoreError;

/// How long a statement waits for a lock of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause before retrying a lock that SQLite does not wait for.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// Prepared statements per connection; the stores have about forty.
const PREPARED_STATEMENTS: usize = 64;

/// The page cache of a reader, in KiB. The operating system caches the file for all readers;
/// SQLite's default of 2 MiB for each would only store the same pages several times.
const READER_CACHE_KIB: i32 = 512;

/// Pages of the write-ahead log after which a commit copies them into the file.
const CHECKPOINT_PAGES: u32 = 1000;

/// The path of the file, and the setup of connections.
#[derive(Debug, Clone)]
pub(super) struct Database {
    path: PathBuf,
}

impl Database {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn open_for_writing(&self) -> rusqlite::Result<Connection> {
        let connection = self.open(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        use_write_ahead_log(&connection)?;
        // Every commit is synced, so that it survives a power failure.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        // Deleted text is overwritten, not only unlinked.
        connection.pragma_update(None, "secure_delete", true)?;
        Ok(connection)
    }

    pub(super) fn open_for_reading(&self) -> rusqlite::Result<Connection> {
        let connection = self.open(OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
        Ok(connection)
    }

    fn open(&self, access: OpenFlags) -> rusqlite::Result<Connection> {
        // Each connection is used by one thread at a time, so SQLite does not have to lock it.
        let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
        // A plan does not depend on bound values. Otherwise SQLite prepares a statement again whenever
        // the value of a LIMIT is bound.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        Ok(connection)
    }
}

/// Switches the file to a write-ahead log. SQLite does not wait for the lock of the first switch
/// while another process opens the file, so it is repeated here.
fn use_write_ahead_log(connection: &Connection) -> rusqlite::Result<()> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && Instant::now() < deadline =>
            {
                thread::sleep(BUSY_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

/// Statements that are prepared once per connection.
pub(super) trait Statements {
    /// Executes a statement. Returns the number of changed rows.
    fn run(&self, sql: &str, params: impl Params) -> rusqlite::Result<usize>;

    /// The first row of a query; `None` if it has no rows.
    fn find<T>(
        &self,
        sql: &str,
        params: impl Params,
        decode: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>>;

    /// All rows of a query.
    fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        decode: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>>;
}

impl Statements for Connection {
    fn run(&self, sql: &str, params: impl Params) -> rusqlite::Result<usize> {
        self.prepare_cached(sql)?.execute(params)
    }

    fn find<T>(
        &self,
        sql: &str,
        params: impl Params,
        decode: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        self.prepare_cached(sql)?.query_row(params, decode).optional()
    }

    fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        decode: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        self.prepare_cached(sql)?.query_map(params, decode)?.collect()
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        (&error).into()
    }
}

impl From<&rusqlite::Error> for StoreError {
    fn from(error: &rusqlite::Error) -> Self {
        use rusqlite::Error::{
            FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, SqliteFailure,
            Utf8Error,
        };
        match error {
            FromSqlConversionFailure(..)
            | IntegralValueOutOfRange(..)
            | InvalidColumnType(..)
            | Utf8Error(..) => Self::Corrupt { what: "a row" },
            SqliteFailure(failure, _)
                if matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) =>
            {
                Self::Corrupt { what: "a page" }
            }
            // SQLite's own message may quote a value, and other errors a statement.
            SqliteFailure(failure, _) => {
                let (code, meaning) = (failure.extended_code, code_to_str(failure.extended_code));
                Self::Unavailable(format!("SQLite failed with code {code}: {meaning}").into())
            }
            _ => Self::Unavailable("SQLite rejected a statement".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn a_statement_with_a_bound_limit_is_prepared_once() -> Result<(), rusqlite::Error> {
        let dir = tempfile::tempdir().expect("a directory");
        let database = Database::new(&dir.path().join("shiori.db"));
        let connection = database.open(OpenFlags::default())?;
        connection.execute_batch(
            "CREATE TABLE row (id INTEGER PRIMARY KEY, text TEXT); CREATE INDEX text ON row (text)",
        )?;
        let sql = "SELECT id FROM row WHERE text BETWEEN ? AND ? ORDER BY text LIMIT ?";
        for limit in [1, 1, 2, 3] {
            connection.all(sql, rusqlite::params!["a", "b", limit], |row| row.get::<_, i64>(0))?;
        }
        let prepared_again = connection.prepare_cached(sql)?.get_status(StatementStatus::RePrepare);
        assert_eq!(prepared_again, 0);
        Ok(())
    }
}
