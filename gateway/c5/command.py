"""`c5-receiver command`: one command to one gateway, and its answer. Works beside a running receiver.

It goes to the first broker where the gateway says that it is online, is said again until the answer comes, also over
the next broker where this one goes (the same command: an id is obeyed once), and expires when nobody waits for the
answer any more. What is believed, `orders` says.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from gateway.c5.app import wall
from gateway.c5.config import ReceiverSettings
from gateway.c5.orders import Counterpart
from gateway.c5.signers import Signers
from gateway.errors import C5Error, CertificateError, LinkError, Refused, SettingsError
from gateway.identity.keystore import Own, load_anchors, load_identity, load_revocations
from gateway.mqtt import Broker, Connection, Message
from gateway.settings import BrokerSettings
from gateway.signing import message
from gateway.signing.chains import encode_chain
from gateway.signing.cose import Signer
from gateway.signing.message import Command, Reply
from gateway.text import _
from gateway.tls import client_context
from gateway.topics import CENTRE_CERTIFICATES, ROOT, parse

DIAL_WITHIN: Final = 10.0  # seconds
LOOK: Final = 5.0  # seconds for the broker to give what it retains of the gateway
AGAIN: Final = 5.0  # seconds until a command is said again
KEEPALIVE: Final = 15
RECEIVE_MAXIMUM: Final = 20
REFUSED: Final = 0x80
_COMMANDER: Final = "commander.signing_certificate"


@dataclass(frozen=True, slots=True)
class Answered:
    """A command's id, the reply to it, and after how many seconds it came."""

    id: bytes
    reply: Reply
    seconds: float


@dataclass(frozen=True, slots=True)
class _Order:
    """A command as it was signed, for one epoch; `began` and `until` are the loop's time."""

    id: bytes
    epoch: bytes
    wire: bytes
    began: float
    until: float


async def send(
    settings: ReceiverSettings, gateway: str, name: str, arguments: Mapping[str, Any], wait: float
) -> Answered:
    """Send a command and wait for the reply. Raises C5Error with what is in the way."""
    own = load_commander(settings)
    offline = False
    order: _Order | None = None
    trouble: LinkError | None = None
    for broker in settings.broker:
        line = _Line(settings, gateway)
        try:
            await line.open(broker)
            state = line.counterpart.state
            if state is None or not state.online:
                offline = offline or state is not None
                continue
            order = order or _order(own, gateway, name, arguments, epoch=state.epoch, wait=wait)
            if state.epoch == order.epoch:  # one that has started anew would reject it
                return await line.command(own, order, wait)
        except LinkError as error:
            if order is None:  # whoever commands has no outbox
                error.hint = f"{error.hint} {_('Nothing was sent.')}".strip()
                trouble = error
            elif trouble is None or line.said:
                trouble = error
        finally:
            await line.close()
    if offline and order is None:
        raise C5Error(
            _("{gateway} is offline").format(gateway=gateway), _("Nothing was sent. Try again when it is there.")
        )
    raise trouble or C5Error(
        _("no broker has a state of {gateway} that is proven").format(gateway=gateway),
        _("Check its id and, in c5-receiver status, whether it was ever connected."),
    )


def _order(own: Own, gateway: str, name: str, arguments: Mapping[str, Any], *, epoch: bytes, wait: float) -> _Order:
    id_, issued_us, began = os.urandom(16), wall(), asyncio.get_running_loop().time()
    said = Command(gateway, id_, issued_us, issued_us + round(wait * 1_000_000), name, epoch, arguments or None)
    wire = Signer(own.key, own.identity.thumbprint).sign("command", message.encode(said))
    return _Order(id_, epoch, wire, began, began + wait)


def load_commander(settings: ReceiverSettings) -> Own:
    """Return the commander's identity. Raises SettingsError or CertificateError."""
    table = settings.commander
    if table is None:
        raise SettingsError("commander: " + _("is required"), _("give [commander] signing_certificate and signing_key"))
    anchors = load_anchors(settings.identity.trust_anchors)
    own = load_identity(
        table.signing_certificate, table.signing_key, role="commander", anchors=anchors, at=datetime.now(UTC)
    )
    if own.identity.name == settings.receiver.name:
        raise CertificateError(
            _("{setting}: the commander has the receiver's name, {name}").format(
                setting=_COMMANDER, name=own.identity.name
            ),
            _("Both are published in one topic, and gateways would lose the receiver's. Issue one of another name."),
        )
    return own


