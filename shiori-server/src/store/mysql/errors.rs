//! What the errors of the engine mean for its connections.

use sqlx::error::DatabaseError;

/// Whether the connection is closed or out of sync. An engine that closes a connection may send the
/// reason, which is read as the response to the next statement.
pub(super) fn is_disconnected(error: &sqlx::Error) -> bool {
    const SHUTDOWN: u16 = 1053;
    /// The four errors of reading and writing packets.
    const NETWORK: std::ops::RangeInclusive<u16> = 1158..=1161;
    /// MariaDB.
    const KILLED: u16 = 1927;
    /// MySQL.
    const IDLE_FOR_TOO_LONG: u16 = 4031;
    match number(error) {
        Some(SHUTDOWN | KILLED | IDLE_FOR_TOO_LONG) => true,
        Some(number) => NETWORK.contains(&number),
        None => {
            error.as_database_error().is_none()
                && !matches!(
                    error,
                    sqlx::Error::RowNotFound
                        | sqlx::Error::ColumnDecode { .. }
                        | sqlx::Error::Decode(_)
                )
        }
    }
}

/// The errors of a server that accepts no writes, such as a former primary after a failover. It keeps
/// its connections open. The statement was not executed.
pub(super) const REJECTS_WRITES: [u16; 8] = [
    1036, // ER_OPEN_AS_READONLY: `innodb_read_only`
    1047, // ER_UNKNOWN_COM_ERROR: a node of Galera that is not part of the cluster
    1290, // ER_OPTION_PREVENTS_STATEMENT: `read_only`, `super_read_only`
    1792, // ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION: `transaction_read_only`
    1836, // ER_READ_ONLY_MODE
    1874, // ER_INNODB_READ_ONLY
    3032, // ER_SERVER_OFFLINE_MODE
    3100, // ER_RUN_HOOK_ERROR: a member of group replication that cannot reach the group
];

/// Whether the server accepts no writes. All connections lead to it, so all are discarded. New ones
/// lead to its successor if the URL has a name that is resolved again, or the address of a proxy.
pub(super) fn rejects_writes(error: &sqlx::Error) -> bool {
    number(error).is_some_and(|number| REJECTS_WRITES.contains(&number))
}

/// Whether the error is a deadlock, a lock timeout, or a conflict in group replication.
pub(super) fn is_rolled_back(error: &sqlx::Error) -> bool {
    const LOCK_WAIT_TIMEOUT: u16 = 1205;
    const DEADLOCK: u16 = 1213;
    /// `ER_TRANSACTION_ROLLBACK_DURING_COMMIT`.
    const NOT_CERTIFIED: u16 = 3101;
    matches!(number(error), Some(LOCK_WAIT_TIMEOUT | DEADLOCK | NOT_CERTIFIED))
}

pub(super) fn is_duplicate(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(DatabaseError::is_unique_violation)
}

pub(super) fn number(error: &sqlx::Error) -> Option<u16> {
    let error = error.as_database_error()?;
    Some(error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()?.number())
}
