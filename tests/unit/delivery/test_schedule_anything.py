"""Whatever happens between a schedule, an outbox, a broker that loses, and a C5: everything arrives."""

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.delivery.item import After, Item, Run
from gateway.event import Lane
from tests.unit.delivery.kit import a_schedule, an_item

if TYPE_CHECKING:
    from gateway.delivery.lane import Batch


class _World:
    """An outbox, a broker that loses, and a C5, around one schedule; whatever happens, nothing is lost."""

    def __init__(self) -> None:
        self.schedule = a_schedule()
        self.stored: list[Item] = []
        self.signed = dict.fromkeys(Lane, 0)
        self.flight: list[Batch] = []
        self.received: set[tuple[Lane, int]] = set()
        self.now = 0.0
        self.connected = False
        self.sends: dict[tuple[Lane, int], int] = {}

    def sign(self, lane: Lane) -> None:
        self.signed[lane] += 1
        item = an_item(lane, self.signed[lane], size=3000)
        self.schedule.offer(item)
        self.stored.append(item)

    def connect(self) -> None:
        self.connected = True
        self.sends.clear()
        self.schedule.connected(4)

    def disconnect(self) -> None:
        self.connected = False
        self.flight.clear()
        self.schedule.disconnected()

    def read(self, at_once: int) -> None:
        for want in self.schedule.want():
            lane = [item for item in self.stored if item.lane is want.lane]
            match want:
                case Run(_, _, first, last):
                    found = [i for i in lane if first <= i.sequence <= last]
                case After(_, position):
                    found = [i for i in lane if (i.ordinal, i.sequence) > (position or (0, 0))]
            self.schedule.loaded(want, found[:at_once], complete=len(found) <= at_once)

    def send(self) -> None:
        while (batch := self.schedule.next(self.now)) is not None:
            self.flight.append(batch)
            for sequence in range(batch.run.first, batch.run.last + 1):
                place = (batch.run.lane, sequence)
                self.sends[place] = self.sends.get(place, 0) + 1
        assert len(self.flight) <= 4, "never more than the broker allows"

    def acknowledge(self, *, arrives: bool) -> None:
        if self.flight:
            batch = self.flight.pop(0)
            self.schedule.acknowledged(batch, self.now)
            if arrives:
                self.received |= {(batch.run.lane, n) for n in range(batch.run.first, batch.run.last + 1)}

    def receipt(self) -> None:
        runs = [Run(lane, 1, n, n) for lane, n in sorted(self.received)]
        for run in self.schedule.receipted(runs):
            self.stored = [i for i in self.stored if i.lane is not run.lane or not run.first <= i.sequence <= run.last]


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("sign"), st.sampled_from(Lane)),
        st.tuples(st.sampled_from(["connect", "disconnect", "send", "arrive", "swallow", "receipt"]), st.none()),
        st.tuples(st.just("read"), st.integers(1, 3)),
        st.tuples(st.just("pass"), st.sampled_from([1.0, 59.0, 61.0])),
        st.tuples(st.just("silent"), st.booleans()),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(_STEPS)
def test_whatever_happens_in_between_everything_arrives_in_the_end_and_nothing_repeats_without_reason(
    steps: list[tuple[str, object]],
) -> None:
    world = _World()
    repeatable = False
    for step, value in steps:
        match step, value:
            case "sign", Lane() as lane:
                world.sign(lane)
            case "connect", _:
                world.disconnect()
                world.connect()
                repeatable = False
            case "disconnect", _:
                world.disconnect()
            case "send", _:
                world.send()
            case "arrive" | "swallow", _:
                world.acknowledge(arrives=step == "arrive")
            case "receipt", _:
                world.receipt()
            case "read", int() as count:
                world.read(count)
            case "pass", float() as seconds:
                world.now += seconds
                world.schedule.tick(world.now)
                repeatable = True
            case "silent", bool() as silent:
                world.schedule.silent(silent=silent)
                repeatable = True
            case _:
                raise AssertionError(step)
        if world.connected and not repeatable:
            assert max(world.sends.values(), default=1) == 1
    world.disconnect()
    world.schedule.silent(silent=False)
    world.connect()
    for _ in range(100):
        world.read(3)
        world.send()
        world.acknowledge(arrives=True)
        world.receipt()
    assert world.stored == []
    assert world.received == {(lane, n) for lane, last in world.signed.items() for n in range(1, last + 1)}
    assert set(world.sends.values()) <= {1}
