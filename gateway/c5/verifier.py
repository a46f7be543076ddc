"""What C5 believes of a message from a gateway: strict, record by record, at the price of one signature for a run.

The rules (wire.md, sections 2 and 3), in the order in which they are applied to each record of a message:

1. It is a COSE_Sign1 in the one form allowed, and its payload a record ("Record"; checked by `signing`).
2. Its gateway (key 1) is the topic's, its lane (key 3) the topic's ("Bindings").
3. Its signer is one of that gateway's. A signer that isn't known yet: the record is held ("Certificates").
4. The signer was valid when the record occurred, or at arrival where the record's clock is not synchronised. Expired
   since: accepted and flagged.
5. It is signed. On the status and telemetry lanes one signature vouches for the run before it: consecutive records of
   one epoch and signer, each naming the hash of the one before ("One signature vouches for a run"). Where the last
   signature of a run fails, the one before it is tried, so that a bad record refuses itself alone. Alarms one by one.
   What a hash vouches for has its bytes fixed, so that its form is not looked at again: only the last of a run, and
   each alarm, is encoded anew to see that it is deterministic. A message that is one such run in usual form is read in
   one pass (`signing.run`); every other message, and one of which anything is to be refused, record by record.
6. Signed under a certificate that was revoked before it arrived: unproven, until a later record vouches for it.

One bad record doesn't refuse the others. Nothing here raises on input, and nothing is remembered.

Not checked here: sequences, gaps and hashes over the ends of a message (`chains`, `ledger`), whether another record has
the same identity (`ledger`), epochs (`epochs`), and whether agency and site of the topic are right (they are routing).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, overload

from gateway.c5.signers import Signer
from gateway.errors import Refused
from gateway.event import Lane
from gateway.signing import message, run
from gateway.signing.cose import Envelope, parse
from gateway.signing.deterministic import is_deterministic
from gateway.signing.record import SYNCHRONISED, Record, decode

NOT_JUDGED: Final = Refused("not judged")
Find = Callable[[bytes], Signer | None]  # a thumbprint → that gateway's signer


class Verified(NamedTuple):  # tuples: a receiver makes one for each record of a flood
    """A record that C5 believes. `digest` is the SHA-256 of its whole COSE_Sign1."""

    record: Record
    envelope: Envelope
    digest: bytes
    expired: bool = False  # the signer's certificate has expired since


class Unproven(NamedTuple):
    """A record signed under a certificate that had been revoked by the time it arrived (rule 6)."""

    record: Record
    envelope: Envelope
    digest: bytes


class UnknownSigner(NamedTuple):
    """A record of the right form, by nobody known yet: to be held (rule 3)."""

    record: Record
    envelope: Envelope
    digest: bytes


@dataclass(frozen=True, slots=True)
class SignerUnknown(Refused):
    """A state that may be right once its signer is known."""


Verdict = Verified | Unproven | UnknownSigner | Refused


class _Candidate(NamedTuple):
    at: int  # its place in the message
    record: Record
    envelope: Envelope
    digest: bytes
    signer: Signer


class VerifiedRun(Sequence[Verified]):
    """The records of a run that C5 believes; each is read whole when it is looked at (most never are)."""

    def __init__(self, columns: run.Run, *, expired: bool) -> None:
        self.columns = columns
        self.expired = expired

    def __len__(self) -> int:
        return len(self.columns.wires)

    @overload
    def __getitem__(self, at: int) -> Verified: ...
    @overload
    def __getitem__(self, at: slice) -> list[Verified]: ...
    def __getitem__(self, at: int | slice) -> Verified | list[Verified]:
        if isinstance(at, slice):
            return [self[index] for index in range(*at.indices(len(self)))]
        columns = self.columns
        return Verified(columns.record(at), columns.envelope(at), columns.digests[at], self.expired)


def verify_run(payloads: Sequence[bytes], gateway: str, lane: Lane, find: Find, arrived_us: int) -> VerifiedRun | None:
    """Believe all records of these telemetry messages of one topic, if they are one run in usual form; else None.

    None says that some record needs a look (`verify`). The caller bounds the messages.
    """
    if lane != Lane.TELEMETRY or (found := run.read(payloads)) is None:
        return None
    last = found.envelope(-1)
    signer = find(last.thumbprint)
    if (found.gateway, found.lane) != (gateway, lane) or signer is None:  # rules 2 and 3
        return None
    judged_us = [  # rule 4
        occurred_us if clock[0] in SYNCHRONISED else arrived_us
        for occurred_us, clock in zip(found.occurred_us, found.clocks, strict=True)
    ]
    if not signer.not_before_us <= min(judged_us) <= max(judged_us) <= signer.not_after_us:
        return None
    if signer.revoked_us is not None and arrived_us >= signer.revoked_us:  # rule 6
        return None
    if not (is_deterministic(last.payload) and signer.key.verify(last)):  # rule 5
        return None
    return VerifiedRun(found, expired=arrived_us > signer.not_after_us)


def verify(items: Sequence[bytes], gateway: str, lane: Lane, find: Find, arrived_us: int) -> list[Verdict]:
    """Judge records, one by one, of a message that came in this gateway's topic of this lane; a verdict for each."""
    verdicts: list[Verdict] = []
    runs: list[list[_Candidate]] = []
    before: _Candidate | None = None
    signer: Signer | None = None
    thumbprint = b""
    for at, wire in enumerate(items):
        envelope = parse(wire, "record")  # rule 1
        content = decode(envelope.payload, strict=lane == Lane.ALARM) if isinstance(envelope, Envelope) else envelope
        if isinstance(content, Refused) or isinstance(envelope, Refused):
            verdicts.append(content if isinstance(content, Refused) else NOT_JUDGED)
            continue
        if envelope.thumbprint != thumbprint:
            thumbprint = envelope.thumbprint
            signer = find(thumbprint)
        if content.gateway != gateway:  # rule 2
            verdicts.append(Refused("a record of another gateway than its topic's"))
        elif content.lane != lane:
            verdicts.append(Refused("a record of another lane than its topic's"))
        elif signer is None:  # rule 3
            verdicts.append(UnknownSigner(content, envelope, envelope.digest))
        elif not _valid(signer, content, arrived_us):  # rule 4
            verdicts.append(Refused("a signer that wasn't valid when the record occurred"))
        else:
            verdicts.append(NOT_JUDGED)
            after = _Candidate(at, content, envelope, envelope.digest, signer)
            if before is not None and lane != Lane.ALARM and _vouches(after, before):
                runs[-1].append(after)
            else:
                runs.append([after])
            before = after
    for candidates in runs:
        _prove(candidates, verdicts, arrived_us, strict=lane == Lane.ALARM)
    return verdicts


