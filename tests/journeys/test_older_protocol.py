"""A broker that speaks MQTT 3.1.1 alone: everything is delivered, and what is lost by it is said."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

from firmware_sim.broker import Mosquitto, free_port
from firmware_sim.gateway import Gateway, Settings
from tests.support.older import Older
from tests.support.receiver import Receiver
from tests.support.world import GATEWAY, Counted, World, until

LOST = "the broker speaks MQTT 3.1.1 alone"


@dataclass(frozen=True, slots=True)
class Plain(Settings):
    """Settings for a broker on this machine without TLS, so that what stands between can read the version."""

    def toml(self, state_dir: Path) -> str:
        text = Settings.toml(self, state_dir)
        return text.replace(f"port = {self.broker_port}", f"port = {self.broker_port}\ntls = false")


class OlderWorld(World):
    """The gateway reaches the broker through what refuses MQTT 5; the receiver reaches it with TLS."""

    def __init__(self, folder: Path, authority: Path) -> None:
        super().__init__(folder, authority)
        secured, home = free_port(), folder / "plain"
        home.mkdir()
        self.broker = Mosquitto(
            tls=self._credentials(), home=home, settings=["allow_anonymous true", f"listener {secured} 127.0.0.1"]
        )
        self.link = Older(self.broker.port, port=free_port())
        self.gateway = Gateway(
            Plain(authority, self.link.port, {"radio": self.line.path}, GATEWAY),
            folder / "gw",
            module=self.gateway.module,
        )
        self.receiver = Receiver(authority, secured, folder / "c5")


def test_a_broker_that_speaks_the_older_version_alone_is_asked_once_and_everyone_is_told(
    tmp_path: Path, authority: Path, counted: Counted
) -> None:
    async def journey() -> None:
        world = OlderWorld(tmp_path, authority)
        async with asyncio.timeout(100), world.link, world:
            await world.press()
            assert world.link.levels == [5, 4]
            assert world.gateway.log.count(LOST) == 1
            (broker,) = (await world.ask())["brokers"]
            assert (broker["version"], broker["notice"].startswith(LOST)) == ("3.1.1", True)
            assert await world.troubles() == "", "it works: a notice, and no trouble"
            _status, printed, _ = await world.gateway.command("status")
            assert LOST in " ".join(printed.split())

            world.link.cut()
            await until(lambda: len(world.link.levels) == 3, "a new connection")
            assert world.link.levels == [5, 4, 4], "remembered"
            await world.press()
            counted(await world.judged())

            await world.gateway.stop()
            status, printed, _ = await world.gateway.command("check", "--json")
            findings = [finding for finding in json.loads(printed)["findings"] if finding["what"].startswith("broker")]
            assert [finding["result"] for finding in findings] == ["ok", "warning"]
            assert (status, findings[1]["text"].startswith(LOST)) == (0, True)
            await world.gateway.start()

    asyncio.run(journey())
