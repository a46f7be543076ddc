"""Which counters are fresh, late or replayed."""

import pytest

from gateway.fieldlink.freshness import Counters, Freshness, judge

FRESH, LATE, REPLAY = Freshness.FRESH, Freshness.LATE, Freshness.REPLAY
TAG, OTHER = b"12345678", b"87654321"


def test_an_unknown_counter_is_taken_and_unproven() -> None:
    assert judge(None, 500, TAG) == (FRESH, Counters(500, TAG, 0, proven=False))


def test_a_greater_counter_is_fresh_and_remembers_those_below() -> None:
    assert judge(Counters(100, OTHER), 101, TAG) == (FRESH, Counters(101, TAG, 0b1))
    assert judge(Counters(101, OTHER, 0b1), 103, TAG) == (FRESH, Counters(103, TAG, 0b110))
    assert judge(Counters(100, OTHER), 116, TAG) == (FRESH, Counters(116, TAG, 1 << 15))
    assert judge(Counters(100, OTHER, 0b11), 117, TAG) == (FRESH, Counters(117, TAG, 0))
    assert judge(Counters(1, OTHER, 0b1), 2**32 - 1, TAG) == (FRESH, Counters(2**32 - 1, TAG, 0))


def test_the_same_counter_and_tag_is_late_and_with_another_tag_a_replay() -> None:
    known = Counters(100, TAG, 0b101)
    assert judge(known, 100, TAG) == (LATE, known)
    assert judge(known, 100, OTHER) == (REPLAY, known)


def test_a_counter_not_seen_among_the_16_below_is_late_once() -> None:
    assert judge(Counters(100, OTHER, 0b1), 98, TAG) == (LATE, Counters(100, OTHER, 0b11))
    assert judge(Counters(100, OTHER, 0b11), 98, TAG) == (REPLAY, Counters(100, OTHER, 0b11))
    assert judge(Counters(100, OTHER), 84, TAG) == (LATE, Counters(100, OTHER, 1 << 15))


@pytest.mark.parametrize("counter", [83, 1, 0])
def test_a_counter_further_below_is_a_replay_and_nothing_changed(counter: int) -> None:
    known = Counters(100, OTHER, 0b1)
    assert judge(known, counter, TAG) == (REPLAY, known)