class _Line:
    """One broker, and what it shows of the gateway."""

    def __init__(self, settings: ReceiverSettings, gateway: str) -> None:
        identity = settings.identity
        revocations = load_revocations(identity.revocation_list) if identity.revocation_list else None
        self.counterpart = Counterpart(gateway, Signers(load_anchors(identity.trust_anchors), revocations))
        self._settings = settings
        self._gateway = gateway
        self._heard: asyncio.Queue[Message] = asyncio.Queue()
        self._ended: str | None = None
        self._connection: Connection | None = None
        self.said = False  # a command went out here

    async def open(self, broker: BrokerSettings) -> None:
        """Connect, and look what the broker retains. Raises LinkError."""
        identity, context = self._settings.identity, None
        if broker.tls:
            assert identity.tls_certificate and identity.tls_key  # noqa: PT018  # the settings saw to both
            context = client_context(identity.trust_anchors, identity.tls_certificate, identity.tls_key)
        self._connection = await Connection.open(
            Broker(broker.host, broker.port, broker.protocol, context),
            f"{self._settings.receiver.name}-command-{os.urandom(4).hex()}",
            keepalive=KEEPALIVE,
            will=None,
            session_expiry=0,
            receive_maximum=RECEIVE_MAXIMUM,
            on_message=self._heard.put_nowait,
            on_closed=self._closed,
            deadline=DIAL_WITHIN,
        )
        channels = ("certificates", "state", "reply")
        await self._connection.subscribe([f"{ROOT}/+/+/{self._gateway}/{channel}" for channel in channels])
        try:
            async with asyncio.timeout(LOOK):
                while self.counterpart.state is None or not self.counterpart.state.online:
                    self._take(await self._heard.get())
        except TimeoutError:
            return

    async def command(self, own: Own, order: _Order, wait: float) -> Answered:
        """Say a command until the reply comes, or raise C5Error."""
        route, connection = self.counterpart.route, self._connection
        assert route is not None
        assert connection is not None
        refused: set[str] = set()
        loop = asyncio.get_running_loop()
        chain_topic = f"{CENTRE_CERTIFICATES}/{own.identity.name}"
        connection.publish(chain_topic, encode_chain(own.chain), retain=True, on_ack=_noted(chain_topic, refused))
        while (left := order.until - loop.time()) > 0 and not refused:
            self.said = True
            topic = route.topic("command")
            connection.publish(topic, order.wire, on_ack=_noted(topic, refused))
            if (reply := await self._reply(order.id, min(AGAIN, left))) is not None:
                return Answered(order.id, reply, loop.time() - order.began)
            if self._ended is not None:
                raise LinkError(
                    _("the broker ended the connection: {reason}").format(reason=self._ended),
                    _("Whether the command was obeyed isn't known: ask again."),
                )
        if refused:
            raise C5Error(
                _("the broker refuses {topics}").format(topics=", ".join(sorted(refused))),
                _("Its access list must allow that to the name in identity.tls_certificate."),
            )
        raise C5Error(
            _("{gateway} gave no reply within {wait:g} s").format(gateway=self._gateway, wait=wait),
            _(
                "Its link may be gone or slow, or the broker's access list doesn't let it read …/command or write "
                "…/reply. Nobody is answered whose certificate its trust anchors don't prove."
            ),
        )

    async def close(self) -> None:
        """Say goodbye to the broker."""
        if self._connection is not None:
            await self._connection.close()

    async def _reply(self, id_: bytes, within: float) -> Reply | None:
        try:
            async with asyncio.timeout(within):
                while True:
                    heard = await self._heard.get()
                    arrival = parse(heard.topic)
                    if arrival is None or arrival.channel != "reply":
                        self._take(heard)
                        continue
                    reply = self.counterpart.reply(heard.payload, id_, wall())
                    if not isinstance(reply, Refused):
                        return reply
        except TimeoutError:
            return None

    def _take(self, heard: Message) -> None:
        arrival = parse(heard.topic)
        if arrival is None or arrival.route.gateway != self._gateway:
            return
        if arrival.channel == "certificates":
            self.counterpart.certificates(heard.payload, wall())
        elif arrival.channel == "state":
            self.counterpart.heard(arrival.route, heard.payload, wall())

    def _closed(self, reason: str) -> None:
        self._ended = reason


def _noted(topic: str, refused: set[str]) -> Callable[[int], None]:
    """Return what notes a broker's refusal."""
    return lambda code: refused.add(topic) if code >= REFUSED else None
