-- The size of each document, so that a user's diaries are counted from an index alone.
ALTER TABLE diary ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
UPDATE diary SET bytes = (SELECT octet_length(content) FROM diary_text WHERE text_id = diary.text_id);
CREATE INDEX diary_usage ON diary (user_id, bytes) WHERE deleted = 0;

-- How many summaries a user has requested on the day of the last request, in days since the Unix epoch.
-- The rows of the summaries cannot be counted, because old ones are deleted.
CREATE TABLE summary_user (
    user_id  BLOB    NOT NULL PRIMARY KEY,
    day      INTEGER NOT NULL,
    requests INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
