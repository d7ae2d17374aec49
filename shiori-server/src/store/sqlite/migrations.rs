//! Migrates the tables of the file.

use rusqlite::{Connection, TransactionBehavior};

use crate::store::StoreError;

/// All migrations in order. The file's `user_version` is the number of applied ones.
const MIGRATIONS: [&str; 10] = [
    include_str!("../../../migrations/sqlite/0001_accounts_and_sessions.sql"),
    include_str!("../../../migrations/sqlite/0002_diaries_and_summaries.sql"),
    include_str!("../../../migrations/sqlite/0003_truncated_and_usage.sql"),
    include_str!("../../../migrations/sqlite/0004_text_apart.sql"),
    include_str!("../../../migrations/sqlite/0005_write_probe.sql"),
    include_str!("../../../migrations/sqlite/0006_account_tasks.sql"),
    include_str!("../../../migrations/sqlite/0007_used_generation.sql"),
    include_str!("../../../migrations/sqlite/0008_quotas.sql"),
    include_str!("../../../migrations/sqlite/0009_revisions.sql"),
    include_str!("../../../migrations/sqlite/0010_partial_text.sql"),
];

/// The file was written by a newer version of this program.
#[derive(Debug, thiserror::Error)]
#[error(
    "the SQLite file has schema version {found}, and this program supports at most {known}: \
     run the version that wrote it, or a newer one"
)]
struct Newer {
    found: i64,
    known: usize,
}

/// Applies the missing migrations: all of them or, after an error, none.
///
/// # Errors
///
/// [`StoreError::Unavailable`] if a migration fails or the file was written by a newer version.
pub(super) fn apply(connection: &Connection) -> Result<(), StoreError> {
    // The lock is acquired first, so that only one of several processes migrates.
    let behavior = TransactionBehavior::Immediate;
    let transaction = rusqlite::Transaction::new_unchecked(connection, behavior)?;
    let found = applied(&transaction)?;
    let newer = || StoreError::Unavailable(Newer { found, known: MIGRATIONS.len() }.into());
    let missing = usize::try_from(found).ok().and_then(|found| MIGRATIONS.get(found..));
    for migration in missing.ok_or_else(newer)? {
        transaction.execute_batch(migration)?;
    }
    if found < current() || has_table_of_sqlx(&transaction)? {
        // Without this table, an older version rejects the file instead of writing to unknown
        // tables.
        transaction.execute_batch("DROP TABLE IF EXISTS _sqlx_migrations")?;
        transaction.pragma_update(None, "user_version", current())?;
    }
    Ok(transaction.commit()?)
}

fn current() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// The number of applied migrations.
fn applied(connection: &Connection) -> rusqlite::Result<i64> {
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version != 0 || !has_table_of_sqlx(connection)? {
        return Ok(version);
    }
    // Up to version 3, sqlx recorded them by number, from 1. Each ran in one transaction with its
    // record, so recorded migrations are complete.
    connection
        .query_row("SELECT coalesce(max(version), 0) FROM _sqlx_migrations", [], |row| row.get(0))
}

