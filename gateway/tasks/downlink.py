"""What C5 says to this gateway: receipts, its heartbeat, and the certificates by which both are believed.

Everything here came through a broker that may forge, repeat and withhold. Whose word it is, `Speakers` says; what a
receipt covers, `coverage`. A receipt counts whenever and on whichever path it came, coverage only grows; but only a
newer one than the last shows that the centre lives, on the path that brought it. What C5 asks for and isn't here is
declared (`records.unavailable`).
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

from gateway.control.authorise import Speakers
from gateway.delivery.coverage import Coverage, judge
from gateway.delivery.item import Run
from gateway.errors import Refused
from gateway.event import Event, Lane
from gateway.sensing.limit import Limiter
from gateway.tasks import said
from gateway.topics import CENTRE, CENTRE_CERTIFICATES

if TYPE_CHECKING:
    from gateway.clock import Timekeeper
    from gateway.mqtt import Message
    from gateway.tasks.recorder import Recorder
    from gateway.tasks.store import Store

log = logging.getLogger(__name__)

DECLARED_PAUSE: Final = 60.0  # seconds between two declarations of a lane
DECLARED_MAX: Final = 64  # ranges in one declaration, which must stay below 4 KiB
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RECEIPTS: Final = ""  # the name under which the watch keeps the newest receipt's time; no receiver has it
_REFUSED: Final = "receipt"

Range = tuple[bytes, int, int]  # epoch, first, last


class Hearing(Protocol):
    """The path that brought a message, as far as it must know what C5 said there."""

    def alive(self, name: str, time_us: int, now: float) -> None:
        """Note a sign of life, unless it is a recording."""

    def introduced(self, now: float) -> None:
        """Note that a receiver has just come to this broker."""


class Sending(Protocol):
    """All paths together, as far as they must know what C5 has and lacks."""

    def receipted(self, runs: Sequence[Run]) -> list[Run]:
        """Note what C5 has; return what of it was not known before."""

    def requested(self, run: Run, now: float) -> list[Run]:
        """Note that C5 lacks a run; return what of it is here no more."""

    def pump(self) -> None:
        """Publish what may go now."""


class Downlink:
    """Hears C5; tells the paths, the store and the devices what it has."""

    def __init__(
        self,
        *,
        own: said.Self,
        sending: Sending,
        coverage: Coverage,
        recorder: "Recorder",
        store: "Store",
        speakers: Speakers,
        ordinals: Mapping[bytes, int],
        clock: "Timekeeper",
        confirmed_by_broker: bool,
    ) -> None:
        self._own = own
        self._sending = sending
        self._coverage = coverage
        self._recorder = recorder
        self._store = store
        self._speakers = speakers
        self._ordinals = {**ordinals, own.epoch: own.ordinal}
        self._epochs = {ordinal: epoch for epoch, ordinal in self._ordinals.items()}
        self._clock = clock
        self._receipts_count = not confirmed_by_broker
        self._refused: Limiter[str] = Limiter()
        self._reason = ""  # of the last refused receipt
        self._declared_at: dict[Lane, float] = {}
        self._declared: dict[tuple[Lane, Range], int] = {}  # and in which record of the status lane
        self.receipts = 0
        self.on_receipted: Callable[[Sequence[Run]], None] = lambda _runs: None
        self.on_command: Callable[[bytes], None] = lambda _wire: None
        self.salvaging: Callable[[], bool] = lambda: False  # what isn't here may still be found

    @property
    def topics(self) -> list[str]:
        """What to subscribe to."""
        return [self._own.route.topic("receipt"), CENTRE]

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        return self._refused.deadline

    def tick(self, now: float) -> None:
        """Time passed."""
        for _key, count in self._refused.tick(now):
            self._report_refused(count)

    def arrived(self, path: Hearing, arrived: "Message") -> None:
        """Take what a broker brought; foreign bytes are refused, and never raise."""
        at = max(_EPOCH + timedelta(microseconds=self._clock.now_us()), self._own.not_before)
        now = self._clock.monotonic()
        if arrived.topic == CENTRE:
            heartbeat = self._speakers.heartbeat(arrived.payload, at)
            if isinstance(heartbeat, Refused):
                log.debug("a heartbeat was refused: %s", heartbeat.reason)
            else:
                path.alive(heartbeat.name, heartbeat.time_us, now)
        elif arrived.topic.startswith(CENTRE_CERTIFICATES + "/"):
            name = arrived.topic.removeprefix(CENTRE_CERTIFICATES + "/")
            self._introduced(path, name, arrived.payload, at, live=not arrived.retain)
        elif arrived.topic == self._own.route.topic("receipt") and self._receipts_count:
            self._receipt(path, arrived.payload, at, now)
        elif arrived.topic == self._own.route.topic("command"):
            self.on_command(arrived.payload)

    def _introduced(self, path: Hearing, name: str, payload: bytes, at: datetime, *, live: bool) -> None:
        known = self._speakers.introduce(name, payload, at)
        if isinstance(known, Refused):
            log.debug("a certificate of C5 was refused: %s", known.reason)
        elif known.role == "receiver" and live:
            path.introduced(self._clock.monotonic())

    def _receipt(self, path: Hearing, wire: bytes, at: datetime, now: float) -> None:
        receipt = self._speakers.receipt(wire, at)
        if isinstance(receipt, Refused):
            self._refuse(receipt, now)
            return
        claim = judge(
            receipt.up_to,
            receipt.missing,
            present=self._own.epoch,
            signed={lane: self._recorder.sequence(lane) for lane in Lane},
            ordinals=self._ordinals,
        )
        if isinstance(claim, Refused):
            self._refuse(claim, now)
            return
        self.receipts += 1
        path.alive(_RECEIPTS, receipt.time_us, now)
        new = self._sending.receipted(claim.covered)
        self._store.receipted(new)
        self.on_receipted(new)
        self._send_again(claim.missing, now)
        self._declare(claim.unknown, "lost", now)
        self._sending.pump()

    def resend(self, lane: Lane, epoch: bytes, first: int, last: int) -> tuple[int, int]:
        """Send again what of a range is here; return how many records that are, and how many are here no more."""
        now, count = self._clock.monotonic(), last - first + 1
        ordinal = self._ordinals.get(epoch)
        if ordinal is None:
            self._declare([(lane, (epoch, first, last))], "lost", now)
            return 0, count
        run = Run(lane, ordinal, first, last)
        here = sum(part.last - part.first + 1 for part in self._coverage.left_of(run))
        self._send_again((run,), now)
        self._sending.pump()
        return here, count - here

    def _send_again(self, runs: Sequence[Run], now: float) -> None:
        absent = [part for run in runs for part in self._sending.requested(run, now)]
        gone = [part for run in absent for part in self._coverage.untold(run)]
        self._declare([(run.lane, self._range(run)) for run in gone], "receipted", now)

    def learn(self, ordinals: Mapping[bytes, int]) -> None:
        """Take in epochs of which a salvage has found records."""
        self._ordinals |= ordinals
        self._epochs |= {ordinal: epoch for epoch, ordinal in ordinals.items()}

    def lost(self, runs: Sequence[Run]) -> None:
        """C5 asked for these, no receipt covers them, and the outbox doesn't hold them."""
        known = [run for run in runs if run.ordinal in self._epochs]  # not those of a disk that was unread at the start
        self._declare([(run.lane, self._range(run)) for run in known], "lost", self._clock.monotonic())

    def _range(self, run: Run) -> Range:
        return self._epochs[run.ordinal], run.first, run.last

    def _declare(self, ranges: Sequence[tuple[Lane, Range]], reason: str, now: float) -> None:
        """Tell C5 what it asks for in vain: at most once a minute for a lane, and nothing that is being told."""
        for lane in {lane for lane, _range in ranges}:
            if now < self._declared_at.get(lane, now - DECLARED_PAUSE) + DECLARED_PAUSE:
                continue
            if reason == "lost" and self.salvaging():
                continue
            told = [entry for other, entry in ranges if other is lane and not self._being_told(lane, entry)]
            if not told:
                continue
            told = told[:DECLARED_MAX]
            self._declared_at[lane] = now
            count = sum(last - first + 1 for _epoch, first, last in told)
            log.warning("C5 asks for %d records that are not here: %s", count, reason)
            data = {"lane": int(lane), "ranges": [list(entry) for entry in told], "count": count, "reason": reason}
            self._record("records.unavailable", data)
            self._declared.update({(lane, entry): self._recorder.sequence(Lane.STATUS) for entry in told})

    def _being_told(self, lane: Lane, entry: Range) -> bool:
        sequence = self._declared.get((lane, entry))
        if sequence is None:
            return False
        if not self._coverage.left_of(Run(Lane.STATUS, self._own.ordinal, sequence, sequence)):
            del self._declared[lane, entry]
            return False
        return True

    def _refuse(self, refused: Refused, now: float) -> None:
        self._reason = refused.reason
        if (count := self._refused.happened(_REFUSED, now)) is not None:
            self._report_refused(count)

    def _report_refused(self, count: int) -> None:
        log.warning("a receipt was refused: %s (%d)", self._reason, count)
        self._record("receipt.refused", {"reason": self._reason, "count": count})

    def _record(self, type_: str, data: Mapping[str, Any]) -> None:
        self._recorder.record(Event(type_, self._own.route.gateway, data=data))
