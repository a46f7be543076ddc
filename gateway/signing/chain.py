"""A lane's chain: each record's place and its link to the one before, made at the moment it is signed.

Source: wire.md, section 2 "Lanes", "Epochs".
"""

import hashlib
from dataclasses import dataclass

from gateway.event import Event, Lane, Position
from gateway.signing import record
from gateway.signing.cose import RECORD_MAX, Signer
from gateway.signing.message import Head
from gateway.signing.record import ZEROS, Clock, Record


@dataclass(frozen=True, slots=True)
class Signed:
    """A record with its whole COSE_Sign1 and that one's SHA-256."""

    record: Record
    wire: bytes
    digest: bytes


class Chain:
    """One lane of one epoch; `before` is the lane's last durable record of an earlier epoch."""

    def __init__(self, gateway: str, epoch: bytes, lane: Lane, before: Head | None, signer: Signer) -> None:
        self._gateway = gateway
        self._epoch = epoch
        self._lane = lane
        self._signer = signer
        self._before = before
        self._sequence = 0
        self._digest = ZEROS if before is None else before.digest

    @property
    def sequence(self) -> int:
        """The last sequence signed in this epoch; 0 if none was."""
        return self._sequence

    @property
    def head(self) -> Head | None:
        """The lane's last record, of whatever epoch."""
        return Head(self._epoch, self._sequence, self._digest) if self._sequence else self._before

    def sign(self, event: Event, occurred_us: int, clock: Clock, position: Position | None) -> Signed:
        """Make the next record; the caller bounds the data to what 4 KiB hold."""
        first = self._sequence == 0 and self._before is not None
        made = Record(
            gateway=self._gateway,
            epoch=self._epoch,
            lane=self._lane,
            sequence=self._sequence + 1,
            previous=self._digest,
            link=(self._before.epoch, self._before.sequence) if first and self._before is not None else None,
            occurred_us=occurred_us,
            clock=clock,
            type=event.type,
            source=event.source,
            event_number=event.event_number,
            position=event.position or position,
            data=event.data,
            flags=event.flags,
        )
        payload = record.encode(made)
        assert len(payload) < RECORD_MAX - 256, (event.type, len(payload))
        wire = self._signer.sign("record", payload)
        self._sequence += 1
        self._digest = hashlib.sha256(wire).digest()
        return Signed(made, wire, self._digest)