def _valid(signer: Signer, content: Record, arrived_us: int) -> bool:
    judged_us = content.occurred_us if content.clock.source in SYNCHRONISED else arrived_us
    return signer.not_before_us <= judged_us <= signer.not_after_us


def _vouches(after: _Candidate, before: _Candidate) -> bool:
    """Whether the signature of one record vouches for the one before it in the message."""
    later, earlier = after.record, before.record
    return (
        later.previous == before.digest
        and later.sequence == earlier.sequence + 1
        and later.epoch == earlier.epoch
        and after.signer is before.signer
    )


def _prove(candidates: list[_Candidate], verdicts: list[Verdict], arrived_us: int, *, strict: bool) -> None:
    """Check the last signature of a run, and the one before it only where that fails (rule 5).

    `strict`: these were found to be deterministic when they were read.
    """
    signer = candidates[0].signer
    revoked = signer.revoked_us is not None and arrived_us >= signer.revoked_us  # rule 6
    expired = arrived_us > signer.not_after_us
    proven = False
    for at, content, envelope, digest, _signer in reversed(candidates):
        if not proven and not strict and not is_deterministic(envelope.payload):
            verdicts[at] = Refused("not deterministic CBOR")
        elif not proven and not (proven := signer.key.verify(envelope)):
            verdicts[at] = Refused("a signature that is wrong")
        elif revoked:
            verdicts[at] = Unproven(content, envelope, digest)
        else:
            verdicts[at] = Verified(content, envelope, digest, expired)


def verify_state(wire: bytes, gateway: str, find: Find, arrived_us: int) -> message.State | Refused:
    """Judge a state that came in this gateway's topic: bound to it, signed, by a signer valid at arrival."""
    envelope = parse(wire, "state")
    if isinstance(envelope, Refused):
        return envelope
    content = message.decode("state", envelope.payload)
    if not isinstance(content, message.State):
        return content if isinstance(content, Refused) else Refused("not a state")
    if content.gateway != gateway:
        return Refused("a state of another gateway than its topic's")
    signer = find(envelope.thumbprint)
    if signer is None:
        return SignerUnknown("a state whose signer is not known")
    if signer.revoked_us is not None and arrived_us >= signer.revoked_us:
        return Refused("a state under a revoked certificate")
    if not signer.not_before_us <= arrived_us <= signer.not_after_us:
        return Refused("a state under a certificate that is not valid now")
    if not signer.key.verify(envelope):
        return Refused("a signature that is wrong")
    return content
