-- Identifiers are 16 bytes, times are milliseconds since the Unix epoch, dates are YYYYMMDD numbers.

-- A deleted diary stays as a row without text (deleted = 1): its version goes on counting, so that
-- no version ever names two texts.
CREATE TABLE diary (
    user_id     BLOB    NOT NULL,
    date        INTEGER NOT NULL,
    id          BLOB    NOT NULL,
    title       TEXT    NOT NULL,
    content     TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    is_archived INTEGER NOT NULL DEFAULT 0,
    deleted     INTEGER NOT NULL DEFAULT 0,
    updated_at  INTEGER NOT NULL,
    -- The latest saves by their id, newest last: [{"save_id", "version", "updated_at", "created"}].
    saves       TEXT    NOT NULL DEFAULT '[]',
    PRIMARY KEY (user_id, date)
) STRICT, WITHOUT ROWID;

CREATE TABLE summary (
    id            BLOB    NOT NULL PRIMARY KEY,
    user_id       BLOB    NOT NULL,
    start         INTEGER NOT NULL,
    status        TEXT    NOT NULL CHECK (status IN ('queued', 'running', 'completed', 'failed', 'cancelled')),
    revision      INTEGER NOT NULL,
    attempts      INTEGER NOT NULL,
    requested_at  INTEGER NOT NULL,
    started_at    INTEGER,
    finished_at   INTEGER,
    not_before    INTEGER NOT NULL,
    next_hint_at  INTEGER NOT NULL,
    lease_token   TEXT,
    lease_expires INTEGER,
    lease_worker  TEXT,
    completed_by  TEXT,
    versions_read TEXT    NOT NULL,
    progress      TEXT,
    failure       TEXT,
    trace         TEXT
) STRICT, WITHOUT ROWID;

-- Of one week one summary at a time is unfinished, however many ask at once.
CREATE UNIQUE INDEX summary_unfinished ON summary (user_id, start) WHERE status IN ('queued', 'running');
CREATE INDEX summary_by_week ON summary (user_id, start, requested_at);
-- The dispatcher's two questions.
CREATE INDEX summary_hint ON summary (next_hint_at) WHERE status = 'queued';
CREATE INDEX summary_lease ON summary (lease_expires) WHERE status = 'running';

CREATE TABLE reflection (
    summary_id     BLOB    NOT NULL PRIMARY KEY REFERENCES summary (id) ON DELETE CASCADE,
    user_id        BLOB    NOT NULL,
    start          INTEGER NOT NULL,
    reflection     TEXT    NOT NULL,
    engine         TEXT    NOT NULL,
    emotion_engine TEXT    NOT NULL,
    generated_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX reflection_by_week ON reflection (user_id, start, generated_at);

CREATE TABLE emotion_tag (
    summary_id   BLOB    NOT NULL REFERENCES reflection (summary_id) ON DELETE CASCADE,
    user_id      BLOB    NOT NULL,
    date         INTEGER NOT NULL,
    label        TEXT    NOT NULL,
    confidence   REAL    NOT NULL,
    distribution TEXT    NOT NULL,
    generated_at INTEGER NOT NULL,
    PRIMARY KEY (summary_id, date)
) STRICT, WITHOUT ROWID;

CREATE INDEX emotion_tag_by_day ON emotion_tag (user_id, date, generated_at);
