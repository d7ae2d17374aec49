-- Identifiers are the 16 bytes of a UUID; times are milliseconds since the Unix epoch.

CREATE TABLE accounts (
    id            BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    -- In lower case.
    email         TEXT    NOT NULL UNIQUE,
    nickname      TEXT    NOT NULL,
    password_hash TEXT    NOT NULL,
    created_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A session that has ended has no row. No foreign key to accounts: they may live in another store.
CREATE TABLE sessions (
    id           BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    user_id      BLOB    NOT NULL CHECK (length(user_id) = 16),
    -- Which refresh token is the current one; the tokens themselves are nowhere.
    generation   INTEGER NOT NULL CHECK (generation >= 0),
    rotated_at   INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    user_agent   TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_user ON sessions (user_id, last_seen_at);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

CREATE TABLE login_attempts (
    -- A hash of the e-mail address.
    key            BLOB    NOT NULL PRIMARY KEY CHECK (length(key) = 32),
    attempts       INTEGER NOT NULL,
    window_ends_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX login_attempts_by_end ON login_attempts (window_ends_at);