fn has_table_of_sqlx(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = '_sqlx_migrations'",
        [],
        |row| row.get(0),
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use shiori_sdk::{Date, DateRange, SaveId, SessionId, Timestamp, UserId, Version, Week};

    use super::*;
    use crate::store::{
        DiaryQuota, DiaryStore, HistoryPolicy, NewVersion, SaveOutcome, SummaryStore,
        sqlite::SqliteStore,
    };

    const USER: [u8; 16] = *b"an old user's id";
    const SAVE_ID: &str = "0192f0c1-2d3e-7abc-8def-000000000016";
    const CONTENT: &str = r#"{"type":"doc","content":[{"type":"paragraph"}]}"#;

    fn user() -> UserId {
        UserId::from_bytes(USER)
    }

    fn day(day: u8) -> Date {
        Date::new(2026, 2, day).expect("a real day")
    }

    /// A file of version 0.1.0, whose migrations sqlx applied: three days with a diary, one with a
    /// deleted diary, and a completed summary.
    fn old_file(path: &Path) -> Connection {
        let connection = Connection::open(path).expect("opened");
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL;
                 CREATE TABLE _sqlx_migrations (
                     version BIGINT PRIMARY KEY,
                     description TEXT NOT NULL,
                     installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
                     success BOOLEAN NOT NULL,
                     checksum BLOB NOT NULL,
                     execution_time BIGINT NOT NULL
                 );
                 INSERT INTO _sqlx_migrations
                     (version, description, success, checksum, execution_time)
                 VALUES
                     (1, 'accounts and sessions', 1, x'0504DD4133DDF6A7', 1200231),
                     (2, 'diaries and summaries', 1, x'E4E7867EFC4D5111', 1576773),
                     (3, 'truncated and usage', 1, x'DFE6083BF905BC94', 1399163);",
            )
            .expect("sqlx's table");
        for migration in &MIGRATIONS[..3] {
            connection.execute_batch(migration).expect("the tables of version 3");
        }
        let saves = format!(
            r#"[{{"save_id":"{SAVE_ID}","version":3,"updated_at":"2026-11-28T04:31:23.418Z","created":false}}]"#
        );
        for n in [18_u8, 16, 17, 19] {
            let deleted = n == 19;
            let (title, content, saves) =
                if deleted { ("", "", "[]") } else { ("제목", CONTENT, saves.as_str()) };
            connection
                .execute(
                    "INSERT INTO diary (user_id, date, id, title, content, version, is_archived,
                         deleted, updated_at, saves)
                     VALUES (?, ?, ?, ?, ?, 3, ?, ?, 1771200000000, ?)",
                    rusqlite::params![
                        USER,
                        day(n).as_number(),
                        [n; 16],
                        title,
                        content,
                        n == 17,
                        deleted,
                        saves
                    ],
                )
                .expect("a diary");
        }
        connection
            .execute_batch(
                "INSERT INTO summary (id, user_id, start, status, revision, attempts, requested_at,
                     not_before, next_hint_at, versions_read)
                 VALUES (x'00112233445566778899aabbccddeeff', CAST('an old user''s id' AS BLOB),
                     20260216, 'completed', 3, 1, 1, 1, 1, '{\"20260216\":3}');
                 INSERT INTO reflection (summary_id, user_id, start, reflection, engine,
                     emotion_engine, generated_at)
                 VALUES (x'00112233445566778899aabbccddeeff', CAST('an old user''s id' AS BLOB),
                     20260216, '돌아봄', 'extractive', 'lexicon', 2);",
            )
            .expect("a summary");
        connection
    }

    #[tokio::test]
    async fn a_file_of_the_version_that_used_sqlx_is_migrated() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("shiori.db");
        drop(old_file(&path));
        let store = SqliteStore::open(&path).await.expect("migrated");

        let range = DateRange::new(day(1), day(28)).expect("ordered");
        let records = store.list_with_content(user(), range).await.expect("read");
        let dates: Vec<_> = records.iter().map(|record| record.head.date).collect();
        assert_eq!(dates, [day(16), day(17), day(18)]);
        for record in &records {
            assert_eq!(record.head.id.as_bytes(), &[record.head.date.day(); 16]);
            assert_eq!((record.head.title.as_str(), record.content.as_json()), ("제목", CONTENT));
            assert_eq!(record.head.version, Version::new(3));
            assert_eq!(record.head.is_archived, record.head.date == day(17));
        }
        let week = Week::starting(day(16)).expect("a week");
        let found = store.latest_result(user(), week).await.expect("read").expect("there");
        assert_eq!(found.result.reflection, "돌아봄");

        // The documents are counted: three diaries, and none for the deleted one.
        let three = 3 * CONTENT.len() as u64;
        for (bytes, is_exceeded) in [(three + CONTENT.len() as u64, false), (three, true)] {
            let quota = DiaryQuota { diaries: Some(4), bytes: Some(bytes) };
            let save = NewVersion {
                user: user(),
                date: day(28),
                title: String::new(),
                content: records[0].content.clone(),
                expected: None,
                save_id: None,
                quota,
                session: SessionId::new(),
                history: HistoryPolicy::default(),
                keep_replaced: false,
                now: Timestamp::from_millis(1_771_300_000_000),
            };
            let outcome = store.save(&save).await.expect("a response");
            let is_rejected = matches!(outcome, SaveOutcome::QuotaExceeded(_));
            assert_eq!(is_rejected, is_exceeded, "{outcome:?}");
            if let SaveOutcome::Saved(saved) = outcome {
                let history = HistoryPolicy::default();
                store
                    .delete(user(), day(28), saved.version, history, save.now)
                    .await
                    .expect("deleted");
            }
        }

        // An earlier save is recognised, and the version of a deleted diary continues.
        let mut save = NewVersion {
            user: user(),
            date: day(16),
            title: "다시".into(),
            content: records[0].content.clone(),
            expected: Some(Version::new(2)),
            save_id: Some(SAVE_ID.parse::<SaveId>().expect("an id")),
            quota: DiaryQuota::default(),
            session: SessionId::new(),
            history: HistoryPolicy::default(),
            keep_replaced: false,
            now: Timestamp::from_millis(1_771_300_000_000),
        };
        let repeated = store.save(&save).await.expect("a response");
        assert!(matches!(repeated, SaveOutcome::Replayed(stored) if stored.version.get() == 3));
        (save.date, save.expected) = (day(19), None);
        let stored = store.save(&save).await.expect("a response");
        assert!(matches!(stored, SaveOutcome::Saved(stored) if stored.version.get() == 4));
        store.close().await;

        let connection = Connection::open(&path).expect("opened");
        assert!(!has_table_of_sqlx(&connection).expect("asked"));
        assert_eq!(applied(&connection).expect("asked"), current());
        let broken: i64 = connection
            .query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0))
            .expect("asked");
        assert_eq!(broken, 0);
        drop(connection);
        let again = SqliteStore::open(&path).await.expect("opened again");
        assert_eq!(again.list(user(), range).await.expect("read").len(), 4);
    }

    #[tokio::test]
    async fn a_file_of_a_newer_version_is_rejected_and_not_changed() {
        let dir = tempfile::tempdir().expect("a directory");
        let with_sqlx = dir.path().join("sqlx.db");
        let connection = old_file(&with_sqlx);
        let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum,
                         execution_time) VALUES (99, 'from the future', 1, x'', 1)";
        connection.execute_batch(newer).expect("recorded");
        drop(connection);

        let with_ours = dir.path().join("ours.db");
        SqliteStore::open(&with_ours).await.expect("a new file").close().await;
        let connection = Connection::open(&with_ours).expect("opened");
        connection.pragma_update(None, "user_version", 99).expect("set");
        drop(connection);

        for path in [&with_sqlx, &with_ours] {
            let before = std::fs::read(path).expect("read");
            let rejected = SqliteStore::open(path).await.expect_err("newer");
            let why = std::error::Error::source(&rejected).expect("why").to_string();
            assert!(
                why.contains(&format!(
                    "version 99, and this program supports at most {}",
                    current()
                )),
                "{why}"
            );
            assert_eq!(std::fs::read(path).expect("read"), before, "the file is unchanged");
        }
    }

    #[tokio::test]
    async fn a_failed_migration_changes_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("shiori.db");
        // The second migration fails because of this table.
        let connection = Connection::open(&path).expect("opened");
        connection.execute_batch("CREATE TABLE diary (of_another INTEGER)").expect("created");
        drop(connection);
        SqliteStore::open(&path).await.expect_err("an error");
        let connection = Connection::open(&path).expect("opened");
        let tables: String = connection
            .query_row("SELECT group_concat(name) FROM sqlite_schema", [], |row| row.get(0))
            .expect("asked");
        assert_eq!(tables, "diary");
        assert_eq!(applied(&connection).expect("asked"), 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_new_file_can_be_opened_concurrently() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("shiori.db");
        let openings = (0..4).map(|_| {
            let path = path.clone();
            tokio::spawn(async move { SqliteStore::open(&path).await })
        });
        for opened in futures_util::future::join_all(openings).await {
            opened.expect("no panic").expect("opened").close().await;
        }
    }
}
