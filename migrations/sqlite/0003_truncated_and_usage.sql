-- What of the week the language model was not given, as a JSON list of YYYYMMDD, and what it took.
ALTER TABLE reflection ADD COLUMN truncated TEXT NOT NULL DEFAULT '[]';
ALTER TABLE reflection ADD COLUMN token_usage TEXT;
