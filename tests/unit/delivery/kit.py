"""A schedule by hand: what is offered, what it reads, what it sends."""

from collections.abc import Iterable

from gateway.delivery.item import After, Item, Run
from gateway.delivery.lane import Batch
from gateway.delivery.pace import Pace
from gateway.delivery.schedule import Schedule
from gateway.event import Lane

ALARM, STATUS, TELEMETRY = Lane
WIDE = 1_000_000  # bytes: a window that never limits


def an_item(lane: Lane, sequence: int, ordinal: int = 1, size: int = 100) -> Item:
    return Item(lane, ordinal, sequence, bytes([sequence % 256]) * size)


def some_items(lane: Lane, first: int, last: int, ordinal: int = 1, size: int = 100) -> list[Item]:
    return [an_item(lane, sequence, ordinal, size) for sequence in range(first, last + 1)]


def a_schedule() -> Schedule:
    """Return a schedule on a link that bears everything."""
    return Schedule(pace=Pace(start=WIDE))


def a_connection(receive_maximum: int = 20, stored: Iterable[Item] = ()) -> Schedule:
    """Return a schedule whose connection has just begun, and which has read what is stored."""
    schedule = a_schedule()
    schedule.connected(receive_maximum)
    read_all(schedule, list(stored))
    return schedule


def read_all(schedule: Schedule, stored: list[Item], at_once: int = 10_000) -> list[After | Run]:
    """Be the outbox until nothing more is wanted; return what was."""
    wanted: list[After | Run] = []
    while wants := schedule.want():
        for want in wants:
            wanted.append(want)
            lane = [item for item in stored if item.lane is want.lane]
            match want:
                case Run(_, ordinal, first, last):
                    found = [i for i in lane if i.ordinal == ordinal and first <= i.sequence <= last]
                case After(_, position):
                    found = [i for i in lane if (i.ordinal, i.sequence) > (position or (0, 0))]
            schedule.loaded(want, found[:at_once], complete=len(found) <= at_once)
    return wanted


def runs_sent(schedule: Schedule) -> list[Run]:
    return [batch.run for batch in batches_sent(schedule)]


def batches_sent(schedule: Schedule) -> list[Batch]:
    sent = []
    while (batch := schedule.next(0.0)) is not None:
        sent.append(batch)
    return sent
