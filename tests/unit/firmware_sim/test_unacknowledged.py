"""What a board still has to tell, and when."""

from random import Random

import pytest

from firmware_sim.unacknowledged import KEPT_MAX, Unacknowledged


class Even(Random):
    """No jitter: the middle of every range."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


def numbers_due(events: Unacknowledged, now: float) -> list[int]:
    due = []
    while (event := events.next_due(now)) is not None:
        due.append(event.number)
    return due


def test_an_event_is_told_again_after_growing_delays_until_it_is_heard() -> None:
    events = Unacknowledged(Even(0))
    events.add(1, 1, 0.0, {})
    assert numbers_due(events, 0.0) == [1]
    told_at: list[float] = []
    while len(told_at) < 9:
        assert events.deadline is not None
        told_at.append(events.deadline)
        assert numbers_due(events, told_at[-1] - 0.001) == []
        assert numbers_due(events, told_at[-1]) == [1]
    assert told_at == [0.25, 0.75, 1.75, 3.75, 7.75, 15.75, 30.75, 45.75, 60.75]
    events.heard(1)
    assert events.deadline is None


def test_after_an_hour_an_event_is_told_every_five_minutes() -> None:
    events = Unacknowledged(Even(0))
    events.add(1, 1, 0.0, {})
    while (at := events.deadline) is not None and at < 3600:
        numbers_due(events, at)
    assert at is not None
    assert numbers_due(events, at) == [1]
    assert events.deadline == at + 300


@pytest.mark.parametrize("seed", range(20))
def test_each_delay_is_spread_by_a_quarter_at_most(seed: int) -> None:
    events = Unacknowledged(Random(seed))
    events.add(1, 1, 0.0, {})
    now = 0.0
    for delay in (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0):
        assert numbers_due(events, now) == [1]
        assert events.deadline is not None
        assert 0.75 * delay <= events.deadline - now <= 1.25 * delay
        now = events.deadline


def test_kinds_that_may_wait_go_after_the_others() -> None:
    events = Unacknowledged(Random(0))
    for number, kind in ((1, 16), (2, 24), (3, 1), (4, 25), (5, 15)):
        events.add(number, kind, 0.0, {})
    assert numbers_due(events, 0.0) == [3, 4, 5, 1, 2]


def test_a_full_memory_gives_up_its_oldest_that_may_wait() -> None:
    events = Unacknowledged(Random(0))
    for number in range(1, KEPT_MAX + 1):
        events.add(number, 18 if number in (5, 9) else 1, 0.0, {})
    assert events.make_room()
    events.add(33, 1, 0.0, {})
    assert events.make_room()
    events.add(34, 18, 0.0, {})
    assert sorted(numbers_due(events, 0.0)) == [number for number in range(1, 35) if number not in (5, 9)]


def test_a_memory_full_of_alarms_keeps_nothing_new() -> None:
    events = Unacknowledged(Random(0))
    for number in range(1, KEPT_MAX + 1):
        events.add(number, 1, 0.0, {})
    assert not events.make_room()
    assert numbers_due(events, 0.0) == list(range(1, KEPT_MAX + 1))
    events.heard(7)
    assert events.make_room()
