"""Bugs planted on purpose: each is one that gateways really have, and the simulation must find it.

Each is put into the real code of this process alone, at a seam that its rule names. `FOUND` is by what it must be
found: another finding would be luck.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final
from unittest import mock

from gateway.delivery import coverage
from gateway.delivery.coverage import Claim
from gateway.delivery.item import Entry
from gateway.delivery.lane import LaneQueue
from gateway.delivery.schedule import Schedule
from gateway.errors import Refused
from gateway.outbox import statements
from gateway.outbox.statements import Start
from gateway.outbox.store import Outbox
from gateway.signing.chain import Chain
from gateway.tasks import downlink

# How the checker says that it has found it.
FOUND: Final = {
    "acknowledge-before-commit": r"was told stage 1 of event \d+, and it isn't there",
    "sequence-reused": r"two different records of one identity|C5 reports record.tampered|C5 and the gateway hold two",
    "receipt-believed-too-far": r"records were durable|asks for|isn't there|C5 reports records.",
    "alarm-behind-telemetry": r"telemetry goes out while the alarm",
    "in-flight-lost": r"not settled|isn't at C5",
}


@contextlib.contextmanager
def planted(name: str) -> Iterator[None]:
    """Have this bug in the gateway while inside."""
    with contextlib.ExitStack() as stack:
        for target, attribute, wrong in _BUGS[name]():
            stack.enter_context(mock.patch.object(target, attribute, wrong))
        yield


_Bug = list[tuple[Any, str, Callable[..., Any]]]


def _acknowledge_before_commit() -> _Bug:
    """A device is told that its press is stored when it is on its way to the disk."""
    append = Outbox.append

    def wrong(self: Outbox, entry: Entry) -> None:
        append(self, entry)
        if entry.stored is not None:
            asyncio.get_running_loop().call_soon(entry.stored)

    return [(Outbox, "append", wrong)]


def _sequence_reused() -> _Bug:
    """A start goes on where the store ends, in the same epoch: what left beside its commit is contradicted."""
    look, init = statements.look, Chain.__init__

    def wrong_look(*args: Any, **kwargs: Any) -> Start:
        start = look(*args, **kwargs)
        return replace(start, ordinal=start.epochs.get(start.epoch, start.ordinal))

    def wrong_init(self: Chain, gateway: str, epoch: bytes, lane: Any, *rest: Any) -> None:
        init(self, gateway, epoch, lane, *rest)
        before = rest[0]
        if before is not None and before.epoch == epoch:
            self._sequence = before.sequence

    return [
        (statements, "epoch", lambda _count, _random4: b"\0\0\0\1same"),
        (statements, "look", wrong_look),
        (Chain, "__init__", wrong_init),
    ]


def _receipt_believed_too_far() -> _Bug:
    """What a receipt lists as missing is taken for received."""
    judge = coverage.judge

    def wrong(up_to: Any, missing: Any, **kwargs: Any) -> Claim | Refused:
        claim = judge(up_to, missing, **kwargs)
        return claim if isinstance(claim, Refused) else replace(claim, covered=(*claim.covered, *claim.missing))

    return [(downlink, "judge", wrong)]


def _alarm_behind_telemetry() -> _Bug:
    """Telemetry is served before alarms."""
    init = Schedule.__init__

    def wrong(self: Schedule, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        self._lanes = dict(reversed(self._lanes.items()))

    return [(Schedule, "__init__", wrong)]


def _in_flight_lost() -> _Bug:
    """What was in flight when a connection ended counts as delivered."""
    reset = LaneQueue.reset

    def wrong(self: LaneQueue) -> None:
        if hasattr(self, "handed"):
            self.generation += 1
        else:
            reset(self)

    return [(LaneQueue, "reset", wrong)]


_BUGS: Final[dict[str, Callable[[], _Bug]]] = {
    "acknowledge-before-commit": _acknowledge_before_commit,
    "sequence-reused": _sequence_reused,
    "receipt-believed-too-far": _receipt_believed_too_far,
    "alarm-behind-telemetry": _alarm_behind_telemetry,
    "in-flight-lost": _in_flight_lost,
}
