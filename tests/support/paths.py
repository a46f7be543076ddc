"""A site with two brokers, each behind a link that can become a black hole, and a centre at both.

async with TwoPaths(tmp_path, authority, profile=8) as world:
    world.links[0].black_hole()
"""

import asyncio
import time
from pathlib import Path
from typing import Any, Self

from firmware_sim.broker import Mosquitto, free_port
from firmware_sim.gateway import Gateway, Settings
from tests.support.proxy import Proxy
from tests.support.receiver import Receiver
from tests.support.world import ALLOWED, GATEWAY, World, until


class TwoPaths(World):
    """`links[0]` leads to the preferred broker."""

    def __init__(self, folder: Path, authority: Path, *, profile: int, tables: str = "") -> None:
        super().__init__(folder, authority)
        home = folder / "other-broker"
        home.mkdir()
        self.profile = profile
        self.other = Mosquitto(tls=self._credentials(), access=ALLOWED, home=home)
        self.links = [Proxy(broker.port, port=free_port()) for broker in (self.broker, self.other)]
        first, second = (link.port for link in self.links)
        settings = Settings(
            authority,
            first,
            {"radio": self.line.path},
            GATEWAY,
            tables=f"[delivery]\nprofile = {profile}\n{tables}",
            other_brokers=[second],
        )
        environment = self.gateway.environment
        self.gateway = Gateway(settings, folder / "gw")
        self.gateway.environment = environment
        self.receiver = Receiver(authority, self.broker.port, folder / "c5", others=[self.other.port])

    async def __aenter__(self) -> Self:
        await self._inside.enter_async_context(self.other)
        for link in self.links:
            await self._inside.enter_async_context(link)
        await super().__aenter__()
        await until(lambda: self.receiver.log.count("Connected to broker") >= 2, "the receiver at both brokers")
        await until(self._both, "the gateway at both brokers")
        return self

    async def brokers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.ask())["brokers"]
        return found

    async def _both(self) -> bool:
        first, second = await self.brokers()
        return bool(first["connected"] and second["connected"] and first["carries"])

    async def carries(self, number: int) -> bool:
        """Whether the records go over this path."""
        return "status" in (await self.brokers())[number]["carries"]

    async def seen(self, type_: str, since: float, broker: int | None = None) -> float:
        """Wait for a record of this type at C5, and return the seconds since `since`."""
        name = None if broker is None else f"127.0.0.1:{self.links[broker].port}"

        def there() -> bool:
            return any(name is None or line["data"]["broker"] == name for line in self.receiver.of_type(type_))

        await until(there, f"{type_} at C5", within=2.0 * self.profile + 10)
        return time.monotonic() - since

    async def another(self, type_: str, before: int, since: float) -> float:
        """Wait for one more record of this type at C5 than `before`, and return the seconds since `since`."""
        await until(lambda: len(self.receiver.of_type(type_)) > before, f"{type_} at C5", within=2.0 * self.profile)
        return time.monotonic() - since

    async def reported(self, type_: str, since: float) -> float:
        """Wait for C5's own report, and return the seconds since `since`."""
        await until(lambda: type_ in self.receiver.reports(), f"{type_} reported", within=2.0 * self.profile + 10)
        return time.monotonic() - since

    async def hole(self, *numbers: int, after: float = 0.0) -> float:
        """Make these links black holes, `after` so many seconds; return when."""
        await asyncio.sleep(after)
        for number in numbers:
            self.links[number].black_hole()
        return time.monotonic()
