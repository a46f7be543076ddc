"""The ledger's tables. A migration is never changed once it has left this house: a new one is added at the end.

chains      one row for each lane of each epoch; the other tables name it by its number
records     every believed record as it came, in the order in which it was stored
contradictions  valid records whose identity another record already has: kept beside it
spans       which sequences of a chain are held (1) or declared unavailable (0), merged
kept        records that are not believed: signer unknown yet, or revoked
epochs      what is known of each start, and the best clock met in it: what time the epoch began
gateways    the newest state of each
certificates, reports
owed        chains that came in a file: the gateway is sent their receipts when it is heard (docs/decisions/0020)
"""

from typing import Final

MIGRATIONS: Final = (
    """
    CREATE TABLE chains (
        id INTEGER PRIMARY KEY,
        gateway TEXT NOT NULL,
        epoch BLOB NOT NULL,
        lane INTEGER NOT NULL,
        UNIQUE (gateway, epoch, lane)
    ) STRICT;
    CREATE TABLE records (
        id INTEGER PRIMARY KEY,
        chain INTEGER NOT NULL REFERENCES chains,
        sequence INTEGER NOT NULL,
        verified_us INTEGER NOT NULL,
        type TEXT NOT NULL,
        source TEXT NOT NULL,
        event_number INTEGER,
        expired INTEGER NOT NULL,
        repeat_of INTEGER REFERENCES records,
        digest BLOB NOT NULL,
        wire BLOB NOT NULL,
        UNIQUE (chain, sequence)
    ) STRICT;
    CREATE INDEX happenings ON records (source, event_number, type) WHERE event_number IS NOT NULL;
    CREATE TABLE contradictions (
        chain INTEGER NOT NULL REFERENCES chains,
        sequence INTEGER NOT NULL,
        verified_us INTEGER NOT NULL,
        digest BLOB PRIMARY KEY,
        wire BLOB NOT NULL
    ) STRICT;
    CREATE TABLE spans (
        chain INTEGER NOT NULL REFERENCES chains,
        held INTEGER NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        PRIMARY KEY (chain, held, first)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE kept (
        digest BLOB PRIMARY KEY,
        agency TEXT NOT NULL,
        site TEXT NOT NULL,
        gateway TEXT NOT NULL,
        lane INTEGER NOT NULL,
        thumbprint BLOB NOT NULL,
        revoked INTEGER NOT NULL,
        arrived_us INTEGER NOT NULL,
        wire BLOB NOT NULL
    ) STRICT;
    CREATE INDEX kept_of ON kept (gateway, thumbprint);
    CREATE TABLE epochs (
        gateway TEXT NOT NULL,
        epoch BLOB NOT NULL,
        first_state_us INTEGER,
        superseded_us INTEGER,
        zeros INTEGER,
        status_known INTEGER NOT NULL DEFAULT 0,
        unstored INTEGER,
        ended INTEGER NOT NULL DEFAULT 0,
        past INTEGER NOT NULL DEFAULT 0,
        suspect_of BLOB,
        began_us INTEGER,
        uncertainty_ms INTEGER,
        PRIMARY KEY (gateway, epoch)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE gateways (
        gateway TEXT PRIMARY KEY,
        agency TEXT NOT NULL,
        site TEXT NOT NULL,
        epoch BLOB NOT NULL,
        number INTEGER NOT NULL,
        online INTEGER NOT NULL,
        seen_us INTEGER NOT NULL,
        state BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE certificates (
        gateway TEXT NOT NULL,
        thumbprint BLOB NOT NULL,
        proven_us INTEGER NOT NULL,
        chain BLOB NOT NULL,
        PRIMARY KEY (gateway, thumbprint)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE reports (
        type TEXT NOT NULL,
        gateway TEXT NOT NULL,
        detail TEXT NOT NULL,
        text TEXT NOT NULL,
        open INTEGER NOT NULL,
        count INTEGER NOT NULL,
        first_us INTEGER NOT NULL,
        last_us INTEGER NOT NULL,
        PRIMARY KEY (type, gateway, detail)
    ) STRICT, WITHOUT ROWID;
    """,
    "CREATE TABLE owed (chain INTEGER PRIMARY KEY REFERENCES chains) STRICT;",
)
