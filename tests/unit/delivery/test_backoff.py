"""Waits that double, with full jitter."""

from gateway.delivery.backoff import Backoff


def test_the_ceiling_doubles_up_to_the_cap_and_starts_anew_after_a_success() -> None:
    waits = Backoff(base=0.5, cap=30.0, random=lambda: 1.0)
    assert [waits.next() for _ in range(8)] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    waits.reset()
    assert waits.next() == 0.5


def test_a_wait_is_drawn_from_nothing_to_the_ceiling() -> None:
    draws = iter([0.0, 0.25, 0.5])
    waits = Backoff(base=1.0, cap=60.0, random=lambda: next(draws))
    assert [waits.next() for _ in range(3)] == [0.0, 0.5, 2.0]


def test_a_thousand_failures_are_no_overflow() -> None:
    waits = Backoff(base=0.5, cap=30.0, random=lambda: 1.0)
    assert [waits.next() for _ in range(5000)][-1] == 30.0


def test_one_wait_may_have_a_ceiling_of_its_own() -> None:
    backoff = Backoff(0.5, 10.0, lambda: 1.0)
    assert [backoff.next(60.0) for _ in range(9)] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert backoff.next() == 10.0
