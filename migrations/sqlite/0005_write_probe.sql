-- One row that is written to find out whether writing works again after it has failed.
CREATE TABLE write_probe (
    filler BLOB NOT NULL
) STRICT;

INSERT INTO write_probe (filler) VALUES (x'');
