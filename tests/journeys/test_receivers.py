"""What real receivers said: the logs that gpsd is tested with, some hundred receivers' of twenty years.

None of them lasts a day (the longest 11 minutes), so that a day is all of them, one after the other, again and again,
as one line would bring them, in pieces that begin and end anywhere: NMEA of every kind, AIS, UBX, SiRF, RTCM and TSIP
binary, receivers that were just switched on, lost their fix or counted their weeks wrongly.
"""

import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from gateway.clock import FieldClock
from gateway.drivers.nmea import REFUSALS, Sentences
from gateway.sensing.fix import Said
from gateway.sensing.satellites import LEAP_US
from gateway.wall import GNSS
from tests.support.memory import Clock
from tests.support.world import Counted
from tests.unit.tasks.test_whereabouts import Site

FETCH: Final = Path(__file__).parents[2] / "packaging" / "fetch_gpsd_logs.sh"
DAY: Final = 86_400.0
PIECE: Final = 97  # bytes, so that no sentence is cut where the one before was
PAUSE: Final = 600.0  # seconds between two times of a log; more is another log's time
LEAST, MOST = datetime(1999, 8, 22, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def logs() -> dict[str, bytes]:
    fetched = subprocess.run([str(FETCH)], check=True, timeout=300, stdout=subprocess.PIPE, text=True)
    return {path.name: path.read_bytes() for path in sorted(Path(fetched.stdout.strip()).glob("*.log"))}


@dataclass
class Line:
    """One gateway's line, and what has come over it. `time` is the receivers' own, in seconds."""

    sentences: Sentences = field(default_factory=Sentences)
    site: Site = field(default_factory=Site)
    machine: Clock = field(default_factory=lambda: Clock(source=0))
    time: float = 0.0
    fixes: int = 0
    exceptions: list[str] = field(default_factory=list)
    told: tuple[int, float] | None = None  # the time of satellites at its last look, and when that was

    def __post_init__(self) -> None:
        self.clock = FieldClock(self.machine, None, LEAST, MOST)
        self.clock.satellites = self.site.satellites.at

    def brings(self, name: str, data: bytes) -> None:
        try:
            self._brings(data)
        except Exception as error:  # noqa: BLE001  # what is raised is what is counted
            self.exceptions.append(f"{name}: {error!r}")

    def _brings(self, data: bytes) -> None:
        before: float | None = None
        for said in self._read(data):
            if said.second is not None:
                passed = 0.0 if before is None else (said.second - before) % DAY
                before = said.second
                self.time += passed if passed <= PAUSE else 0.0
            self.machine.now = 1000.0 + self.time
            fix = self.site.where.receiver.fix
            self.site.where.said(said, self.machine.now)
            self.site.where.tick(self.machine.now)
            self.fixes += self.site.where.receiver.fix is not fix
            self._looks()

    def _looks(self) -> None:
        """A hundred receivers' times never move the clock by more than they may be late, but by the leap seconds."""
        judged, now = self.clock.judged(), self.machine.now
        if judged.source != GNSS:
            return
        if self.told is not None and now - self.told[1] < PAUSE:
            stepped_us = abs(judged.us - self.told[0] - (now - self.told[1]) * 1e6)
            assert stepped_us <= LEAP_US, "a jump of the time that records are signed by"
        self.told = judged.us, now

    def _read(self, data: bytes) -> Iterator[Said]:
        for at in range(0, len(data), PIECE):
            yield from self.sentences.feed(data[at : at + PIECE])
        yield from self.sentences.feed(b"\r\n")


def speaking(logs: dict[str, bytes]) -> Iterator[str]:
    """Yield the logs that have a sentence."""
    for name, data in logs.items():
        sentences = Sentences()
        sentences.feed(data)
        if sentences.read:
            yield name


def test_all_logs_of_real_receivers_are_read_or_counted_and_nothing_is_raised(
    logs: dict[str, bytes], counted: Counted
) -> None:
    line = Line()
    for name, data in logs.items():
        line.brings(name, data)
    assert line.exceptions == []
    assert line.told is not None
    assert len(list(speaking(logs))) > 80
    assert line.sentences.read > 20_000
    assert line.fixes > 2_000
    assert line.sentences.refused.keys() <= set(REFUSALS)
    assert sum(line.sentences.refused.values()) < sum(data.count(b"$") for data in logs.values())
    counted(shown(logs, line))


@pytest.mark.soak
def test_a_day_of_real_receivers_is_read_without_one_exception(logs: dict[str, bytes], counted: Counted) -> None:
    line, rounds, first = Line(), 0, Counter[str]()
    while line.time < DAY:
        for name, data in logs.items():
            line.brings(name, data)
        rounds += 1
        first = first or line.sentences.refused.copy()
    assert line.exceptions == []
    assert line.sentences.refused == Counter({kind: count * rounds for kind, count in first.items()})
    counted(shown(logs, line) | {"rounds": rounds})


def shown(logs: dict[str, bytes], line: Line) -> dict[str, object]:
    return {
        "logs": len(logs),
        "receiver_s": round(line.time),
        "sentences": line.sentences.read,
        "fixes": line.fixes,
        "refused": dict(sorted(line.sentences.refused.items())),
        "noise_bytes": line.sentences.noise,
        "exceptions": len(line.exceptions),
    }
