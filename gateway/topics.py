"""Topics: `c5/v1/<agency>/<site>/<gateway>/<channel>`, routing and never identity (wire.md, section 3)."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from gateway.event import LANE_NAMES, LANES_BY_NAME, Lane

ROOT: Final = "c5/v1"
CENTRE: Final = f"{ROOT}/centre"
CENTRE_CERTIFICATES: Final = f"{ROOT}/certificates"
PART_MAX: Final = 63
TOPIC_MAX: Final = len(ROOT) + 4 * (1 + PART_MAX)  # the longest channel is shorter than a part
_PART: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_CHANNELS: Final = frozenset(
    {"event/alarm", "event/status", "event/telemetry", "state", "certificates", "reply", "receipt", "command"}
)


def is_part(text: str) -> bool:
    """Whether a topic can hold this as an agency, a site, a gateway or a name."""
    return len(text) <= PART_MAX and _is_part(text)


@lru_cache(maxsize=4096)  # the same few names stand in every record
def _is_part(text: str) -> bool:
    return _PART.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Route:
    """Where a gateway's messages travel."""

    agency: str
    site: str
    gateway: str

    def topic(self, channel: str) -> str:
        """Return the topic of one of this gateway's channels."""
        assert channel in _CHANNELS, channel
        return f"{ROOT}/{self.agency}/{self.site}/{self.gateway}/{channel}"

    def event(self, lane: Lane) -> str:
        """Return the topic of a lane's records."""
        return self.topic(f"event/{LANE_NAMES[lane]}")


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a topic says of a message; none of it is proven."""

    route: Route
    channel: str

    @property
    def lane(self) -> Lane | None:
        """The lane, where the channel carries records."""
        return LANES_BY_NAME.get(self.channel.removeprefix("event/")) if "/" in self.channel else None


def parse(topic: str) -> Arrival | None:
    """Read a gateway's topic; None if it is not one."""
    return _parse(topic) if len(topic) <= TOPIC_MAX else None


@lru_cache(maxsize=4096)  # a gateway's messages come in the same few topics
def _parse(topic: str) -> Arrival | None:
    parts = topic.split("/", 5)
    if len(parts) != 6 or "/".join(parts[:2]) != ROOT or not all(map(is_part, parts[2:5])):
        return None
    if parts[5] not in _CHANNELS:
        return None
    return Arrival(Route(*parts[2:5]), parts[5])
