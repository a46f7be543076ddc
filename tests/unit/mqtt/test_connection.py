"""The connection against real brokers: what is delivered, and how its end is noticed."""

import asyncio

import aiomqtt
import pytest

from firmware_sim.broker import Embedded, Mosquitto, access_list
from gateway.errors import LinkError
from gateway.mqtt import Broker, Message, Will
from tests.support.brokers import Site
from tests.support.proxy import Proxy
from tests.unit.mqtt.kit import (
    ACCESS,
    ALARM,
    RECEIPT,
    STATE,
    End,
    as_gateway,
    as_receiver,
    connect,
    published,
)


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


def test_two_thousand_publishes_within_the_brokers_window_are_all_acknowledged(site: Site) -> None:
    async def main() -> None:
        async with Mosquitto(tls=site.broker(), access=ACCESS, max_inflight=50) as broker:
            centre, end = End(), End()
            receiver = await connect(as_receiver(site, broker.port), centre, "c5-a")
            await receiver.subscribe(["c5/v1/+/+/+/event/#"])
            gateway = await connect(as_gateway(site, broker.port), end)
            left = iter(range(2000))
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
            await end.until(lambda: len(codes) == 2000)
            await centre.until(lambda: len(centre.messages) == 2000)
            assert codes == [0] * 2000
            assert [int(message.payload) for message in centre.messages] == list(range(2000))
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
