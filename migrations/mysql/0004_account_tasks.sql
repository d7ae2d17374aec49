-- What a change of an account requires in other stores. A row is deleted when all of it is done.
CREATE TABLE account_task (
    user_id      BINARY(16)  NOT NULL,
    -- 'end_sessions' or 'erase'.
    kind         VARCHAR(16) NOT NULL,
    -- The session that 'end_sessions' keeps.
    kept_session BINARY(16),
    -- The key of the failed logins that 'erase' deletes.
    attempts_key BINARY(32),
    created_at   BIGINT      NOT NULL,
    due_at       BIGINT      NOT NULL,
    PRIMARY KEY (user_id, kind),
    KEY account_task_due (due_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
