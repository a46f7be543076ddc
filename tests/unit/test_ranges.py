"""Sets of sequences, compared with Python's own sets."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.ranges import RangeSet

SPAN = 40
RANGES = st.lists(st.tuples(st.integers(1, SPAN), st.integers(1, SPAN)).map(lambda pair: (min(pair), max(pair))))


def numbers(ranges: RangeSet | list[tuple[int, int]]) -> set[int]:
    return {number for first, last in ranges for number in range(first, last + 1)}


def test_neighbours_merge() -> None:
    held = RangeSet([(1, 3), (5, 9)])
    held.add(4, 4)
    assert list(held) == [(1, 9)]


def test_an_overlap_merges_and_order_does_not_matter() -> None:
    assert list(RangeSet([(20, 30), (1, 5), (4, 22), (40, 40)])) == [(1, 30), (40, 40)]


def test_what_is_missing_is_named_in_order() -> None:
    assert RangeSet([(3, 4), (8, 8)]).missing(1, 10) == [(1, 2), (5, 7), (9, 10)]
    assert RangeSet().missing(1, 3) == [(1, 3)]
    assert RangeSet([(1, 9)]).missing(2, 5) == []
    assert RangeSet([(1, 9)]).missing(5, 4) == []


def test_up_to_is_zero_until_the_first_has_come() -> None:
    held = RangeSet([(2, 7)])
    assert (held.up_to, held.highest) == (0, 7)
    held.add(1, 1)
    assert (held.up_to, held.highest) == (7, 7)
    assert (RangeSet().up_to, RangeSet().highest) == (0, 0)


def test_equal_sets_are_equal_however_they_were_made() -> None:
    assert RangeSet([(1, 2), (3, 4)]) == RangeSet([(1, 4)])
    assert RangeSet([(1, 2), (3, 4)]) != RangeSet([(1, 5)])
    assert repr(RangeSet([(1, 2), (3, 4)])) == "RangeSet([(1, 4)])"


def test_any_number_in_order_is_one_range() -> None:
    held = RangeSet()
    for number in range(1, 100_001):
        held.add(number, number)
    assert (len(held), list(held)) == (1, [(1, 100_000)])


@given(RANGES)
def test_a_range_set_holds_what_a_set_would_hold(ranges: list[tuple[int, int]]) -> None:
    held, truth = RangeSet(ranges), numbers(ranges)
    assert numbers(held) == truth
    assert {number for number in range(SPAN + 2) if number in held} == truth
    assert held.highest == max(truth, default=0)
    assert held.up_to == next(n for n in range(SPAN + 1) if n + 1 not in truth)


@given(RANGES)
def test_ranges_stay_sorted_apart_and_never_touch(ranges: list[tuple[int, int]]) -> None:
    held = list(RangeSet(ranges))
    assert all(first <= last for first, last in held)
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(held))


@given(RANGES, st.integers(1, SPAN), st.integers(1, SPAN))
def test_what_is_missing_agrees_with_a_set(ranges: list[tuple[int, int]], first: int, last: int) -> None:
    held, asked = RangeSet(ranges), set(range(first, last + 1))
    assert numbers(held.missing(first, last)) == asked - numbers(ranges)


@given(RANGES, RANGES)
def test_what_is_removed_is_no_member_and_everything_else_is(
    added: list[tuple[int, int]], out: list[tuple[int, int]]
) -> None:
    held = RangeSet(added)
    for first, last in out:
        held.remove(first, last)
    assert numbers(held) == numbers(added) - numbers(out)
    assert list(held) == list(RangeSet(held))
