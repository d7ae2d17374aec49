-- Identifiers are the 16 bytes of a UUID; times are milliseconds since the Unix epoch. Texts compare
-- by their bytes.

CREATE TABLE accounts (
    id            BINARY(16)   NOT NULL PRIMARY KEY,
    -- In lower case.
    email         VARCHAR(320) NOT NULL,
    nickname      TEXT         NOT NULL,
    password_hash VARCHAR(512) NOT NULL,
    created_at    BIGINT       NOT NULL,
    UNIQUE KEY accounts_by_email (email)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
