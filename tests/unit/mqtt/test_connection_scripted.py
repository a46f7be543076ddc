"""The connection against a scripted broker, for what a real one won't say."""

import asyncio
import contextlib
import gc
import socket
import ssl
import threading

import pytest

from gateway.errors import LinkError
from gateway.mqtt import Broker, Message
from gateway.mqtt.explain import explain_end
from tests.unit.mqtt.kit import (
    ALARM,
    End,
    connect,
)

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


def test_a_publish_that_fails_holds_up_none_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with Script({5: CONNACK_5}, after=bytes.fromhex("4002 0001")) as broker:
            connection = await connect(broker, End())
            with monkeypatch.context() as patch:
                patch.setattr(connection._client, "publish", lambda *_: 1 // 0)
                with pytest.raises(ZeroDivisionError):
                    connection.publish(ALARM, b"x", on_ack=None)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            answered = asyncio.Event()
            connection.publish(ALARM, b"y", on_ack=lambda _code: answered.set())
            async with asyncio.timeout(1):
                await answered.wait()
            connection.abort()

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
