"""One MQTT connection on the event loop: paho-mqtt speaks the protocol, this module owns the socket and the time.

A connection is opened once and never reopened; the next one starts from nothing, because paho would send again by
itself what only the outbox may decide to send again. What the broker answers is handed on as it is: a refusal
(0x80 and above) or "no subscriber" (0x10) is a value for the caller, not an error here.

    opening     DNS, TCP and TLS block, so they run in a thread of their own; all else is on the event loop
    reading     in pieces of a TLS record, so that a burst of small packets costs one system call; several pieces
                together, so that the answers to them leave together too
    writing     the first publish of a turn of the event loop is written at once, the rest of that turn together
    time        an answer to each ping and each subscription and a PUBACK to each publish within the keep-alive, or the
                connection is of no use: a dead link is found by the first message that it swallows

Nothing here queues without bound: what is in flight is the caller's choice, within the broker's `receive_maximum`,
and a broker that is given more may end the connection.

Sources: MQTT 5.0 and 3.1.1 (OASIS); wire.md, section 3.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from gateway.delivery import timing
from gateway.errors import LinkError
from gateway.mqtt.client import Terms, connect, new_client, publish_properties
from gateway.mqtt.explain import NO_QOS, UNSUPPORTED_VERSION, explain_end, explain_failure, explain_refusal, link_error
from gateway.mqtt.stream import Door, Stream
from gateway.mqtt.values import Broker, Message, Protocol, Will
from gateway.text import _

_RECEIVE_MAXIMUM: Final = 65_535  # what a broker allows that names nothing else (MQTT 5.0, 3.2.2.3.3)
_PIECES: Final = 4  # read in one turn: a busy connection must not hold up the rest of the program
_GOODBYE: Final = 1.0  # for what is written still to leave, and for the broker to close after our DISCONNECT


class Connection:
    """One connection to one broker; made by `open`. All calls and all callbacks are on the event loop."""

    def __init__(
        self,
        broker: Broker,
        terms: Terms,
        protocol: Protocol,
        *,
        on_message: Callable[[Message], None],
        on_closed: Callable[[str], None],
    ) -> None:
        self.protocol = protocol
        self.receive_maximum = _RECEIVE_MAXIMUM
        self.maximum_packet: int | None = None
        self._older = False  # the broker doesn't speak this version of MQTT
        self._broker = broker
        self._keepalive = terms.keepalive
        self._on_message = on_message
        self._on_closed: Callable[[str], None] | None = on_closed
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._unanswered: dict[int, tuple[float, Callable[[int], None] | None]] = {}  # oldest first
        self._subscribing: dict[int, asyncio.Future[list[int]]] = {}
        self._ticking: asyncio.TimerHandle | None = None
        self._client = new_client(terms, protocol)
        self._stream: Stream | None = None
        self._reading = False  # paho is on the stack
        self._writing = False  # the socket is full, the event loop tells when it isn't
        self._flush_due = False  # at the end of this turn of the event loop
        self._closing = False

    @classmethod
    async def open(
        cls,
        broker: Broker,
        client_id: str,
        *,
        keepalive: int,
        will: Will | None,
        session_expiry: int,
        receive_maximum: int,
        on_message: Callable[[Message], None],
        on_closed: Callable[[str], None],
        deadline: float,
        manual_ack: bool = False,
    ) -> Self:
        """Connect within `deadline` seconds. Raises LinkError, which says what to do.

        `session_expiry` 0 is a clean start; otherwise the broker keeps the session for that many seconds (under
        3.1.1 for as long as it likes). `receive_maximum` is how many unacknowledged messages we take (MQTT 5 alone).
        `on_closed` is called once if the connection ends in any way but `close` or `abort`; what was not acknowledged
        by then never will be. `on_message` must not block, and may be called before this returns: a kept session begins
        with what it has kept.
        """
        terms = Terms(client_id, keepalive, will, session_expiry, receive_maximum, manual_ack)
        versions: tuple[Protocol, ...] = ("5", "3.1.1") if broker.protocol == "auto" else (broker.protocol,)
        try:
            async with asyncio.timeout(deadline):
                for version in versions:
                    connection = cls(broker, terms, version, on_message=on_message, on_closed=on_closed)
                    try:
                        await connection._open(terms, deadline)
                    except LinkError:
                        if not connection._older or version == versions[-1]:
                            raise
                    else:
                        return connection
        except TimeoutError as error:
            raise link_error(broker, *explain_failure(error)) from error
        raise AssertionError(versions)

    async def _open(self, terms: Terms, deadline: float) -> None:
        client = self._client
        client.connect_timeout = deadline
        client.on_connect = self._connack
        client.on_disconnect = self._disconnected
        client.on_publish = self._puback
        client.on_subscribe = self._suback
        client.on_message = self._publish_arrived
        door = Door(self._broker.tls, self._keepalive, self._wake)
        client.tls_set_context(door)  # type: ignore[arg-type]  # stands in for one
        try:
            self._stream = await door.dial(lambda: connect(client, self._broker, terms, self.protocol))
        except (OSError, UnicodeError) as error:  # UnicodeError: a host name that DNS can't hold
            raise link_error(self._broker, *explain_failure(error)) from error
        self._loop.add_reader(self._stream.fileno(), self._readable)
        self._tick()
        try:
            self._flush()  # the CONNECT that paho wrote in the thread
            await self._opened
        except BaseException:
            self.abort()
            raise

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        content_type: str | None = None,
        user_properties: Sequence[tuple[str, str]] = (),
        on_ack: Callable[[int], None] | None,
    ) -> None:
        """Send at QoS 1, at once. `on_ack` gets the broker's reason code; 3.1.1 knows 0 alone.

        The caller keeps what is unacknowledged within `receive_maximum`, and the packet within `maximum_packet`.
        On a connection that has ended this does nothing.
        """
        if self._gone.done() or self._closing:
            return
        modern = self.protocol == "5"
        properties = publish_properties(content_type, tuple(user_properties)) if modern else None
        first = not (self._flush_due or self._reading)
        if first:
            self._flush_due = True  # `_wake` needn't see to it
            self._loop.call_soon(self._flush_turn)
        info = self._client.publish(topic, payload, 1, retain, properties)
        assert info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS, info.rc
        self._unanswered[info.mid] = (self._loop.time(), on_ack)
        if first:
            self._flush()

    async def subscribe(self, filters: Sequence[str]) -> None:
        """Subscribe at QoS 1. Raises LinkError if the broker refuses one or is silent, or if the connection ends."""
        answer: asyncio.Future[list[int]] = self._loop.create_future()
        if self._gone.done() or self._closing:
            raise link_error(self._broker, _("the connection has ended"))
        mid = self._client.subscribe([(topic, 1) for topic in filters])[1]
        assert mid is not None
        self._subscribing[mid] = answer
        try:
            async with asyncio.timeout(self._keepalive):
                codes = await answer
        except TimeoutError as error:
            what = _("it did not answer a subscription within {seconds} s").format(seconds=self._keepalive)
            raise link_error(self._broker, what) from error
        finally:
            del self._subscribing[mid]
        refused = [topic for topic, code in zip(filters, codes, strict=True) if code != 1]
        if refused:
            raise link_error(
                self._broker,
                _("it refused the subscription to {filters}").format(filters=", ".join(refused)),
                _("The broker's access list must allow it to the name in this machine's certificate."),
            )

    def ack(self, message: Message) -> None:
        """Acknowledge a message; only where the connection was opened with `manual_ack`."""
        if not self._gone.done() and not self._closing:
            self._client.ack(message.mid, message.qos)

    async def close(self) -> None:
        """Say goodbye, so that the will is not published, and close. Nothing is called back after this."""
        self._on_closed = None
        if self._gone.done() or self._closing:
            return
        self._closing = True
        self._client.disconnect()
        self._flush()
        try:
            async with asyncio.timeout(_GOODBYE):
                await self._gone  # the broker closes when it has read our goodbye
        except TimeoutError:
            pass  # it has had its time; a frozen broker must not hold up a shutdown
        finally:
            self.abort()

    def abort(self) -> None:
        """Drop the socket: the broker publishes the will. Nothing is called back after this."""
        self._on_closed = None
        self._end(link_error(self._broker, _("the connection was dropped")))

    # The end, for whatever reason.

    def _end(self, error: LinkError) -> None:
        if self._gone.done():
            return
        self._gone.set_result(None)
        if self._ticking:
            self._ticking.cancel()
        if self._stream:
            self._loop.remove_reader(self._stream.fileno())
            self._loop.remove_writer(self._stream.fileno())
            self._stream.drop()
        self._unanswered.clear()
        for waiting in self._subscribing.values():
            if not waiting.done():
                waiting.set_exception(error)
        if not self._opened.done():
            self._opened.set_exception(error)
            self._opened.exception()  # an open that was cancelled doesn't ask
        elif self._on_closed:
            self._loop.call_soon(self._tell, error.what)  # not from inside the caller's own publish

    def _tell(self, reason: str) -> None:
        if self._on_closed:
            on_closed, self._on_closed = self._on_closed, None
            on_closed(reason)

    def _fail(self, what: str, hint: str = "") -> None:
        self._end(link_error(self._broker, what, hint))

    def _lost(self, stream: Stream) -> None:
        if stream.failure or stream.over:
            self._fail(*explain_failure(stream.failure))
        else:
            self._fail(_("it sent what is not MQTT {version}").format(version=self.protocol))

    # Time.

    def _tick(self) -> None:
        self._ticking = self._loop.call_later(timing.tick(self._keepalive), self._tick)
        oldest = next(iter(self._unanswered.values()), None)
        if oldest and self._loop.time() - oldest[0] >= self._keepalive:
            self._fail(_("it did not acknowledge a message within {seconds} s").format(seconds=self._keepalive))
        elif not self._closing:
            self._client.loop_misc()

    # The socket.

    def _wake(self) -> None:
        """Something is to be written; called in the thread too, before there is a stream."""
        if self._stream and not (self._flush_due or self._reading):
            self._flush_due = True
            self._loop.call_soon(self._flush_turn)

    def _flush_turn(self) -> None:
        self._flush_due = False
        if not self._gone.done():
            self._flush()

    def _flush(self) -> None:
        stream = self._stream
        assert stream
        try:
            done = stream.flush()
        except OSError as error:
            if not self._reading:
                self._readable()  # why the broker closed may lie there unread
            self._fail(*explain_failure(error))
            return
        if done and self._writing:
            self._loop.remove_writer(stream.fileno())
        elif not done and not self._writing:
            self._loop.add_writer(stream.fileno(), self._flush)
        self._writing = not done

    def _readable(self) -> None:
        stream = self._stream
        assert stream
        if self._closing:  # only the end is of interest
            while stream.fill():
                stream.discard()
            if stream.over:
                self.abort()
            return
        self._reading = True
        try:
            for _piece in range(_PIECES):
                if not stream.fill():
                    break
                while stream.unread and not self._gone.done():
                    if self._client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                        self._lost(stream)
            if not self._gone.done():
                self._client.loop_write()  # what callbacks published, paho kept
        except Exception as error:  # noqa: BLE001  # a callback's own bug: reported, never swallowed by the protocol
            self._loop.call_exception_handler({"message": "an MQTT callback failed", "exception": error})
            self._fail(_("this program failed on a message; see the log"))
        finally:
            self._reading = False
        if not self._gone.done():
            self._flush()
            if stream.pending:
                self._loop.call_soon(self._readable)

    # What paho found in the bytes.

    def _connack(
        self,
        _client: paho.Client,
        _userdata: object,
        _flags: paho.ConnectFlags,
        code: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if code.is_failure:
            self._older = code.value == UNSUPPORTED_VERSION
            self._fail(*explain_refusal(code.value))
        elif getattr(properties, "MaximumQoS", 1) == 0:
            self._fail(*explain_refusal(NO_QOS))
        elif not self._opened.done():
            self.receive_maximum = getattr(properties, "ReceiveMaximum", _RECEIVE_MAXIMUM)
            self.maximum_packet = getattr(properties, "MaximumPacketSize", None)
            # 0: it never ends a silent connection. A longer one than ours is its own patience, and not ours.
            self._keepalive = min(self._keepalive, getattr(properties, "ServerKeepAlive", 0) or self._keepalive)
            self._opened.set_result(None)

    def _disconnected(
        self,
        _client: paho.Client,
        _userdata: object,
        flags: paho.DisconnectFlags,
        code: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if self._closing:
            return
        if flags.is_disconnect_packet_from_server:
            what, hint = explain_end(code.value, str(code))
            self._fail(f"{what}. {hint}" if hint else what)
        elif code == "Keep alive timeout":
            self._fail(_("it did not answer within {seconds} s").format(seconds=self._keepalive))
        else:
            assert self._stream
            self._lost(self._stream)

    def _puback(
        self, _client: paho.Client, _userdata: object, mid: int, code: ReasonCode, _properties: Properties
    ) -> None:
        entry = self._unanswered.pop(mid, None)
        if entry and entry[1]:
            entry[1](code.value)

    def _suback(
        self,
        _client: paho.Client,
        _userdata: object,
        mid: int,
        codes: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        waiting = self._subscribing.get(mid)
        if waiting and not waiting.done():
            waiting.set_result([code.value for code in codes])

    def _publish_arrived(self, _client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            self._fail(_("it sent a topic that is not UTF-8"))
            return
        self._on_message(Message(topic, bytes(message.payload), message.mid, message.qos, message.retain))
