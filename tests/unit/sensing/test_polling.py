"""Whose turn it is on a bus, on a clock made of numbers."""

from gateway.sensing.polling import Polling
from gateway.sensing.registers import Read

FAST, SLOW = Read(4, 0, 2, 1.0, ()), Read(4, 100, 2, 10.0, ())


def test_each_read_comes_by_its_period_and_the_longest_due_first() -> None:
    polling = Polling({"a": (FAST, SLOW), "b": (FAST,)}, timeout=0.3, now=0.0)
    asked = []
    now = 0.0
    while now < 3.0:
        due = polling.next(now)
        if due is None:
            now = polling.deadline
            continue
        name, index, _read = due
        asked.append((round(now, 1), name, index))
        now += 0.1
        polling.answered(name, index, now)
    assert asked == [
        (0.0, "a", 0), (0.1, "a", 1), (0.2, "b", 0),
        (1.0, "a", 0), (1.1, "b", 0),
        (2.0, "a", 0), (2.1, "b", 0),
    ]  # fmt: skip


def test_a_dead_unit_costs_the_others_less_than_a_tenth_from_its_first_silence_on() -> None:
    def answers(dead: bool, until: float) -> int:
        units = {f"u{n}": (Read(4, 0, 2, 0.01, ()),) for n in range(4)}
        polling, now, count = Polling(units, timeout=0.3, now=0.0), 0.0, 0
        while now < until:
            due = polling.next(now)
            if due is None:
                now = polling.deadline
            elif dead and due[0] == "u2":
                now += 0.3
                polling.failed("u2", now)
            else:
                now += 0.02
                polling.answered(due[0], due[1], now)
                count += due[0] != "u2"
        return count

    # The line is never idle, so the others share what the dead one leaves: what it costs is time, not turns.
    for until in (60.0, 600.0):
        assert answers(dead=True, until=until) * 0.02 > 0.9 * until


def test_after_three_silences_a_unit_is_lost_and_any_answer_restores_it() -> None:
    polling = Polling({"a": (FAST, SLOW)}, timeout=0.3, now=0.0)
    waits, now = [], 0.0
    for _ in range(7):
        assert polling.next(now) == ("a", 0, FAST)
        polling.failed("a", now)
        waits.append(round(polling.deadline - now, 1))
        now = polling.deadline
        if len(waits) == 2:
            assert not polling.lost("a")
    assert polling.lost("a")
    assert waits == [3.6, 7.2, 14.4, 28.8, 57.6, 60.0, 60.0]
    polling.answered("a", 0, now, refused=True)
    assert not polling.lost("a")
    assert polling.next(now) == ("a", 1, SLOW)


def test_a_read_that_is_refused_is_asked_once_a_minute_and_holds_up_no_other() -> None:
    polling = Polling({"a": (FAST, SLOW)}, timeout=0.3, now=0.0)
    polling.answered("a", 0, 0.1, refused=True)
    assert polling.next(0.2) == ("a", 1, SLOW)
    polling.answered("a", 1, 0.3)
    assert polling.deadline == 10.0
    polling.answered("a", 1, 10.1)
    assert polling.next(59.0) == ("a", 1, SLOW)


def test_a_bus_that_cannot_keep_up_is_late_and_makes_up_for_nothing() -> None:
    polling = Polling({"a": (FAST,)}, timeout=0.3, now=0.0)
    polling.answered("a", 0, 7.5)
    assert (polling.deadline, polling.late("a")) == (7.5, 7.5)
