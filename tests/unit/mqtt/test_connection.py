"""The connection against real brokers, and against a scripted one for what a real one won't say."""

import asyncio
import contextlib
import gc
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import aiomqtt
import pytest

from firmware_sim.broker import Embedded, Mosquitto, access_list
from gateway.errors import LinkError
from gateway.mqtt import Broker, Connection, Message, Will
from gateway.mqtt.explain import explain_end
from tests.support.brokers import Site, need_mosquitto
from tests.support.proxy import Proxy

ALARM = "c5/v1/senafront/tower-3/gw-1/event/alarm"
STATE = "c5/v1/senafront/tower-3/gw-1/state"
RECEIPT = "c5/v1/senafront/tower-3/gw-1/receipt"
ACCESS = access_list(gateways=["gw-1"], receivers=["c5-a"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    need_mosquitto()
    return Site(tmp_path_factory.mktemp("certificates") / "ca")


@dataclass
class End:
    """What one end of a connection has heard."""

    messages: list[Message] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def on_message(self, message: Message) -> None:
        self.messages.append(message)
        self.changed.set()

    def on_closed(self, reason: str) -> None:
        self.closed.append(reason)
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


async def connect(
    broker: Broker,
    end: End,
    client_id: str = "gw-1",
    *,
    keepalive: int = 10,
    will: Will | None = None,
    session_expiry: int = 0,
    manual_ack: bool = False,
    deadline: float = 5.0,
) -> Connection:
    return await Connection.open(
        broker,
        client_id,
        keepalive=keepalive,
        will=will,
        session_expiry=session_expiry,
        receive_maximum=100,
        on_message=end.on_message,
        on_closed=end.on_closed,
        deadline=deadline,
        manual_ack=manual_ack,
    )


async def published(connection: Connection, topic: str, payload: bytes, **more: str) -> int:
    """Publish and return the broker's reason code."""
    answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    connection.publish(topic, payload, content_type=more.get("content_type"), on_ack=answer.set_result)
    async with asyncio.timeout(5):
        return await answer


def as_gateway(site: Site, port: int, protocol: Literal["auto", "5", "3.1.1"] = "auto") -> Broker:
    return Broker("127.0.0.1", port, protocol, site.client("gateway", "gw-1"))


def as_receiver(site: Site, port: int) -> Broker:
    return Broker("localhost", port, "5", site.client("receiver", "c5-a"))


def test_a_publish_is_delivered_and_acknowledged_with_the_brokers_reason_code(site: Site) -> None:
    async def main() -> None:
        async with Mosquitto(tls=site.broker(), access=ACCESS, max_inflight=7) as broker:
            centre = End()
            receiver = await connect(as_receiver(site, broker.port), centre, "c5-a")
            gateway = await connect(as_gateway(site, broker.port), End())
            assert (gateway.protocol, gateway.receive_maximum, gateway.maximum_packet) == ("5", 7, None)
            assert await published(gateway, ALARM, b"nobody listens") == 0x10
            await receiver.subscribe(["c5/v1/+/+/+/event/#", "c5/v1/+/+/+/state"])
            assert await published(gateway, ALARM, b"help", content_type="application/cose") == 0
            assert await published(gateway, "c5/v1/senafront/tower-3/gw-2/event/alarm", b"not mine") == 0x87
            await centre.until(lambda: len(centre.messages) == 1)
            assert centre.messages == [Message(ALARM, b"help", 1, 1, retain=False)]
            await gateway.close()
            await receiver.close()

    asyncio.run(main())


def test_an_access_list_that_is_mended_lets_an_alarm_through(site: Site) -> None:
    async def main() -> None:
        async with Mosquitto(tls=site.broker(), access=access_list(gateways=[], receivers=["c5-a"])) as broker:
            centre = End()
            receiver = await connect(as_receiver(site, broker.port), centre, "c5-a")
            await receiver.subscribe(["c5/v1/#"])
            # mosquitto 2.0 answers 0x87 and then ends the connection (its issue 2579): each refusal costs one.
            refused = await connect(as_gateway(site, broker.port), End())
            assert await published(refused, ALARM, b"help") == 0x87
            await broker.set_access(ACCESS)
            gateway = await connect(as_gateway(site, broker.port), End())
            assert await published(gateway, ALARM, b"help") == 0
            await centre.until(lambda: bool(centre.messages))
            assert [message.payload for message in centre.messages] == [b"help"]
            assert centre.closed == []
            for connection in (refused, gateway, receiver):
                await connection.close()

    asyncio.run(main())


def test_the_older_protocol_delivers_too_and_knows_one_reason_code(site: Site) -> None:
    async def main() -> None:
        async with Mosquitto(tls=site.broker(), access=ACCESS) as broker:
            end = End()
            gateway = await connect(as_gateway(site, broker.port, "3.1.1"), end)
            assert (gateway.protocol, gateway.receive_maximum) == ("3.1.1", 65535)
            await gateway.subscribe([RECEIPT])
            receiver = await connect(as_receiver(site, broker.port), End(), "c5-a")
            assert await published(receiver, RECEIPT, b"received") == 0
            await end.until(lambda: bool(end.messages))
            assert end.messages == [Message(RECEIPT, b"received", 1, 1, retain=False)]
            assert await published(gateway, "c5/v1/senafront/tower-3/gw-2/state", b"not mine") == 0
            await gateway.close()
            await receiver.close()

    asyncio.run(main())


def test_content_type_and_user_properties_reach_a_subscriber() -> None:
    async def main() -> None:
        async with Mosquitto() as broker:
            gateway = await connect(Broker("127.0.0.1", broker.port), End())
            async with aiomqtt.Client("127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5) as eye:
                await eye.subscribe("#", qos=1)
                gateway.publish(
                    ALARM, b"x", content_type="a/b", user_properties=[("id", "1"), ("type", "t")], on_ack=None
                )
                message = await anext(aiter(eye.messages))
                assert message.properties is not None
                assert str(message.properties) == "[ContentType : a/b, UserProperty : [('id', '1'), ('type', 't')]]"
            await gateway.close()

    asyncio.run(main())


def test_the_will_is_published_after_an_abort_and_not_after_a_close(site: Site) -> None:
    async def main() -> None:
        async with Mosquitto(tls=site.broker(), access=ACCESS) as broker:
            centre = End()
            receiver = await connect(as_receiver(site, broker.port), centre, "c5-a")
            await receiver.subscribe([STATE])
            for ending in ("close", "abort"):
                end = End()
                will = Will(STATE, f"offline after {ending}".encode())
                gateway = await connect(as_gateway(site, broker.port), end, will=will)
                assert await published(gateway, STATE, b"online") == 0
                if ending == "close":
                    await gateway.close()
                gateway.abort()
                assert end.closed == []
            await centre.until(lambda: len(centre.messages) == 3)
            assert [message.payload for message in centre.messages] == [b"online", b"online", b"offline after abort"]
            await receiver.close()

    asyncio.run(main())


def test_a_kept_session_brings_what_arrived_meanwhile_and_again_what_was_not_acknowledged(site: Site) -> None:
    async def main() -> None:
        async with Mosquitto(tls=site.broker(), access=ACCESS) as broker:
            gateway = await connect(as_gateway(site, broker.port), End())
            where = as_receiver(site, broker.port)

            first = End()
            receiver = await connect(where, first, "c5-a", session_expiry=3600, manual_ack=True)
            await receiver.subscribe(["c5/v1/+/+/+/event/#"])
            for payload in (b"one", b"two"):
                assert await published(gateway, ALARM, payload) == 0
            await first.until(lambda: len(first.messages) == 2)
            receiver.ack(first.messages[0])
            await receiver.close()

            assert await published(gateway, ALARM, b"three") == 0
            second = End()
            receiver = await connect(where, second, "c5-a", session_expiry=3600)
            await second.until(lambda: len(second.messages) == 2)
            assert sorted(message.payload for message in second.messages) == [b"three", b"two"]
            await receiver.close()
            await gateway.close()

    asyncio.run(main())


def test_a_frozen_broker_is_noticed_by_a_publish_within_the_keep_alive(site: Site) -> None:
    async def main() -> None:
        async with Mosquitto(tls=site.broker(), access=ACCESS) as broker:
            end = End()
            gateway = await connect(as_gateway(site, broker.port), end, keepalive=1)
            broker.pause()
            acknowledged: list[int] = []
            gateway.publish(ALARM, b"help", on_ack=acknowledged.append)
            await end.until(lambda: bool(end.closed))
            assert end.closed == [f"127.0.0.1:{broker.port}: it did not acknowledge a message within 1 s"]
            broker.resume()
            gateway.publish(ALARM, b"on a connection that has ended", on_ack=acknowledged.append)
            with pytest.raises(LinkError, match="has ended"):
                await gateway.subscribe([RECEIPT])
            await gateway.close()
            await asyncio.sleep(0.1)
            assert (acknowledged, len(end.closed)) == ([], 1)

    asyncio.run(main())


def test_an_idle_connection_notices_a_black_hole_by_its_pings(site: Site) -> None:
    async def main() -> None:
        async with Mosquitto(tls=site.broker(), access=ACCESS) as broker, Proxy(broker.port) as link:
            end = End()
            await connect(as_gateway(site, link.port), end, keepalive=1)
            await asyncio.sleep(1.5)  # a ping is answered
            assert end.closed == []
            link.pause()
            await end.until(lambda: bool(end.closed))
            assert end.closed == [f"127.0.0.1:{link.port}: it did not answer within 1 s"]

    asyncio.run(main())


def test_a_broker_that_stops_and_a_link_that_is_cut_are_told_once(site: Site) -> None:
    async def main() -> None:
        async with Mosquitto(tls=site.broker(), access=ACCESS) as broker, Proxy(broker.port) as link:
            cut, stopped = End(), End()
            await connect(as_gateway(site, link.port), cut)
            link.cut()
            await cut.until(lambda: bool(cut.closed))
            await connect(as_gateway(site, broker.port), stopped)
            await broker.stop()
            await stopped.until(lambda: bool(stopped.closed))
            assert cut.closed == [f"127.0.0.1:{link.port}: the connection was cut"]
            assert len(stopped.closed) == 1

    asyncio.run(main())


def test_five_thousand_publishes_within_the_brokers_window_are_all_acknowledged(site: Site) -> None:
    async def main() -> None:
        async with Mosquitto(tls=site.broker(), access=ACCESS, max_inflight=50) as broker:
            centre, end = End(), End()
            receiver = await connect(as_receiver(site, broker.port), centre, "c5-a")
            await receiver.subscribe(["c5/v1/+/+/+/event/#"])
            gateway = await connect(as_gateway(site, broker.port), end)
            left = iter(range(5000))
            codes: list[int] = []

            def acknowledged(code: int) -> None:
                codes.append(code)
                end.changed.set()
                send_next()

            def send_next() -> None:
                if (number := next(left, None)) is not None:
                    gateway.publish(ALARM, b"%d" % number, on_ack=acknowledged)

            for _ in range(gateway.receive_maximum):
                send_next()
            await end.until(lambda: len(codes) == 5000)
            await centre.until(lambda: len(centre.messages) == 5000)
            assert codes == [0] * 5000
            assert [int(message.payload) for message in centre.messages] == list(range(5000))
            await gateway.close()
            await receiver.close()

    asyncio.run(main())


def test_a_burst_larger_than_the_socket_takes_is_written_as_the_broker_reads(site: Site) -> None:
    async def main() -> None:
        async with Mosquitto(tls=site.broker(), access=ACCESS, max_inflight=1000) as broker:
            end = End()
            gateway = await connect(as_gateway(site, broker.port), end)
            broker.pause()
            codes: list[int] = []

            def acknowledged(code: int) -> None:
                codes.append(code)
                end.changed.set()

            for _ in range(500):
                gateway.publish(ALARM, bytes(16_000), on_ack=acknowledged)
            await asyncio.sleep(0.1)
            broker.resume()
            await end.until(lambda: len(codes) == 500)
            assert (codes, end.closed) == ([0x10] * 500, [])
            await gateway.close()

    asyncio.run(main())


def test_the_embedded_broker_delivers_over_tls(site: Site) -> None:
    async def main() -> None:
        async with Embedded(tls=site.broker()) as broker:
            centre = End()
            receiver = await connect(as_receiver(site, broker.port), centre, "c5-a")
            await receiver.subscribe(["c5/v1/+/+/+/event/#"])
            gateway = await connect(as_gateway(site, broker.port), End(), will=Will(STATE, b"offline"))
            assert await published(gateway, ALARM, b"help") == 0
            await centre.until(lambda: bool(centre.messages))
            assert [(message.topic, message.payload) for message in centre.messages] == [(ALARM, b"help")]
            await gateway.close()
            await receiver.close()

    asyncio.run(main())


# What a technician reads.


def refusal(broker: Broker, *, deadline: float = 5.0) -> LinkError:
    """Try to connect, and return the error with which that failed."""

    async def main() -> LinkError:
        end = End()
        with pytest.raises(LinkError) as raised:
            await connect(broker, end, deadline=deadline)
        await asyncio.sleep(0)
        assert end.closed == []
        return raised.value

    return asyncio.run(main())


def with_mosquitto(site: Site, check: Callable[[Mosquitto], Coroutine[None, None, None]]) -> None:
    async def main() -> None:
        async with Mosquitto(tls=site.broker(), access=ACCESS) as broker:
            await check(broker)

    asyncio.run(main())


def test_a_broker_that_is_down_is_named_with_what_to_do() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        error = refusal(Broker("127.0.0.1", port))
    assert error.what == f"127.0.0.1:{port}: nothing listens there"
    assert error.hint == (
        "Check that the broker is running, and its port. "
        "Nothing is lost: what has not been delivered is kept, and sent when a broker answers."
    )


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64 + ".example"])
def test_a_host_name_that_does_not_resolve_is_named(host: str) -> None:
    error = refusal(Broker(host, 8883), deadline=10.0)
    assert error.what == f"{host}:8883: its name can't be resolved"


def test_a_broker_that_never_answers_costs_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        error = refusal(Broker("127.0.0.1", port), deadline=0.2)
    assert error.what == f"127.0.0.1:{port}: no answer in time"


def test_a_broker_from_another_authority_is_not_trusted(site: Site, tmp_path: Path) -> None:
    strangers = Site(tmp_path / "strangers")

    async def check(broker: Mosquitto) -> None:
        with pytest.raises(LinkError) as raised:
            await connect(Broker("127.0.0.1", broker.port, tls=strangers.client("gateway", "gw-1")), End())
        assert raised.value.what == (
            f"127.0.0.1:{broker.port}: its certificate is not to be trusted: unable to get local issuer certificate"
        )
        assert "identity.trust_anchors" in raised.value.hint

    with_mosquitto(site, check)


def test_a_broker_at_an_address_that_its_certificate_does_not_carry_is_not_trusted(site: Site) -> None:
    async def main() -> None:
        async with Mosquitto(tls=site.broker()) as broker, Proxy(broker.port, host="127.0.0.2") as elsewhere:
            with pytest.raises(LinkError, match="IP address mismatch"):
                await connect(Broker("127.0.0.2", elsewhere.port, tls=site.client("gateway", "gw-1")), End())

    asyncio.run(main())


def test_a_client_that_the_broker_does_not_know_reads_so(site: Site, tmp_path: Path) -> None:
    stranger = Site(tmp_path / "strangers").client("gateway", "gw-1")
    stranger.load_verify_locations(site.authority.trust_anchors)
    nobody = ssl.create_default_context(cafile=site.authority.trust_anchors)

    async def check(broker: Mosquitto) -> None:
        with pytest.raises(LinkError, match=r"it refused this machine's certificate \(unknown ca\)"):
            await connect(Broker("127.0.0.1", broker.port, tls=stranger), End())
        with pytest.raises(LinkError, match=r"it refused this machine's certificate \(certificate required\)"):
            await connect(Broker("127.0.0.1", broker.port, tls=nobody), End())

    with_mosquitto(site, check)


def test_tls_to_a_plain_port_and_plain_to_a_tls_port_are_told_apart(site: Site) -> None:
    async def main() -> None:
        async with Mosquitto() as plain, Mosquitto(tls=site.broker()) as secured:
            with pytest.raises(LinkError, match="it cut the connection in the TLS handshake"):
                await connect(as_gateway(site, plain.port), End())
            with pytest.raises(LinkError, match="the connection was cut"):
                await connect(Broker("127.0.0.1", secured.port), End())

    asyncio.run(main())


# A scripted broker: each connection's first packet is answered with the bytes for its protocol level.

CONNACK_5 = bytes.fromhex("2003 00 00 00")
CONNACK_311 = bytes.fromhex("2002 00 00")
PINGREQ, PINGRESP = bytes.fromhex("C000"), bytes.fromhex("D000")
TAKEN_OVER = explain_end(0x8E, "Session taken over")


class Script:
    """Answers CONNECT by the protocol level in it, then whatever `after` says."""

    def __init__(self, answers: dict[int, bytes], after: bytes = b"") -> None:
        self.levels: list[int] = []
        self._answers = answers
        self._after = after
        self._server: asyncio.Server

    async def __aenter__(self) -> Broker:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return Broker("127.0.0.1", self._server.sockets[0].getsockname()[1])

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            level = (await reader.read(4096))[8]
            self.levels.append(level)
            writer.write(self._answers[level])
            if self._after and await reader.read(4096):
                writer.write(self._after)
            while piece := await reader.read(4096):
                if piece.endswith(PINGREQ):
                    writer.write(PINGRESP)


def test_auto_takes_the_older_protocol_where_the_newer_is_refused_and_only_there() -> None:
    async def main() -> None:
        old = Script({5: bytes.fromhex("2002 00 01"), 4: CONNACK_311})
        async with old as broker:
            connection = await connect(broker, End())
            assert (connection.protocol, old.levels) == ("3.1.1", [5, 4])
            connection.abort()
            with pytest.raises(LinkError, match="does not speak this version of MQTT"):
                await connect(Broker(broker.host, broker.port, "5"), End())
        unwilling = Script({5: bytes.fromhex("2003 00 87 00")})
        async with unwilling as broker:
            with pytest.raises(LinkError, match=r"it does not let this machine in \(0x87\)"):
                await connect(broker, End())
            assert unwilling.levels == [5]

    asyncio.run(main())


def test_what_the_broker_allows_is_read_from_its_answer() -> None:
    async def main() -> None:
        async with Script({5: bytes.fromhex("200B 00 00 08 21 0005 27 00004000")}) as broker:
            connection = await connect(broker, End())
            assert (connection.receive_maximum, connection.maximum_packet) == (5, 16384)
            connection.abort()
        async with Script({5: bytes.fromhex("2005 00 00 02 24 00")}) as broker:
            with pytest.raises(LinkError, match="it acknowledges no message"):
                await connect(broker, End())

    asyncio.run(main())


@pytest.mark.parametrize("server_keep_alive", ["0000", "0E10"])
def test_a_broker_with_more_patience_than_we_have_changes_nothing(server_keep_alive: str) -> None:
    async def main() -> None:
        async with Script({5: bytes.fromhex(f"2006 00 00 03 13 {server_keep_alive}")}) as broker:
            end = End()
            connection = await connect(broker, end, keepalive=1)
            began = asyncio.get_running_loop().time()
            connection.publish(ALARM, b"x", on_ack=None)
            connection.publish(ALARM, b"x", on_ack=None)
            await end.until(lambda: bool(end.closed))
            assert end.closed == [f"{broker}: it did not acknowledge a message within 1 s"]
            assert asyncio.get_running_loop().time() - began >= 1.0

    asyncio.run(main())


def test_a_refused_subscription_is_named() -> None:
    async def main() -> None:
        async with Script({5: CONNACK_5}, after=bytes.fromhex("9005 0001 00 01 87")) as broker:
            connection = await connect(broker, End())
            with pytest.raises(LinkError, match=r"it refused the subscription to c5/v1/centre$"):
                await connection.subscribe(["c5/v1/certificates/#", "c5/v1/centre"])
            connection.abort()

    asyncio.run(main())


def test_a_subscription_that_is_never_answered_ends_the_connection_within_the_keep_alive() -> None:
    async def main() -> None:
        puback = bytes.fromhex("4003 0001 00")  # it takes what it is given, and answers pings
        async with Script({5: CONNACK_5}, after=puback) as broker:
            end = End()
            connection = await connect(broker, end, keepalive=1)
            connection.publish(ALARM, b"x", on_ack=None)
            with pytest.raises(LinkError, match="it did not answer a subscription within 1 s"):
                async with asyncio.timeout(5):
                    await connection.subscribe(["c5/v1/centre"])
            connection.abort()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        ("E001 8E", f"{TAKEN_OVER[0]}. {TAKEN_OVER[1]}"),
        ("E001 82", "it ended the connection: protocol error (0x82)"),
        ("30FFFFFF7F", "it sent a message of 268435455 bytes"),
        ("30FFFFFFFF7F", "it sent what is not MQTT 5"),
        ("3005 0002 FFFF 00", "it sent a topic that is not UTF-8"),
        ("4003 0001 87", None),
        ("F000", "it sent what is not MQTT 5"),
    ],
)
def test_what_the_broker_should_not_send_ends_the_connection_with_its_name(packet: str, reason: str | None) -> None:
    async def main() -> None:
        async with Script({5: CONNACK_5}, after=bytes.fromhex(packet)) as broker:
            end = End()
            connection = await connect(broker, end)
            codes: list[int] = []

            def acknowledged(code: int) -> None:
                codes.append(code)
                end.changed.set()

            connection.publish(ALARM, b"x", on_ack=acknowledged)
            await end.until(lambda: bool(end.closed or codes))
            connection.abort()
            assert (end.closed, codes) == (([], [0x87]) if reason is None else ([f"{broker}: {reason}"], []))

    asyncio.run(main())


