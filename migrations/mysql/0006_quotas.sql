-- How many summaries a user has requested on the day of the last request, in days since the Unix epoch.
-- The rows of the summaries cannot be counted, because old ones are deleted.
ALTER TABLE summary_user
    ADD COLUMN day      BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN requests BIGINT NOT NULL DEFAULT 0;
