-- The text so far of a running summary; at most one row for each. It is deleted by the step that ends its run.
CREATE TABLE partial_text (
    summary_id BLOB    NOT NULL PRIMARY KEY REFERENCES summary (id) ON DELETE CASCADE,
    -- The revision of the summary during the run.
    revision   INTEGER NOT NULL,
    number     INTEGER NOT NULL,
    text       TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- The number of that text. Null without one, so that a step knows whether there is a row to delete.
ALTER TABLE summary ADD COLUMN text_number INTEGER;
