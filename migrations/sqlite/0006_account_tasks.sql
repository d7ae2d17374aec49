-- What a change of an account requires in other stores. A row is deleted when all of it is done.
CREATE TABLE account_task (
    user_id      BLOB    NOT NULL CHECK (length(user_id) = 16),
    kind         TEXT    NOT NULL CHECK (kind IN ('end_sessions', 'erase')),
    -- The session that 'end_sessions' keeps.
    kept_session BLOB,
    -- The key of the failed logins that 'erase' deletes.
    attempts_key BLOB,
    created_at   INTEGER NOT NULL,
    due_at       INTEGER NOT NULL,
    PRIMARY KEY (user_id, kind)
) STRICT, WITHOUT ROWID;

CREATE INDEX account_task_due ON account_task (due_at);
