"""Whose word counts: the receivers and commanders of C5, as the settings and their certificates say.

The rules (wire.md, section 3):

1. A chain counts if it proves itself against the trust anchors, for the role and the name in whose topic it came.
2. A receipt or heartbeat counts if a receiver signed it whom the settings name, for this gateway.
3. A certificate is judged by the latest of our clock, our own certificates and our software's build: the caller says
   what time it is (`at`).

Not checked here: whether a receipt claims too much (`delivery.coverage`), and whether a heartbeat is newer than the
last (`delivery.link`).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from gateway.errors import Refused
from gateway.signing import message
from gateway.signing.certificate import Anchors, Identity, Revocations, judge
from gateway.signing.chains import decode_chain
from gateway.signing.cose import VerifyingKey, parse
from gateway.signing.message import Centre, Message, Receipt

KNOWN_MAX: Final = 64  # certificates of receivers and commanders; more are a mistake or an attack


class Speakers:
    """Who at C5 may speak to this gateway."""

    def __init__(
        self, gateway: str, anchors: Anchors, receivers: Sequence[str], revocations: Revocations | None = None
    ) -> None:
        self._gateway = gateway
        self._anchors = anchors
        self._receivers = frozenset(receivers)
        self._revocations = revocations
        self._known: dict[bytes, tuple[Identity, VerifyingKey]] = {}
        self._later: dict[str, bytes] = {}  # chains by name that were not believed, to be judged again when needed

    def introduce(self, name: str, payload: bytes, at: datetime) -> Identity | Refused:
        """Take the chain that came in the topic of this name (rule 1)."""
        chain = decode_chain(payload)
        if isinstance(chain, Refused):
            return chain
        judged = judge(chain, self._anchors, at, self._revocations)
        if isinstance(judged, Refused):
            if len(self._later) < KNOWN_MAX or name in self._later:  # our clock may be the one that is wrong
                self._later[name] = payload
            return judged
        if judged.role == "gateway" or judged.name != name:
            return Refused(f"the certificate of the {judged.role} {judged.name} in the topic of {name}")
        if len(self._known) >= KNOWN_MAX:
            self._known.pop(next(iter(self._known)))
        self._known[judged.thumbprint] = (judged, VerifyingKey(judged.certificate.public_key()))
        return judged

    def receipt(self, wire: bytes, at: datetime) -> Receipt | Refused:
        """Return a receipt that counts (rule 2)."""
        said = self._open(wire, "receipt", at)
        if isinstance(said, Receipt) and said.gateway != self._gateway:
            return Refused("a receipt for another gateway")
        assert isinstance(said, Receipt | Refused)
        return said

    def heartbeat(self, wire: bytes, at: datetime) -> Centre | Refused:
        """Return a heartbeat that counts (rule 2)."""
        said = self._open(wire, "centre", at)
        assert isinstance(said, Centre | Refused)
        return said

    def _open(self, wire: bytes, kind: str, at: datetime) -> Message | Refused:
        envelope = parse(wire, kind)
        if isinstance(envelope, Refused):
            return envelope
        if envelope.thumbprint not in self._known:
            for name, payload in self._later.copy().items():
                if not isinstance(self.introduce(name, payload, at), Refused):
                    del self._later[name]
        known = self._known.get(envelope.thumbprint)
        if known is None:
            return Refused("signed under a certificate that is not known")
        identity, key = known
        if not key.verify(envelope):
            return Refused("a signature that is not its signer's")
        if identity.role != "receiver":
            return Refused(f"signed by the {identity.role} {identity.name}, which is no receiver")
        if "*" not in self._receivers and identity.name not in self._receivers:
            return Refused(f"signed by {identity.name}, which the settings don't name (delivery.receivers)")
        if not identity.not_before <= at <= identity.not_after:
            return Refused(f"signed under a certificate that is not valid now ({identity.not_after:%Y-%m-%d})")
        said = message.decode(kind, envelope.payload)
        if isinstance(said, Centre) and said.name != identity.name:
            return Refused("a heartbeat in another's name")
        return said