def test_a_callback_that_fails_is_reported_and_ends_the_connection() -> None:
    async def main() -> None:
        reported: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context["exception"]))
        failure = ValueError("a bug of ours")

        def fail(_code: int) -> None:
            raise failure

        async with Script({5: CONNACK_5}, after=bytes.fromhex("4002 0001")) as broker:
            end = End()
            connection = await connect(broker, end)
            connection.publish(ALARM, b"x", on_ack=fail)
            await end.until(lambda: bool(end.closed))
            assert (reported, end.closed) == ([failure], [f"{broker}: this program failed on a message; see the log"])

    asyncio.run(main())


def test_an_abort_from_inside_a_callback_ends_it_there() -> None:
    async def main() -> None:
        two_messages = bytes.fromhex("3005 0002 612F 00" * 2)
        async with Script({5: CONNACK_5}, after=two_messages) as broker:
            end = End()
            heard: list[Message] = []

            def stop(message: Message) -> None:
                heard.append(message)
                connection.abort()

            end.on_message = stop  # type: ignore[method-assign]  # this test's own end
            connection = await connect(broker, end)
            connection.publish(ALARM, b"x", on_ack=None)
            await asyncio.sleep(0.1)
            assert (heard, end.closed) == ([Message("a/", b"", 0, 0, retain=False)], [])

    asyncio.run(main())


@pytest.mark.parametrize("secured", [False, True])
def test_an_open_that_is_cancelled_leaves_no_socket_and_no_thread(*, secured: bool) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            context = ssl.create_default_context() if secured else None
            where = Broker("127.0.0.1", silent.getsockname()[1], tls=context)
            opening = asyncio.create_task(connect(where, End(), deadline=60.0))
            await asyncio.sleep(0.2)
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            client, _ = silent.accept()
            with client:
                client.settimeout(5)
                while client.recv(4096):  # until the other side's end
                    pass

    asyncio.run(main())
    for thread in threading.enumerate():
        if thread.name == "mqtt-connect":
            thread.join(timeout=5)
            assert not thread.is_alive()
    gc.collect()  # an unclosed socket would warn here
