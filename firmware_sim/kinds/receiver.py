"""`[[receiver]]`: GNSS receivers, each alone on its line."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from firmware_sim.kinds.kind import Kind, Named, OnALine, Seconds, Site, Step
from firmware_sim.nmea import BURST_BYTES, Gnss, Receiver, Talker, Waypoint

Latitude = Annotated[float, Field(ge=-85, le=85)]
Longitude = Annotated[float, Field(ge=-180, le=180)]


class ReceiverSettings(Named, OnALine):
    """A receiver where it stands, and the way that it goes from there: seconds after the start, latitude, longitude."""

    latitude: Latitude
    longitude: Longitude
    way: tuple[tuple[Seconds, Latitude, Longitude], ...] = ()
    rate_hz: Annotated[float, Field(ge=0.1, le=20)] = 1
    talkers: Annotated[tuple[Talker, ...], Field(min_length=1)] = ("GP", "GL")
    noise_m: Annotated[float, Field(ge=0, le=1000)] = 2


class ReceiverStep(Step):
    """What happens to a receiver."""

    of: ClassVar = "receiver"
    receiver: str
    do: Literal["move", "jump", "outage", "mute", "garbage", "heal"]
    latitude: Latitude | None = None  # where it moves to, within `seconds`
    longitude: Longitude | None = None
    seconds: Seconds = 0
    by_s: float = 0  # how wrong its time is after a jump; -619315200 is the rollover of its week counter

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if (self.do == "move") != (self.latitude is not None and self.longitude is not None):
            raise ValueError("move, and nothing else, has a latitude and a longitude")
        return self


class Receivers(Kind):
    """Every GNSS receiver of a run."""

    def __init__(self, tables: Sequence[ReceiverSettings], site: Site) -> None:
        self._tables = tables
        self._stack = AsyncExitStack()
        self.named = {table.name: self._receiver(table, site) for table in tables}

    def _receiver(self, table: ReceiverSettings, site: Site) -> Gnss:
        line = site.lines[table.line]
        if line.baud and table.rate_hz * BURST_BYTES * 10 > line.baud:
            raise ValueError(f"receiver {table.name}: {line.baud} baud are too few for {table.rate_hz:g} Hz")
        receiver = Receiver(
            [Waypoint(0, table.latitude, table.longitude)],
            talkers=table.talkers,
            noise_m=table.noise_m,
            seed=site.random.getrandbits(32),
        )
        return Gnss(line, receiver, rate_hz=table.rate_hz)

    async def __aenter__(self) -> Self:
        for table, gnss in zip(self._tables, self.named.values(), strict=True):
            start = gnss.clock()
            way = ((0.0, table.latitude, table.longitude), *table.way)
            gnss.receiver.way = [Waypoint(start + at, north, east) for at, north, east in way]
            await self._stack.enter_async_context(gnss)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def do(self, step: ReceiverStep) -> None:
        """Move it, let its time jump, or break it; it is healed of all but where it is."""
        gnss = self.named[step.receiver]
        match step.do:
            case "move":
                assert step.latitude is not None
                assert step.longitude is not None
                gnss.move(step.latitude, step.longitude, step.seconds)
            case "jump":
                gnss.receiver.off_s = step.by_s
            case "heal":
                gnss.receiver.fault, gnss.receiver.off_s = "none", 0.0
            case "outage" | "mute" | "garbage":
                gnss.receiver.fault = step.do
