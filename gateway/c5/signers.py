"""The gateways' certificates that C5 knows, each proven against the trust anchors (wire.md, section 3).

The rules:

1. A chain counts for the gateway in whose topic it came, if it proves the role `gateway` and that name.
2. A thumbprint is a hint: it finds a signer among those of one gateway, and never says which gateway it is.
3. A chain that isn't valid now may have been when its records occurred: it is kept as a candidate, and judged anew for
   the time of a record that names it.
4. A revoked certificate stays known, with the time of the revocation: `verifier` says what that means for a record.

Not checked here: whether the certificate was valid when something was signed (`verifier`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from gateway.errors import Refused
from gateway.signing.certificate import Anchors, Identity, Revocations, Revoked, judge, thumbprint
from gateway.signing.cose import VerifyingKey

CANDIDATES: Final = 1024  # chains kept for rule 3, over all gateways; the oldest gives way
KNOWN_OF_ONE: Final = 64  # certificates of one gateway; a year of weekly ones
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(at: datetime) -> int:
    """Return microseconds since 1970."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def _moment(us: int) -> datetime | None:
    """Return the time of that many microseconds since 1970; None where no calendar holds it."""
    try:
        return _EPOCH + timedelta(microseconds=us)
    except OverflowError:
        return None


@dataclass(frozen=True, slots=True)
class Signer:
    """A gateway's signing certificate. Times are microseconds since 1970; the whole path is valid between the two."""

    gateway: str
    thumbprint: bytes
    key: VerifyingKey
    not_before_us: int
    not_after_us: int
    revoked_us: int | None
    chain: tuple[bytes, ...]
    judged_us: int  # a time for which the chain was proven


class Signers:
    """All gateways' signing certificates."""

    def __init__(self, anchors: Anchors, revocations: Revocations | None = None) -> None:
        self._anchors = anchors
        self._revocations = revocations
        self._known: dict[str, dict[bytes, Signer]] = {}
        self._candidates: dict[tuple[str, bytes], tuple[bytes, ...]] = {}

    def find(self, gateway: str, thumbprint: bytes) -> Signer | None:
        """Return that gateway's signer (rule 2)."""
        return self._known.get(gateway, {}).get(thumbprint)

    def offer(self, gateway: str, chain: Sequence[bytes], at_us: int) -> Signer | Refused:
        """Take in a chain that came for this gateway, if it is proven for that time (rule 1)."""
        judged = self._judge(gateway, tuple(chain), at_us)
        if isinstance(judged, Refused):
            if chain:
                self._candidates.pop(key := (gateway, thumbprint(chain[0])), None)
                self._candidates[key] = tuple(chain)
                if len(self._candidates) > CANDIDATES:
                    del self._candidates[next(iter(self._candidates))]
            return judged
        known = self._known.setdefault(gateway, {})
        if len(known) >= KNOWN_OF_ONE and judged.thumbprint not in known:
            return Refused("more certificates of one gateway than are kept")
        known[judged.thumbprint] = judged
        return judged

    def reconsider(self, gateway: str, thumbprint: bytes, at_us: int) -> Signer | None:
        """Judge a chain that is no longer valid for the time of a record that names it (rule 3)."""
        chain = self._candidates.get((gateway, thumbprint))
        judged = self.offer(gateway, chain, at_us) if chain else None
        if not isinstance(judged, Signer):
            return None
        del self._candidates[gateway, thumbprint]
        return judged

    def revoke(self, revocations: Revocations) -> list[Signer]:
        """Take in a newer revocation list; return the signers that it changes (rule 4)."""
        self._revocations = revocations
        changed: list[Signer] = []
        for gateway, known in self._known.items():
            for name, signer in list(known.items()):
                judged = self._judge(gateway, signer.chain, signer.judged_us)
                if isinstance(judged, Signer) and judged.revoked_us != signer.revoked_us:
                    known[name] = judged
                    changed.append(judged)
        return changed

    def _judge(self, gateway: str, chain: tuple[bytes, ...], at_us: int) -> Signer | Refused:
        at = _moment(at_us)
        if at is None:
            return Refused("a time that no calendar holds")
        judged = judge(chain, self._anchors, at, self._revocations)
        revoked_us = None
        if isinstance(judged, Revoked):
            revoked_us = microseconds(judged.since)
            judged = judged.identity
        if not isinstance(judged, Identity):
            return judged
        if judged.role != "gateway":
            return Refused(f"a {judged.role}'s certificate where a gateway's belongs")
        if judged.name != gateway:
            return Refused("another gateway's certificate")
        return Signer(
            gateway,
            judged.thumbprint,
            VerifyingKey(judged.certificate.public_key()),
            microseconds(judged.not_before),
            microseconds(judged.not_after),
            revoked_us,
            chain,
            at_us,
        )
