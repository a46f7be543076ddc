"""A command as C5 makes it, and a gateway's answer as C5 believes it (wire.md, section 3, "command").

1. A command is for one gateway in its present epoch, which the newest of its signed states says, where it is retained.
   A broker that shows an older one gets a rejection.
2. Signers prove themselves against the trust anchors, as the `certificates` message brings them.
3. A reply counts if it is signed by the gateway, under a certificate that is valid now, and names the command.

Values of arguments are texts, but for those that wire.md gives another type: in CBOR a lane is its number, an epoch its
8 bytes. A device's output has a number, a gateway's own output a name.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.c5.signers import Signers
from gateway.c5.verifier import verify_state
from gateway.errors import Refused
from gateway.event import LANES_BY_NAME
from gateway.signing import cose, message
from gateway.signing.chains import decode_chains
from gateway.signing.message import Reply, State
from gateway.signing.record import INT_MAX
from gateway.topics import Route

_NUMBER: Final = re.compile(r"[0-9]{1,16}")
_EPOCH: Final = re.compile(r"[0-9a-f]{16}")
_NUMBERS: Final = frozenset({"from", "to", "event_number", "seconds", "minutes"})
_ALARM: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}/[0-9a-f]{16}/alarm/[1-9][0-9]{0,15}")
STATUSES: Final = ("acknowledged", "dispatched", "resolved", "false-alarm")
OPERATOR_MAX: Final = 64
ARGUMENTS: Final[Mapping[str, tuple[str, ...]]] = {  # what each command takes; "?": it may be left out
    "ping": (),
    "alarm.acknowledge": ("record", "device", "event_number?", "status", "operator"),
    "records.resend": ("lane", "epoch", "from", "to"),
    "output.set": ("device?", "output", "on", "seconds?"),
    "device.identify": ("device", "seconds?"),
    "device.revoke": ("device",),
    "maintenance.begin": ("device?", "minutes", "reason"),
    "maintenance.end": ("device?",),
    "config.apply": ("toml",),
    "certificate.renew": (),
    "gateway.restart": (),
}


def read_arguments(pairs: Sequence[str]) -> dict[str, Any] | Refused:
    """Read KEY=VALUE pairs."""
    found: dict[str, Any] = {}
    of_device = any(pair.startswith("device=") for pair in pairs)
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not key or not equals or key in found:
            return Refused(f"{pair}: KEY=VALUE, each key once")
        value = text if key == "output" and not of_device else _value(key, text)
        if isinstance(value, Refused):
            return value
        found[key] = value
    return found


def _value(key: str, text: str) -> Any | Refused:
    if key in _NUMBERS:
        number = int(text) if _NUMBER.fullmatch(text) else INT_MAX + 1
        return number if number <= INT_MAX else Refused(f"{key}: a whole number")
    if key == "output" and _NUMBER.fullmatch(text):
        return int(text)
    if key == "lane":
        lane = LANES_BY_NAME.get(text)
        return Refused("lane: alarm, status or telemetry") if lane is None else int(lane)
    if key == "epoch":
        return bytes.fromhex(text) if _EPOCH.fullmatch(text) else Refused("epoch: 16 lower-case hex digits")
    if key == "on":
        return text == "true" if text in {"true", "false"} else Refused("on: true or false")
    return text


def odd_arguments(name: str, given: Mapping[str, Any]) -> str | None:
    """Say what a command lacks, what it doesn't take, or which of its values is none; None if all is well.

    A gateway ignores what it doesn't know: who mistypes `device` must not put a whole gateway under maintenance.
    """
    taken = ARGUMENTS.get(name)
    if taken is None:
        return f"there is no command {name}, but: {', '.join(ARGUMENTS)}"
    lacking = [key for key in taken if not key.endswith("?") and key not in given]
    unknown = [key for key in given if key not in taken and f"{key}?" not in taken]
    if lacking or unknown:
        wrong = [f"{', '.join(lacking)} missing"] * bool(lacking) + [f"{', '.join(unknown)} unknown"] * bool(unknown)
        return f"{name}: {', '.join(wrong)}; it takes {', '.join(taken) or 'nothing'}"
    return _odd_acknowledgement(given) if name == "alarm.acknowledge" else None


def _odd_acknowledgement(given: Mapping[str, Any]) -> str | None:
    operator, record = str(given["operator"]), str(given["record"])
    if given["status"] not in STATUSES:
        return f"status: one of {', '.join(STATUSES)}"
    if not (1 <= len(operator) <= OPERATOR_MAX and operator.isprintable()):
        return f"operator: a name of at most {OPERATOR_MAX} characters"
    if not _ALARM.fullmatch(record):
        return "record: an alarm's identity as c5-receiver watch shows it, gateway/epoch/alarm/sequence"
    return None


class Counterpart:
    """One gateway, as a commander sees it on a broker."""

    def __init__(self, gateway: str, signers: Signers) -> None:
        self._gateway = gateway
        self._signers = signers
        self._unproven: list[tuple[Route, bytes]] = []  # states that came before the certificates
        self.state: State | None = None  # the newest

    def certificates(self, payload: bytes, now_us: int) -> None:
        """Take what came in the gateway's topic of certificates; what isn't proven changes nothing."""
        chains = decode_chains(payload)
        for chain in chains if not isinstance(chains, Refused) else ():
            self._signers.offer(self._gateway, chain, now_us)
        unproven, self._unproven = self._unproven, []
        for route, wire in unproven:
            self.heard(route, wire, now_us)

    def heard(self, route: Route, wire: bytes, now_us: int) -> None:
        """Take what came in its topic of states: the newest counts, in the topic that it names itself (rule 1)."""
        state = verify_state(wire, self._gateway, self._find, now_us)
        if isinstance(state, Refused):
            self._unproven = [*self._unproven[-7:], (route, wire)]
        elif (state.agency, state.site) != (route.agency, route.site):
            return
        elif self.state is None or _order(state) >= _order(self.state):
            self.state = state

    @property
    def route(self) -> Route | None:
        """Where it is."""
        return Route(self.state.agency, self.state.site, self._gateway) if self.state else None

    def reply(self, wire: bytes, id_: bytes, now_us: int) -> Reply | Refused:
        """Return its reply to this command (rule 3)."""
        envelope = cose.parse(wire, "reply")
        if isinstance(envelope, Refused):
            return envelope
        signer = self._find(envelope.thumbprint)
        if signer is None or (signer.revoked_us is not None and now_us >= signer.revoked_us):
            return Refused("a reply whose signer is not known, or revoked")
        if not signer.not_before_us <= now_us <= signer.not_after_us or not signer.key.verify(envelope):
            return Refused("a signature that is wrong, or of a certificate that is not valid now")
        said = message.decode("reply", envelope.payload)
        if not isinstance(said, Reply) or said.gateway != self._gateway or said.id != id_:
            return Refused("not its reply to this command")
        return said

    def _find(self, thumbprint: bytes) -> Any:
        return self._signers.find(self._gateway, thumbprint)


def _order(state: State) -> tuple[int, int, int]:
    """Order states of one gateway: by start, then by number; "offline" ends what is before it."""
    return state.start_count, state.connection, state.number if state.online else 2**62


def shown(result: Mapping[Any, Any] | None) -> dict[str, Any]:
    """Return a reply's result as text and JSON can hold it."""
    return {str(key): value.hex() if isinstance(value, bytes) else value for key, value in (result or {}).items()}
