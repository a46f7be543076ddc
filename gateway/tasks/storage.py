"""What becomes of the disk's troubles: records for C5, and a signed declaration for whatever the outbox drops."""

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from gateway.delivery.coverage import Coverage
from gateway.delivery.item import Run
from gateway.event import LANE_NAMES, Event, Lane

if TYPE_CHECKING:
    from gateway.outbox.dropping import Drop
    from gateway.tasks.recorder import Recorder

log = logging.getLogger(__name__)

LOST_MAX: Final = 64  # ranges in one declaration, which must stay below 4 KiB
REASON_MAX: Final = 500  # characters of a reason: it must fit into a record


class Storage:
    """Tells C5 of the disk. `ordinals` are the store's epochs."""

    def __init__(self, gateway: str, recorder: "Recorder", coverage: Coverage, ordinals: Mapping[bytes, int]) -> None:
        self._gateway = gateway
        self._recorder = recorder
        self._coverage = coverage
        self._epochs = {ordinal: epoch for epoch, ordinal in ordinals.items()}

    def trouble(self, trouble: str | None) -> None:
        """Nothing can be stored, for this reason; None: it can again."""
        if trouble is None:
            self._record("storage.restored", {"reason": "writable"})
        else:
            self._record("storage.degraded", {"reason": trouble[:REASON_MAX]})

    def low(self, free_mb: int, low: bool) -> None:
        """The file system has so little free, or enough again."""
        kind, reason = ("storage.low", "the file system is nearly full") if low else ("storage.restored", "room")
        self._record(kind, {"reason": reason, "free_mb": free_mb})

    def drop(self, drop: "Drop") -> None:
        """Sign what is to leave, for the transaction in which it leaves; from now on it is neither sent nor missed."""
        if drop.leaving:
            log.warning("the outbox is full: %d records of lane %s leave", drop.leaving, LANE_NAMES[drop.lane])
        event = Event("records.unavailable", self._gateway, data=drop.data(self._epochs))
        signed = self._recorder.record(event, drops=drop.runs)
        assert signed is not None
        self._coverage.forgo(drop.runs, (self._recorder.ordinal, signed.record.sequence))

    def found(self, runs: Sequence[Run], ordinals: Mapping[bytes, int]) -> None:
        """Take in what a salvage has found, and the epochs of it."""
        self._epochs |= {ordinal: epoch for epoch, ordinal in ordinals.items()}
        for run in runs:
            self._coverage.found(run)

    def lost(self, lost: Sequence[Run]) -> None:
        """Declare what a salvage has not found (wire.md, section 2 "Unavailable")."""
        for lane in Lane:
            runs = [run for run in lost if run.lane is lane]
            for first in range(0, len(runs), LOST_MAX):
                told = tuple(runs[first : first + LOST_MAX])
                count = sum(run.last - run.first + 1 for run in told)
                log.warning("lost: %d records of lane %s", count, LANE_NAMES[lane])
                ranges = [[self._epochs[run.ordinal], run.first, run.last] for run in told]
                data = {"lane": int(lane), "ranges": ranges, "count": count, "reason": "lost"}
                event = Event("records.unavailable", self._gateway, data=data)
                if (signed := self._recorder.record(event, drops=told)) is not None:  # else C5 is told when it asks
                    self._coverage.forgo(told, (self._recorder.ordinal, signed.record.sequence), lost=True)

    def _record(self, type_: str, data: Mapping[str, Any]) -> None:
        self._recorder.record(Event(type_, self._gateway, data=data))
