-- The outbox, first version. A later one is a migration of its own in migrate.py, and never an edit of this file.
CREATE TABLE fact (              -- single values: start_count
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE epoch (             -- ordinal: the order of this store's epochs, whatever their start counts say
    ordinal INTEGER PRIMARY KEY,
    epoch BLOB NOT NULL UNIQUE,
    start_count INTEGER NOT NULL,
    chain BLOB NOT NULL          -- the certificates under which it signs (CBOR): C5 may need them after a renewal
);
CREATE TABLE record (            -- what no receipt covers yet, and each lane's last; clustered in the order it is sent
    lane INTEGER NOT NULL,
    ordinal INTEGER NOT NULL REFERENCES epoch,
    sequence INTEGER NOT NULL,
    cose BLOB NOT NULL,
    PRIMARY KEY (lane, ordinal, sequence)
) WITHOUT ROWID;
CREATE TABLE head (              -- the last durable record of each lane: what the next epoch's first points back to
    lane INTEGER PRIMARY KEY,
    ordinal INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    digest BLOB NOT NULL,
    receipted INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE receipted (         -- what C5 has of each epoch, merged: to answer it truly if it should ask again
    lane INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (lane, ordinal, first)
) WITHOUT ROWID;
CREATE TABLE device (            -- the upward counters, stored with the record that the frame caused
    device TEXT PRIMARY KEY,
    counter INTEGER NOT NULL,    -- the last accepted, and its frame's tag
    tag BLOB NOT NULL,
    seen INTEGER NOT NULL,       -- bit n: counter - 1 - n was accepted
    proven INTEGER NOT NULL,     -- 0 until a challenge was answered
    highest_event INTEGER NOT NULL,
    key_id BLOB NOT NULL         -- whose counters these are: another key counts for itself
) WITHOUT ROWID;
CREATE TABLE event (             -- the newest 64 event numbers of each device, outliving their records
    device TEXT NOT NULL,
    number INTEGER NOT NULL,
    lane INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    stage INTEGER NOT NULL,      -- 1 stored, 2 received, 3 acknowledged
    PRIMARY KEY (device, number)
) WITHOUT ROWID;
