-- Each unfinished summary of a user has one of as many slots as the user may have unfinished
-- summaries. The unique key limits them without a lock, so that a request is one statement.

ALTER TABLE summary ADD COLUMN slot INT UNSIGNED;

UPDATE summary JOIN (
    SELECT id, ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY requested_at, id) - 1 AS number
    FROM summary WHERE unfinished = 1
) AS numbered ON numbered.id = summary.id
SET summary.slot = numbered.number;

-- Also finds the unfinished summaries of a user, however many are finished.
ALTER TABLE summary ADD UNIQUE KEY summary_slot (user_id, unfinished, slot);
