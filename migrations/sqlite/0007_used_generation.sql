-- Whether a token of the session's generation has been used. Until then, the previous refresh token
-- can be presented again.
ALTER TABLE sessions ADD COLUMN is_used INTEGER NOT NULL DEFAULT 0 CHECK (is_used IN (0, 1));
