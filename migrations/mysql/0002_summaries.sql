-- Identifiers are 16 bytes, times are milliseconds since the Unix epoch, dates are YYYYMMDD numbers.
-- No foreign key to accounts: they may live in another store.

-- One row for each user who has ever asked; locked while a request of theirs is inserted, so that
-- requests at once are counted one after the other.
CREATE TABLE summary_user (
    user_id BINARY(16) NOT NULL PRIMARY KEY
) ENGINE = InnoDB;

CREATE TABLE summary (
    id            BINARY(16)   NOT NULL PRIMARY KEY,
    user_id       BINARY(16)   NOT NULL,
    start         INT UNSIGNED NOT NULL,
    status        VARCHAR(16)  NOT NULL,
    revision      BIGINT       NOT NULL,
    attempts      INT UNSIGNED NOT NULL,
    requested_at  BIGINT       NOT NULL,
    started_at    BIGINT,
    finished_at   BIGINT,
    not_before    BIGINT       NOT NULL,
    next_hint_at  BIGINT       NOT NULL,
    lease_token   VARCHAR(64),
    lease_expires BIGINT,
    lease_worker  TEXT,
    completed_by  VARCHAR(64),
    versions_read TEXT         NOT NULL,
    progress      TEXT,
    failure       TEXT,
    trace         TEXT,
    -- 1 while unfinished, then NULL: a unique key takes any number of NULLs.
    unfinished    TINYINT GENERATED ALWAYS AS (IF(status IN ('queued', 'running'), 1, NULL)) STORED,
    CONSTRAINT summary_status CHECK (status IN ('queued', 'running', 'completed', 'failed', 'cancelled')),
    -- Of one week one summary at a time is unfinished, however many ask at once.
    UNIQUE KEY summary_unfinished (user_id, start, unfinished),
    KEY summary_by_week (user_id, start, requested_at),
    -- The dispatcher's two questions.
    KEY summary_hint (status, next_hint_at),
    KEY summary_lease (status, lease_expires)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE reflection (
    summary_id     BINARY(16)   NOT NULL PRIMARY KEY,
    user_id        BINARY(16)   NOT NULL,
    start          INT UNSIGNED NOT NULL,
    reflection     TEXT         NOT NULL,
    engine         TEXT         NOT NULL,
    emotion_engine TEXT         NOT NULL,
    generated_at   BIGINT       NOT NULL,
    KEY reflection_by_week (user_id, start, generated_at),
    CONSTRAINT reflection_of_summary FOREIGN KEY (summary_id) REFERENCES summary (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE emotion_tag (
    summary_id   BINARY(16)   NOT NULL,
    user_id      BINARY(16)   NOT NULL,
    date         INT UNSIGNED NOT NULL,
    label        VARCHAR(32)  NOT NULL,
    confidence   DOUBLE       NOT NULL,
    distribution TEXT         NOT NULL,
    generated_at BIGINT       NOT NULL,
    PRIMARY KEY (summary_id, date),
    KEY emotion_tag_by_day (user_id, date, generated_at),
    CONSTRAINT emotion_tag_of_reflection FOREIGN KEY (summary_id) REFERENCES reflection (summary_id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
