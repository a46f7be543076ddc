"""Which topics a broker refuses to this gateway, asked of the broker itself, as `check` does."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from gateway.event import LANE_NAMES
from gateway.mqtt import Connection
from gateway.topics import CENTRE, CENTRE_CERTIFICATES, Route

REFUSAL: Final = 0x80  # the first of MQTT's reason codes that is one


async def refused_topics(
    dial: Callable[[Callable[[str], None]], Awaitable[Connection]], route: Route, chains: bytes
) -> tuple[str, list[str]]:
    """Return the protocol spoken, and the topics that the broker refuses (MQTT 3.1.1 has no way to say so).

    An empty sequence of records is nothing to C5, and to the broker a publish like any other; the certificates are
    what the service publishes there. Its state can't be tried without saying something untrue. A broker may end the
    connection with its refusal (mosquitto does), so the next topic is asked about on a new one.
    """
    refused: list[str] = []
    answers: asyncio.Queue[int | None] = asyncio.Queue()  # reason codes; None where the connection ended instead
    connection = await dial(partial(_ended, answers))
    try:
        await connection.subscribe([route.topic("receipt"), route.topic("command")])
        await connection.subscribe([CENTRE, f"{CENTRE_CERTIFICATES}/+"])
        tried = {route.event(lane): b"" for lane in LANE_NAMES} | {route.topic("certificates"): chains}
        for topic, payload in tried.items():
            connection.publish(topic, payload, retain=payload != b"", on_ack=answers.put_nowait)
            code = await answers.get()
            if code is None or code >= REFUSAL:
                refused.append(topic)
                connection.abort()
                answers = asyncio.Queue()
                connection = await dial(partial(_ended, answers))
    finally:
        await connection.close()
    return connection.protocol, refused


def _ended(answers: asyncio.Queue[int | None], _reason: str) -> None:
    answers.put_nowait(None)
