"""Thresholds and rates, with literal values and times."""

from gateway.sensing.profile import Limit
from gateway.sensing.threshold import Threshold


def _told(threshold: Threshold, values: list[tuple[float, float]]) -> list[tuple[float | None, bool]]:
    return [(threshold.judge(value, now), threshold.exceeded) for now, value in values]


def test_a_value_that_trembles_at_its_limit_is_exceeded_once() -> None:
    above = Threshold(Limit("above", 50, 3))
    assert _told(above, [(0, 50), (1, 50.1), (2, 49), (3, 50.1), (4, 47.1), (5, 47), (6, 48)]) == [
        (50, False), (50.1, True), (49, True), (50.1, True), (47.1, True), (47, False), (48, False),
    ]  # fmt: skip


def test_below_is_the_same_upside_down() -> None:
    below = Threshold(Limit("below", 11.5, 0.5))
    assert _told(below, [(0, 11.5), (1, 11.4), (2, 11.9), (3, 12)]) == [
        (11.5, False), (11.4, True), (11.9, True), (12, False),
    ]  # fmt: skip


def test_what_was_exceeded_before_the_start_is_still_until_it_is_back() -> None:
    below = Threshold(Limit("below", 11.5, 0.5), exceeded=True)
    assert _told(below, [(0, 11.9), (1, 12.0)]) == [(11.9, True), (12.0, False)]


def test_a_rate_is_known_once_its_time_has_been_seen_and_is_for_a_minute() -> None:
    rising = Threshold(Limit("rising", 5, 2, over_s=60))
    assert _told(rising, [(0, 20), (30, 24), (60, 26), (90, 26), (120, 26)]) == [
        (None, False), (None, False), (6.0, True), (2.0, False), (0.0, False),
    ]  # fmt: skip
    falling = Threshold(Limit("falling", 5, over_s=10))
    assert _told(falling, [(0, 20), (10, 19.5), (20, 18)]) == [(None, False), (-3.0, False), (-9.0, True)]


def test_after_a_silence_a_rate_begins_anew() -> None:
    rising = Threshold(Limit("rising", 5, over_s=60))
    rising.judge(20, 0)
    rising.forget()
    assert _told(rising, [(600, 90), (660, 90)]) == [(None, False), (0.0, False)]
