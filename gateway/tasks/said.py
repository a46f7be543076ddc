"""What the uplink says of this gateway and of its link: states, attributes, explanations."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from gateway import __version__
from gateway.event import Lane
from gateway.signing import message, record
from gateway.signing.cose import Envelope, Signer, parse
from gateway.signing.message import Head, State
from gateway.signing.record import Record
from gateway.text import _
from gateway.topics import Route

RECORD_TYPE: Final = 'application/cose; cose-type="cose-sign1"'
SEQUENCE_TYPE: Final = "application/cbor-seq"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Self:
    """Who this gateway is, in this epoch."""

    route: Route
    epoch: bytes
    ordinal: int
    start_count: int
    signer: Signer
    certificates: bytes  # the `certificates` message
    not_before: datetime  # of our own certificate: no later clock is wrong by more
    interval: int  # seconds between two states
    health: Callable[[], Mapping[str, Any]] = dict  # what a state says of how the gateway is


def signed_state(own: Self, now_us: int, heads: Mapping[Lane, Head] | None, number: int, connection: int) -> bytes:
    """Return the state of a gateway that is online, or, without heads, offline."""
    state = State(
        gateway=own.route.gateway,
        epoch=own.epoch,
        online=heads is not None,
        time_us=now_us,
        heads=heads,
        version=__version__,
        interval=own.interval,
        start_count=own.start_count,
        number=number,
        connection=connection,
        agency=own.route.agency,
        site=own.route.site,
        health=(own.health() or None) if heads is not None else None,
    )
    return own.signer.sign("state", message.encode(state))


def cloud_event(wire: bytes) -> tuple[tuple[str, str], ...]:
    """Return the CloudEvents 1.0 attributes of a record of ours: a hint for routing, never to be believed."""
    envelope = parse(wire, "record")
    assert isinstance(envelope, Envelope)
    said = record.decode(envelope.payload)
    assert isinstance(said, Record)
    occurred = _EPOCH + timedelta(microseconds=said.occurred_us)
    return (
        ("specversion", "1.0"),
        ("id", said.identity),
        ("source", f"urn:c5:gateway:{said.gateway}"),
        ("type", said.type),
        ("time", occurred.isoformat()),
        ("subject", said.source),
    )


def bounded(broker: str, reason: str) -> dict[str, str]:
    """Return the data of a `link.failed`, short enough for a record."""
    return {"broker": broker[:300], "reason": reason[:500]}


def explain_silence(seconds: float) -> str:
    """Say that nobody at C5 is heard."""
    return _("C5 has not been heard for {seconds:.0f} s, although the broker is up").format(seconds=seconds)


def explain_unreceipted(seconds: int, topic: str) -> str:
    """Say that alarms leave and nothing comes back."""
    return _(
        "an alarm has had no receipt for {seconds} s: alarms reach the broker, and no receipt comes back. The access "
        "list must let this gateway read {topic}, or the receiver can't write it"
    ).format(seconds=seconds, topic=topic)


def explain_nobody(topic: str) -> str:
    """Say that the broker has nobody to give records to."""
    return _(
        "nobody is subscribed to {topic} at the broker (no matching subscribers): C5 is not connected to it, or may "
        "not read there, and nothing counts as delivered. Tell C5."
    ).format(topic=topic)


def explain_refusal(topic: str, code: int) -> str:
    """Say what a broker's reason code means to a technician."""
    match code:
        case 0x87:
            return _(
                "the broker doesn't allow {topic} (not authorised): nothing of it reaches C5. "
                "Its access list must allow it to the name in this gateway's certificate."
            ).format(topic=topic)
        case 0x90:
            return _(
                "the broker doesn't take the topic {topic} (invalid name): it must allow every topic below c5/v1. "
                "Ask who runs it."
            ).format(topic=topic)
        case 0x95:
            return _(
                "a message in {topic} is larger than the broker takes: it must take 16 KiB. Ask who runs it."
            ).format(topic=topic)
        case 0x97:
            return _("the broker's quota for {topic} is used up: ask who runs it for more").format(topic=topic)
        case 0x99:
            return _(
                "the broker checks the form of messages in {topic} and refuses ours: records are CBOR. "
                "Ask who runs it to turn that check off."
            ).format(topic=topic)
        case _:
            return _("the broker refuses {topic} (0x{code:02x}): ask who runs it").format(topic=topic, code=code)
