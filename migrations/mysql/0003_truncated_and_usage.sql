-- What of the week the language model was not given, as a JSON list of YYYYMMDD, and what it took.
ALTER TABLE reflection
    ADD COLUMN truncated VARCHAR(256) NOT NULL DEFAULT '[]',
    ADD COLUMN token_usage VARCHAR(256);
