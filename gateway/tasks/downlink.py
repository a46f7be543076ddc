"""What C5 says to this gateway: receipts, its heartbeat, and the certificates by which both are believed.

Everything here came through a broker that may forge, repeat and withhold. Whose word it is, `Speakers` says; what a
receipt covers, `coverage`. A receipt counts whenever it was made, coverage only grows; but only a newer one than the
last shows that the centre lives. What C5 asks for and isn't here is declared (`records.unavailable`).
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from gateway.control.authorise import Speakers
from gateway.delivery.coverage import Coverage, judge
from gateway.delivery.item import Run
from gateway.delivery.link import CentreWatch, Restored
from gateway.delivery.schedule import Schedule
from gateway.errors import Refused
from gateway.event import Event, Lane
from gateway.sensing.limit import Limiter
from gateway.signing.record import SYNCHRONISED
from gateway.tasks import said
from gateway.topics import CENTRE, CENTRE_CERTIFICATES

if TYPE_CHECKING:
    from gateway.clock import Timekeeper
    from gateway.mqtt import Message
    from gateway.tasks.recorder import Recorder
    from gateway.tasks.store import Store

log = logging.getLogger(__name__)

RESTART_PAUSE: Final = 5.0  # seconds between two times that a receiver's coming has everything sent again
DECLARED_PAUSE: Final = 60.0  # seconds between two declarations of a lane
DECLARED_MAX: Final = 64  # ranges in one declaration, which must stay below 4 KiB
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RECEIPTS: Final = ""  # the name under which the watch keeps the newest receipt's time; no receiver has it
_REFUSED: Final = "receipt"

Range = tuple[bytes, int, int]  # epoch, first, last


class Downlink:
    """Hears C5; tells the schedule, the store and the devices what it has."""

    def __init__(
        self,
        *,
        own: said.Self,
        schedule: Schedule,
        coverage: Coverage,
        recorder: "Recorder",
        store: "Store",
        speakers: Speakers,
        watch: CentreWatch,
        ordinals: Mapping[bytes, int],
        clock: "Timekeeper",
        troubles: dict[str, str],
        pump: Callable[[], None],
        confirmed_by_broker: bool,
    ) -> None:
        self._own = own
        self._schedule = schedule
        self._coverage = coverage
        self._recorder = recorder
        self._store = store
        self._speakers = speakers
        self._watch = watch
        self._ordinals = {**ordinals, own.epoch: own.ordinal}
        self._epochs = {ordinal: epoch for epoch, ordinal in self._ordinals.items()}
        self._clock = clock
        self._troubles = troubles
        self._pump = pump
        self._receipts_count = not confirmed_by_broker
        self._refused: Limiter[str] = Limiter()
        self._reason = ""  # of the last refused receipt
        self._restarted_at = -RESTART_PAUSE
        self._declared_at: dict[Lane, float] = {}
        self._declared: dict[tuple[Lane, Range], int] = {}  # and in which record of the status lane
        self.receipts = 0
        self.on_receipted: Callable[[Sequence[Run]], None] = lambda _runs: None

    @property
    def topics(self) -> list[str]:
        """What to subscribe to."""
        return [self._own.route.topic("receipt"), CENTRE]

    def connected(self, now: float) -> None:
        """A connection began."""
        self._watch.connected(now)

    def disconnected(self, now: float) -> None:
        """It ended: the centre's silence says nothing now."""
        self._watch.disconnected(now)

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        deadlines = (self._watch.deadline if self._receipts_count else None, self._refused.deadline)
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def tick(self, now: float) -> None:
        """Time passed, with a connection up."""
        if self._receipts_count and (silent := self._watch.tick(now)) is not None:
            self._schedule.silent(silent=True)
            self._troubles["centre"] = said.explain_silence(silent.seconds)
            log.warning("the centre is silent")
            self._record("centre.silent", {"seconds": round(silent.seconds)})
        for _key, count in self._refused.tick(now):
            self._report_refused(count)

    def arrived(self, arrived: "Message") -> None:
        """Take what the broker brought; foreign bytes are refused, and never raise."""
        at = max(_EPOCH + timedelta(microseconds=self._clock.now_us()), self._own.not_before)
        now = self._clock.monotonic()
        if arrived.topic == CENTRE:
            heartbeat = self._speakers.heartbeat(arrived.payload, at)
            if isinstance(heartbeat, Refused):
                log.debug("a heartbeat was refused: %s", heartbeat.reason)
            else:
                self._alive(heartbeat.name, heartbeat.time_us, now)
        elif arrived.topic.startswith(CENTRE_CERTIFICATES + "/"):
            name = arrived.topic.removeprefix(CENTRE_CERTIFICATES + "/")
            self._introduced(name, arrived.payload, at, live=not arrived.retain)
        elif arrived.topic == self._own.route.topic("receipt") and self._receipts_count:
            self._receipt(arrived.payload, at, now)

    def _introduced(self, name: str, payload: bytes, at: datetime, *, live: bool) -> None:
        known, now = self._speakers.introduce(name, payload, at), self._clock.monotonic()
        if isinstance(known, Refused):
            log.debug("a certificate of C5 was refused: %s", known.reason)
        elif known.role == "receiver" and live and now >= self._restarted_at + RESTART_PAUSE:
            # A receiver that introduces itself now has just come, perhaps without the session in which the broker
            # would have kept for it what we sent meanwhile (docs/decisions/0012).
            self._restarted_at = now
            self._schedule.restart()
            self._pump()

    def _receipt(self, wire: bytes, at: datetime, now: float) -> None:
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
        self._alive(_RECEIPTS, receipt.time_us, now)
        new = self._schedule.receipted(claim.covered)
        self._store.receipted(new)
        self.on_receipted(new)
        gone = [part for run in claim.missing for part in self._schedule.requested(run, now)]
        self._declare([(run.lane, self._range(run)) for run in gone], "receipted", now)
        self._declare(claim.unknown, "lost", now)
        self._pump()

    def lost(self, runs: Sequence[Run]) -> None:
        """C5 asked for these, no receipt covers them, and the outbox doesn't hold them."""
        self._declare([(run.lane, self._range(run)) for run in runs], "lost", self._clock.monotonic())

    def _range(self, run: Run) -> Range:
        return self._epochs[run.ordinal], run.first, run.last

    def _declare(self, ranges: Sequence[tuple[Lane, Range]], reason: str, now: float) -> None:
        """Tell C5 what it asks for in vain: at most once a minute for a lane, and nothing that is being told."""
        for lane in {lane for lane, _range in ranges}:
            if now < self._declared_at.get(lane, now - DECLARED_PAUSE) + DECLARED_PAUSE:
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

    def _alive(self, name: str, time_us: int, now: float) -> None:
        """Note a sign of life, unless it is a recording."""
        known_us = self._clock.now_us() if self._clock.quality()[0] in SYNCHRONISED else None
        restored: Restored | None = self._watch.heartbeat(name, time_us, now, known_us)
        if restored is not None:
            self._schedule.silent(silent=False)
            self._troubles.pop("centre", None)
            log.info("the centre is heard again")
            self._record("centre.restored", {"seconds": round(restored.seconds)})
            self._pump()

    def _record(self, type_: str, data: Mapping[str, Any]) -> None:
        self._recorder.record(Event(type_, self._own.route.gateway, data=data))
