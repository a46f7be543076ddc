"""What passes between the centre's judgement (`centre`) and its memory (`ledger`): plain values.

Times are microseconds since 1970 by this machine's clock unless a name says otherwise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from gateway.c5.epochs import Epoch
from gateway.c5.signers import Signer
from gateway.c5.verifier import UnknownSigner, Unproven, Verified
from gateway.event import Lane
from gateway.signing.record import Record
from gateway.topics import Route


@dataclass(frozen=True, slots=True)
class Declared:
    """Sequences that a gateway will not send (`records.unavailable`)."""

    lane: Lane
    epoch: bytes
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Batch:
    """The believed records of one message, and what follows from them: stored together or not at all.

    `verified_us` is the arrival until the caller of `Centre` writes in when the judgement was done.
    """

    gateway: str
    lane: Lane
    verified_us: int
    records: Sequence[Verified]
    declared: Sequence[Declared] = ()
    epochs: Sequence[Epoch] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the ledger found when it stored a batch. Indexes are those of the batch's records."""

    known: frozenset[int] = frozenset()  # repeated records: nothing was stored
    contradicting: frozenset[int] = frozenset()  # another record of the same identity is held: both are kept
    broken: Sequence[str] = ()  # identities of records that don't follow the held record before them
    repeats: Mapping[int, str] = field(default_factory=dict)  # the same happening, told before by this record
    began_us: Mapping[bytes, int] = field(default_factory=dict)  # when an epoch began, where a record's clock knew less


@dataclass(frozen=True, slots=True)
class Committed:
    """A batch that has been committed, and when."""

    batch: Batch
    outcome: Outcome
    committed_us: int


@dataclass(frozen=True, slots=True)
class Kept:
    """Records that are neither believed nor thrown away: their signer isn't known yet, or was revoked."""

    route: Route
    lane: Lane
    arrived_us: int
    records: Sequence[UnknownSigner] | Sequence[Unproven]


@dataclass(frozen=True, slots=True)
class KeptRecord:
    """One of them, read back."""

    route: Route
    lane: Lane
    arrived_us: int
    wire: bytes


@dataclass(frozen=True, slots=True)
class Seen:
    """A gateway by its newest state. `state` is the signed state as it came."""

    route: Route
    epoch: bytes
    number: int
    online: bool
    seen_us: int
    state: bytes


@dataclass(frozen=True, slots=True)
class Report:
    """A trouble, once for each (type, gateway, detail) however often it is met; `open` False where it has ended."""

    type: str
    gateway: str
    detail: str
    text: str
    open: bool = True


ReportType = Literal[
    "record.refused",
    "record.held",
    "record.tampered",
    "chain.broken",
    "records.missing",
    "records.undurable",
    "records.unavailable",
    "store.lost",
    "gateway.cloned",
    "gateway.offline",
    "link.failed",
    "receipts.unread",
    "device.lost",
    "battery.low",
    "power.lost",
    "threshold.exceeded",
    "radio.jammed",
    "port.lost",
    "storage.low",
    "storage.degraded",
    "signer.expired",
    "signer.revoked",
    "certificates.refused",
    "state.refused",
    "route.differs",
]


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive records of one chain: held, or declared unavailable."""

    gateway: str
    lane: Lane
    epoch: bytes
    held: bool
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that a centre has to know again after a start."""

    signers: Sequence[tuple[str, tuple[bytes, ...], int]]  # gateway, chain, a time for which it was proven
    spans: Sequence[Span]
    firsts: Sequence[Record]  # the first record of each chain, where it is held
    epochs: Sequence[tuple[str, Epoch]]
    seen: Sequence[Seen]
    unproven: Sequence[KeptRecord]
    reports: Sequence[Report]  # that have not ended
    held: Sequence[tuple[str, bytes]] = ()  # gateway and thumbprint of the unknown signers of what is held
    owed: Sequence[tuple[str, Lane, bytes]] = ()  # chains of which a gateway is owed a receipt


@dataclass(frozen=True, slots=True)
class Store:
    """Act: commit this batch, then tell the centre the outcome."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class Keep:
    """Act: keep these aside."""

    kept: Kept


@dataclass(frozen=True, slots=True)
class Learn:
    """Act: remember this signer, then hand the records kept for it to the centre again."""

    signer: Signer


@dataclass(frozen=True, slots=True)
class Remember:
    """Act: remember what the newest state says; its heads are compared with what is held."""

    seen: Seen
    epochs: Sequence[Epoch] = ()
    heads: Sequence[tuple[Lane, bytes, int, bytes]] = ()


Action = Store | Keep | Learn | Remember
