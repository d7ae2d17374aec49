-- A diary's text goes into a table of its own. Beside the other columns it filled the pages that a
-- listing reads: with texts of 20 KB, the listing of a year took five times as long.
PRAGMA defer_foreign_keys = ON;

ALTER TABLE diary RENAME TO diary_before;

CREATE TABLE diary_text (
    text_id INTEGER PRIMARY KEY,
    -- The latest saves by their id, newest last: [{"save_id", "version", "updated_at", "created"}].
    saves   TEXT NOT NULL,
    content TEXT NOT NULL
) STRICT;

-- A deleted diary stays as a row whose title, text and saves are empty (deleted = 1): its version
-- goes on counting, so that no version ever names two texts.
CREATE TABLE diary (
    user_id     BLOB    NOT NULL,
    date        INTEGER NOT NULL,
    id          BLOB    NOT NULL,
    title       TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    is_archived INTEGER NOT NULL DEFAULT 0,
    deleted     INTEGER NOT NULL DEFAULT 0,
    updated_at  INTEGER NOT NULL,
    text_id     INTEGER NOT NULL REFERENCES diary_text (text_id),
    PRIMARY KEY (user_id, date)
) STRICT, WITHOUT ROWID;

-- Without the texts, so that sorting does not put them into a temporary file.
INSERT INTO diary (user_id, date, id, title, version, is_archived, deleted, updated_at, text_id)
SELECT user_id, date, id, title, version, is_archived, deleted, updated_at,
    row_number() OVER (ORDER BY user_id, date)
FROM diary_before;

INSERT INTO diary_text (text_id, saves, content)
SELECT diary.text_id, diary_before.saves, diary_before.content
FROM diary_before JOIN diary USING (user_id, date);

DROP TABLE diary_before;
