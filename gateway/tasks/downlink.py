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
    from gateway.clock import Judge
    from gateway.mqtt import Message
    from gateway.tasks.recorder import Recorder
    from gateway.tasks.store import Store

log = logging.getLogger(__name__)

DECLARED_PAUSE: Final = 60.0  # seconds between two declarations of a lane
DECLARED_MAX: Final = 64  # ranges in one declaration, which must stay below 4 KiB
UNKNOWN_MAX: Final = 1024  # ranges of unknown epochs remembered as declared; of more, the oldest are declared again
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
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

    @property
    def carried(self) -> bool:
        """Whether there is a path for the records now."""

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
        clock: "Judge",
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
        self._unknown: dict[tuple[Lane, Range], int] = {}  # declared of unknown epochs, and by which record
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
        at = max(_EPOCH + timedelta(microseconds=self._clock.firm()[0]), self._own.not_before)
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
        heard = self._speakers.receipt(wire, at)
        if isinstance(heard, Refused):
            self._refuse(heard, now)
            return
        receipt = heard.receipt
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
        path.alive(heard.by, receipt.time_us, now)
        new = self._sending.receipted(claim.covered)
        self._store.receipted(new)
        self.on_receipted(new)
        self._send_again(claim.missing, now)
        self._declare_unknown(claim.unknown, now)
        self._sending.pump()

    def resend(self, lane: Lane, epoch: bytes, first: int, last: int) -> tuple[int, int] | None:
        """Send again what of a range is here; return how many records that are, and how many are here no more.

        Without a path none go out: what C5 lacks does once there is one, unasked. None: this store knows no such
        epoch. What is lost with a store, C5's own receipts ask for.
        """
        now, count = self._clock.monotonic(), last - first + 1
        ordinal = self._ordinals.get(epoch)
        if ordinal is None:
            return None
        run = Run(lane, ordinal, first, last)
        here = sum(part.last - part.first + 1 for part in self._coverage.left_of(run))
        self._send_again((run,), now)
        self._sending.pump()
        return here if self._sending.carried else 0, count - here

    def _send_again(self, runs: Sequence[Run], now: float) -> None:
        absent = [part for run in runs for part in self._sending.requested(run, now)]
        parts = [self._coverage.parted(run) for run in absent]
        self._declare([part for had, _lost in parts for part in had], "receipted", now)
        self._declare([part for _had, lost in parts for part in lost], "lost", now)

    def learn(self, ordinals: Mapping[bytes, int]) -> None:
        """Take in epochs of which a salvage has found records."""
        self._ordinals |= ordinals
        self._epochs |= {ordinal: epoch for epoch, ordinal in ordinals.items()}

    def lost(self, runs: Sequence[Run]) -> None:
        """C5 asked for these, no receipt covers them, and the outbox doesn't hold them."""
        known = [run for run in runs if run.ordinal in self._epochs]  # not those of a disk that was unread at the start
        self._declare(known, "lost", self._clock.monotonic())

    def _declare(self, runs: Sequence[Run], reason: str, now: float) -> None:
        """Tell C5 what it asks for in vain, unless it is being told; from now on that isn't missed.

        What is lost is C5's no more than it is ours: nobody is to be told of it that C5 has it, nor C5 that it had it.
        """
        for lane in {run.lane for run in runs}:
            if not self._may_declare(lane, reason, now):
                continue
            untold = [part for run in runs if run.lane is lane for part in self._coverage.untold(run)]
            told = tuple(untold[:DECLARED_MAX])
            ranges = [(self._epochs[run.ordinal], run.first, run.last) for run in told]
            drops = told if reason == "lost" else ()
            if told and (sequence := self._unavailable(lane, ranges, reason, now, drops)) is not None:
                self._coverage.forgo(told, (self._own.ordinal, sequence), lost=reason == "lost")

    def _declare_unknown(self, ranges: Sequence[tuple[Lane, Range]], now: float) -> None:
        """Tell C5 that epochs which this store doesn't know are lost, unless it is being told."""
        for lane in {lane for lane, _range in ranges}:
            if not self._may_declare(lane, "lost", now):
                continue
            untold = [entry for other, entry in ranges if other is lane and not self._being_told(lane, entry)]
            told = untold[:DECLARED_MAX]
            if told and (sequence := self._unavailable(lane, told, "lost", now)) is not None:
                self._unknown.update({(lane, entry): sequence for entry in told})
                for oldest in list(self._unknown)[:-UNKNOWN_MAX]:
                    del self._unknown[oldest]

    def _may_declare(self, lane: Lane, reason: str, now: float) -> bool:
        """Whether it is time: at most once a minute for a lane, and nothing is lost that may still be found."""
        if now < self._declared_at.get(lane, now - DECLARED_PAUSE) + DECLARED_PAUSE:
            return False
        return not (reason == "lost" and self.salvaging())

    def _unavailable(
        self, lane: Lane, ranges: Sequence[Range], reason: str, now: float, drops: tuple[Run, ...] = ()
    ) -> int | None:
        """Record it; return which record of the status lane says so, or None if there was no room for it."""
        count = sum(last - first + 1 for _epoch, first, last in ranges)
        log.warning("C5 asks for %d records that are not here: %s", count, reason)
        data = {"lane": int(lane), "ranges": [list(entry) for entry in ranges], "count": count, "reason": reason}
        event = Event("records.unavailable", self._own.route.gateway, data=data)
        signed = self._recorder.record(event, drops=drops)
        if signed is None:
            return None
        self._declared_at[lane] = now
        return signed.record.sequence

    def _being_told(self, lane: Lane, entry: Range) -> bool:
        sequence = self._unknown.get((lane, entry))
        if sequence is None:
            return False
        if not self._coverage.left_of(Run(Lane.STATUS, self._own.ordinal, sequence, sequence)):
            del self._unknown[lane, entry]
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
