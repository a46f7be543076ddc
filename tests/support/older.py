"""A link to a broker that passes MQTT 3.1.1 through, and answers MQTT 5 as a broker does that doesn't know it."""

import asyncio

from tests.support.proxy import Proxy

_REFUSED = bytes.fromhex("2002 00 01")  # CONNACK, unacceptable protocol version (MQTT 3.1.1, 3.2.2.3)


def _level(connect: bytes) -> int:
    """Return the protocol level of a CONNECT: after the fixed header's length, and the name MQTT."""
    return connect[connect.index(b"MQTT") + 4]


class Older(Proxy):
    """`levels` are those that were asked for, in order."""

    def __init__(self, target: int, *, port: int = 0) -> None:
        super().__init__(target, port=port)
        self.levels: list[int] = []

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(4096)
        if not first:
            writer.close()
            return
        self.levels.append(_level(first))
        if self.levels[-1] == 5:
            writer.write(_REFUSED)
            writer.close()
            return
        reader.feed_data(first)  # put back what was looked at: a client says no more before it has its answer
        await super()._accept(reader, writer)
