-- The session that saved the current text, and when. A change of the archive state changes the version
-- but not the text. Null in rows of older versions, until the next save.
ALTER TABLE diary ADD COLUMN text_by BLOB;
ALTER TABLE diary ADD COLUMN text_at INTEGER;

-- Replaced and deleted texts, which can be restored.
CREATE TABLE diary_revision (
    user_id     BLOB    NOT NULL,
    date        INTEGER NOT NULL,
    version     INTEGER NOT NULL,
    title       TEXT    NOT NULL,
    bytes       INTEGER NOT NULL,
    saved_at    INTEGER NOT NULL,
    replaced_at INTEGER NOT NULL,
    -- Last, so that listings read no pages of the texts.
    content     TEXT    NOT NULL,
    PRIMARY KEY (user_id, date, version)
) STRICT, WITHOUT ROWID;

CREATE INDEX diary_revision_by_age ON diary_revision (replaced_at);
