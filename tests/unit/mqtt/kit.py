"""One end of a connection, and what it has heard."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Literal

import pytest

from firmware_sim.broker import Mosquitto, access_list
from gateway.errors import LinkError
from gateway.mqtt import Broker, Connection, Message, Will
from tests.support.brokers import Site

ALARM = "c5/v1/senafront/tower-3/gw-1/event/alarm"
STATE = "c5/v1/senafront/tower-3/gw-1/state"
RECEIPT = "c5/v1/senafront/tower-3/gw-1/receipt"
ACCESS = access_list(gateways=["gw-1"], receivers=["c5-a"])


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
