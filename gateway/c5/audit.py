"""Records in a file, proven one by one: by anybody who has the trust anchors, long after they were sent.

The rules are the verifier's, but that no topic binds a record: its gateway is its signer's. Each signature is checked
alone. A record that is in the file beside the one before it must name its hash. Records that the file doesn't have are
counted and are not wrong: an export has what the gateway still held.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.c5.signers import Signer, Signers
from gateway.c5.verifier import UnknownSigner, Unproven, Verified, verify
from gateway.errors import Refused
from gateway.event import LANE_NAMES, Lane
from gateway.ranges import RangeSet
from gateway.signing import cose, record
from gateway.signing.certificate import thumbprint
from gateway.signing.record import SYNCHRONISED


@dataclass(slots=True)
class Findings:
    """What an audit found; `wrong` has a line for each thing that is not right."""

    proven: int = 0
    expired: int = 0
    missing: int = 0
    wrong: list[str] = field(default_factory=list)


def audit(items: Sequence[bytes], chains: Iterable[Sequence[bytes]], signers: Signers, now_us: int) -> Findings:
    """Judge the items of a CBOR sequence. `chains` are certificates that may have signed them."""
    by_thumbprint = {thumbprint(chain[0]): tuple(chain) for chain in chains if chain}
    findings = Findings()
    proven: dict[tuple[str, bytes, Lane], dict[int, Verified]] = {}
    for place, wire in enumerate(items, 1):
        judged = _judge(wire, by_thumbprint, signers, now_us)
        if isinstance(judged, Refused):
            findings.wrong.append(f"item {place}: {judged.reason}")
            continue
        content = judged.record
        chain = proven.setdefault((content.gateway, content.epoch, content.lane), {})
        other = chain.setdefault(content.sequence, judged)
        if other.envelope.payload != judged.envelope.payload:
            findings.wrong.append(f"{content.identity}: two different records")
        findings.proven += 1
        findings.expired += judged.expired
    for (gateway, epoch, lane), chain in proven.items():
        held = RangeSet((sequence, sequence) for sequence in chain)
        findings.missing += sum(last - first + 1 for first, last in held.missing(min(chain), max(chain)))
        for sequence, verified in chain.items():
            before = chain.get(sequence - 1)
            if before is not None and verified.record.previous != before.digest:
                identity = f"{gateway}/{epoch.hex()}/{LANE_NAMES[lane]}/{sequence}"
                findings.wrong.append(f"{identity}: doesn't follow the record before it")
    return findings


def _judge(wire: bytes, chains: Mapping[bytes, tuple[bytes, ...]], signers: Signers, now_us: int) -> Verified | Refused:
    envelope = cose.parse(wire, "record")
    content = record.decode(envelope.payload) if isinstance(envelope, cose.Envelope) else envelope
    if isinstance(content, Refused) or isinstance(envelope, Refused):
        return content if isinstance(content, Refused) else Refused("not a record")
    gateway = content.gateway

    def find(name: bytes) -> Signer | None:
        known = signers.find(gateway, name)
        if known is not None or name not in chains:
            return known
        at_us = content.occurred_us if content.clock.source in SYNCHRONISED else now_us
        offered = signers.offer(gateway, chains[name], at_us)
        return offered if isinstance(offered, Signer) else None

    (verdict,) = verify([wire], gateway, content.lane, find, now_us)
    match verdict:
        case Verified() | Refused():
            return verdict
        case Unproven():
            return Refused("its signer was revoked")
        case UnknownSigner():
            return Refused(f"its signer is not known (thumbprint {envelope.thumbprint.hex()})")
