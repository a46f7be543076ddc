"""Whose word counts: the receivers and commanders of C5, as the settings and their certificates say.

The rules (wire.md, section 3):

1. A chain counts if it proves itself against the trust anchors, for the role and the name in whose topic it came.
2. A receipt or heartbeat counts if a receiver signed it whom the settings name, for this gateway.
3. A certificate is judged by the latest of our clock, our own certificates and our software's build: the caller says
   what time it is (`at`).
4. A command is heard if its signer's chain counts (rule 1), whoever that is: he gets a reply. It is obeyed if he is a
   commander whom the settings name, and it is for this gateway, of its present epoch, and not expired. As long as the
   clock hasn't been synchronised in this epoch, by others than satellites, expiry isn't judged; the epoch is.

Not checked here: whether a receipt claims too much (`delivery.coverage`), whether a heartbeat is newer than the last
(`delivery.link`), and whether a command was obeyed before (`control.replies`).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gateway.errors import Refused
from gateway.signing import message
from gateway.signing.certificate import Anchors, Identity, Revocations, judge
from gateway.signing.chains import decode_chain
from gateway.signing.cose import VerifyingKey, parse
from gateway.signing.message import Centre, Command, Message, Receipt

KNOWN_MAX: Final = 64  # certificates of receivers and commanders; more are a mistake or an attack
JUDGED_AGAIN: Final = timedelta(seconds=5)  # by which our clock must have moved: rubbish costs us no judgements


@dataclass(frozen=True, slots=True)
class Spoken:
    """A command that is validly signed, and by whom. Whether it is to be obeyed, `refusal` says."""

    command: Command
    by: Identity


@dataclass(frozen=True, slots=True)
class Rules:
    """What a command must agree with (rule 4). `commanders` are those whom the settings name."""

    gateway: str
    epoch: bytes
    commanders: Collection[str]

    def entitled(self, by: Identity) -> bool:
        """Whether this is somebody whom the gateway obeys."""
        return by.role == "commander" and by.name in self.commanders

    def refusal(self, spoken: Spoken, now_us: int | None) -> str | None:
        """Return why a command is not obeyed; None if it is. `now_us` is None until the clock has been synchronised."""
        command, by = spoken.command, spoken.by
        if by.role != "commander":
            return f"signed by the {by.role} {by.name}, which is no commander"
        if by.name not in self.commanders:
            return f"signed by {by.name}, which the settings don't name (delivery.commanders)"
        if command.gateway != self.gateway:
            return "for another gateway"
        if command.epoch != self.epoch:
            return "of another epoch than the present one"
        if now_us is not None and now_us > command.expires_us:
            return "expired"
        return None


@dataclass(frozen=True, slots=True)
class Receipted:
    """A receipt that counts, and the receiver who signed it."""

    receipt: Receipt
    by: str


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
        self._later: dict[str, tuple[bytes, datetime]] = {}  # chains by name that were not believed, and at what time

    def introduce(self, name: str, payload: bytes, at: datetime) -> Identity | Refused:
        """Take the chain that came in the topic of this name (rule 1)."""
        chain = decode_chain(payload)
        if isinstance(chain, Refused):
            return chain
        judged = judge(chain, self._anchors, at, self._revocations)
        if isinstance(judged, Refused):
            if len(self._later) < KNOWN_MAX or name in self._later:  # our clock may be the one that is wrong
                self._later[name] = (payload, at)
            return judged
        if judged.role == "gateway" or judged.name != name:
            return Refused(f"the certificate of the {judged.role} {judged.name} in the topic of {name}")
        if len(self._known) >= KNOWN_MAX:
            self._known.pop(next(iter(self._known)))
        self._known[judged.thumbprint] = (judged, VerifyingKey(judged.certificate.public_key()))
        return judged

    def receipt(self, wire: bytes, at: datetime) -> Receipted | Refused:
        """Return a receipt that counts (rule 2)."""
        opened = self._receiver(wire, "receipt", at)
        if isinstance(opened, Refused):
            return opened
        identity, said = opened
        assert isinstance(said, Receipt)
        if said.gateway != self._gateway:
            return Refused("a receipt for another gateway")
        return Receipted(said, identity.name)

    def heartbeat(self, wire: bytes, at: datetime) -> Centre | Refused:
        """Return a heartbeat that counts (rule 2)."""
        opened = self._receiver(wire, "centre", at)
        if isinstance(opened, Refused):
            return opened
        identity, said = opened
        assert isinstance(said, Centre)
        return said if said.name == identity.name else Refused("a heartbeat in another's name")

    def command(self, wire: bytes, at: datetime) -> Spoken | Refused:
        """Return a command that is heard (rule 4)."""
        opened = self._open(wire, "command", at)
        if isinstance(opened, Refused):
            return opened
        identity, said = opened
        assert isinstance(said, Command)
        return Spoken(said, identity)

    def _receiver(self, wire: bytes, kind: str, at: datetime) -> tuple[Identity, Message] | Refused:
        opened = self._open(wire, kind, at)
        if isinstance(opened, Refused):
            return opened
        identity = opened[0]
        if identity.role != "receiver":
            return Refused(f"signed by the {identity.role} {identity.name}, which is no receiver")
        if "*" not in self._receivers and identity.name not in self._receivers:
            return Refused(f"signed by {identity.name}, which the settings don't name (delivery.receivers)")
        return opened

    def _open(self, wire: bytes, kind: str, at: datetime) -> tuple[Identity, Message] | Refused:
        """Return what is validly signed by somebody whose chain counts, and by whom."""
        envelope = parse(wire, kind)
        if isinstance(envelope, Refused):
            return envelope
        if envelope.thumbprint not in self._known:
            for name, (payload, judged_at) in self._later.copy().items():
                again = abs(at - judged_at) >= JUDGED_AGAIN
                if again and not isinstance(self.introduce(name, payload, at), Refused):
                    del self._later[name]
        known = self._known.get(envelope.thumbprint)
        if known is None:
            return Refused("signed under a certificate that is not known")
        identity, key = known
        if not key.verify(envelope):
            return Refused("a signature that is not its signer's")
        if not identity.not_before <= at <= identity.not_after:
            return Refused(f"signed under a certificate that is not valid now ({identity.not_after:%Y-%m-%d})")
        said = message.decode(kind, envelope.payload)
        return said if isinstance(said, Refused) else (identity, said)
