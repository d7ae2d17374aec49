-- The text so far of a running summary; at most one row for each. It is deleted by the step that ends its run.
CREATE TABLE partial_text (
    summary_id BINARY(16)   NOT NULL PRIMARY KEY,
    -- The revision of the summary during the run.
    revision   BIGINT       NOT NULL,
    number     INT UNSIGNED NOT NULL,
    text       TEXT         NOT NULL,
    CONSTRAINT partial_text_of_summary FOREIGN KEY (summary_id) REFERENCES summary (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The number of that text. Null without one, so that a step knows whether there is a row to delete.
ALTER TABLE summary ADD COLUMN text_number INT UNSIGNED;
