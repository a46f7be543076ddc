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
6. Signed under a certificate that was revoked before it arrived: unproven, until a later record vouches for it.

One bad record doesn't refuse the others. Nothing here raises on input, and nothing is remembered.

Not checked here: sequences, gaps and hashes over the ends of a message (`chains`, `ledger`), whether another record has
the same identity (`ledger`), epochs (`epochs`), and whether agency and site of the topic are right (they are routing).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from gateway.c5.signers import Signer
from gateway.errors import Refused
from gateway.event import Lane
from gateway.signing import message, record
from gateway.signing.cose import Envelope, parse
from gateway.signing.record import SYNCHRONISED, Record

Find = Callable[[bytes], Signer | None]  # a thumbprint → that gateway's signer


@dataclass(frozen=True, slots=True)
class Verified:
    """A record that C5 believes. `digest` is the SHA-256 of its whole COSE_Sign1."""

    record: Record
    envelope: Envelope
    digest: bytes
    expired: bool = False  # the signer's certificate has expired since


@dataclass(frozen=True, slots=True)
class Unproven:
    """A record signed under a certificate that had been revoked by the time it arrived (rule 6)."""

    record: Record
    envelope: Envelope
    digest: bytes


@dataclass(frozen=True, slots=True)
class UnknownSigner:
    """A record of the right form, by nobody known yet: to be held (rule 3)."""

    record: Record
    envelope: Envelope
    digest: bytes


@dataclass(frozen=True, slots=True)
class SignerUnknown(Refused):
    """A state that may be right once its signer is known."""


Verdict = Verified | Unproven | UnknownSigner | Refused


@dataclass(slots=True)
class _Candidate:
    at: int  # its place in the message
    record: Record
    envelope: Envelope
    digest: bytes
    signer: Signer


def verify(items: Sequence[bytes], gateway: str, lane: Lane, find: Find, arrived_us: int) -> list[Verdict]:
    """Judge the records of one message that came in this gateway's topic of this lane; one verdict for each."""
    verdicts: list[Verdict] = [Refused("not judged")] * len(items)
    candidates: list[_Candidate] = []
    for at, wire in enumerate(items):
        read = _read(wire, gateway, lane)
        if isinstance(read, Refused):
            verdicts[at] = read
            continue
        content, envelope = read
        signer = find(envelope.thumbprint)
        if signer is None:
            verdicts[at] = UnknownSigner(content, envelope, envelope.digest)
        elif problem := _invalid(signer, content, arrived_us):
            verdicts[at] = problem
        else:
            candidates.append(_Candidate(at, content, envelope, envelope.digest, signer))
    for run in _runs(candidates, lane):
        proven = False
        for candidate in reversed(run):  # rule 5
            proven = proven or candidate.signer.key.verify(candidate.envelope)
            verdicts[candidate.at] = _verdict(candidate, arrived_us) if proven else Refused("a signature that is wrong")
    return verdicts


def _read(wire: bytes, gateway: str, lane: Lane) -> tuple[Record, Envelope] | Refused:
    envelope = parse(wire, "record")  # rule 1
    if isinstance(envelope, Refused):
        return envelope
    content = record.decode(envelope.payload)
    if isinstance(content, Refused):
        return content
    if content.gateway != gateway:  # rule 2
        return Refused("a record of another gateway than its topic's")
    if content.lane != lane:
        return Refused("a record of another lane than its topic's")
    return content, envelope


def _invalid(signer: Signer, content: Record, arrived_us: int) -> Refused | None:
    """Apply rule 4."""
    judged_us = content.occurred_us if content.clock.source in SYNCHRONISED else arrived_us
    if signer.not_before_us <= judged_us <= signer.not_after_us:
        return None
    return Refused("a signer that wasn't valid when the record occurred")


def _runs(candidates: list[_Candidate], lane: Lane) -> list[list[_Candidate]]:
    """Cut into runs that one signature vouches for (rule 5)."""
    if lane == Lane.ALARM or not candidates:
        return [[candidate] for candidate in candidates]
    runs = [[candidates[0]]]
    for before, after in pairwise(candidates):
        if (
            after.record.previous == before.digest
            and after.record.sequence == before.record.sequence + 1
            and after.record.epoch == before.record.epoch
            and after.signer is before.signer
        ):
            runs[-1].append(after)
        else:
            runs.append([after])
    return runs


def _verdict(candidate: _Candidate, arrived_us: int) -> Verified | Unproven:
    signer = candidate.signer
    if signer.revoked_us is not None and arrived_us >= signer.revoked_us:  # rule 6
        return Unproven(candidate.record, candidate.envelope, candidate.digest)
    expired = arrived_us > signer.not_after_us
    return Verified(candidate.record, candidate.envelope, candidate.digest, expired)


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
