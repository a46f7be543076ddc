"""The time that a receiver says, against the monotonic clock."""

import pytest

from gateway.sensing.satellites import Satellites, uncertainty_ms

NOW_US = 1_800_000_000_000_000


def us(at: float, off_s: float = 0.0) -> int:
    """The time that it is at a moment of the monotonic clock."""
    return NOW_US + round((at + off_s) * 1e6)


def heard(satellites: Satellites, begin: float, end: float, late: float = 0.1, off_s: float = 0.0) -> None:
    for second in range(int(begin), int(end)):
        satellites.heard(us(float(second), off_s), second + late)


def believed(satellites: Satellites | None = None) -> Satellites:
    satellites = satellites or Satellites(400)
    heard(satellites, 0, 40)
    return satellites


def test_a_time_is_believed_when_it_was_the_same_for_half_a_minute() -> None:
    satellites = Satellites(400)
    heard(satellites, 0, 30)
    assert satellites.at(29.1) is None
    satellites.heard(us(30.0), 30.1)
    assert satellites.at(31.0) == (us(30.9), 400)


def test_the_least_late_sentence_counts() -> None:
    satellites = Satellites(400)
    for second in range(60):
        satellites.heard(us(float(second)), second + (0.08 if second == 45 else 0.7))
    told = satellites.at(59.7)
    assert told is not None
    assert told[0] == pytest.approx(us(59.7 - 0.08), abs=3000)


def test_a_few_sentences_are_not_enough_however_long_they_take() -> None:
    satellites = Satellites(400)
    for second in range(0, 200, 25):
        satellites.heard(us(float(second)), float(second))
    assert satellites.at(200.0) is None
    for second in (200, 225):
        satellites.heard(us(float(second)), float(second))
    assert satellites.at(226.0) is not None


def test_after_the_last_sentence_it_goes_on_ever_less_certain_and_ends_after_a_day() -> None:
    satellites = believed()
    assert satellites.at(3639.1) == (us(3639.0), 760)
    assert satellites.at(39.1 + 86_400) == (us(39.0 + 86_400), 9040)
    assert satellites.at(39.1 + 100_000) is None
    heard(satellites, 100_100, 100_102)
    assert satellites.at(100_102.0) is not None, "it agrees with what was believed"


@pytest.mark.parametrize("off_s", [3600.0, -3600.0, 30.0, -619_315_200.0])
def test_a_jump_is_not_believed_and_counted_once_and_over_when_the_time_is_as_it_was(off_s: float) -> None:
    satellites = believed()
    heard(satellites, 40, 400, off_s=off_s)
    assert (satellites.at(400.0), satellites.jumps, satellites.jumped) == ((us(399.9), 436), 1, True)
    heard(satellites, 400, 402)
    assert (satellites.at(402.0), satellites.jumps, satellites.jumped) == ((us(401.9), 400), 1, False)


def test_a_jump_by_no_more_than_the_leap_seconds_is_believed_once() -> None:
    satellites = believed()
    heard(satellites, 40, 100, off_s=-18.0)
    assert satellites.at(100.0) == (us(99.9, -18.0), 400)
    assert not satellites.jumped
    heard(satellites, 100, 200, off_s=-36.0)
    told = satellites.at(200.0)
    assert (told and told[0], satellites.jumped) == (us(199.9, -18.0), True)


def test_a_machine_that_was_busy_and_reads_late_has_seen_no_jump() -> None:
    satellites = believed()
    for second in range(40, 50):
        satellites.heard(us(float(second)), 50.0)
    heard(satellites, 50, 60)
    assert (satellites.jumps, satellites.jumped) == (0, False)
    assert satellites.at(60.0) == (us(59.9), 400)


def test_a_sentence_may_be_as_late_as_its_line_is_slow() -> None:
    assert [uncertainty_ms(baud) for baud in (4800, 9600, 38_400, 115_200)] == [1550, 925, 456, 352]


@pytest.mark.parametrize("rate", [0.5, -0.5, 0.01, -0.01])
def test_a_receiver_whose_time_is_drawn_away_in_small_steps_is_followed_no_further_than_a_sentence_is_late(
    rate: float,
) -> None:
    satellites = believed()
    for second in range(40, 1000):
        satellites.heard(us(second + (second - 40) * rate), second + 0.1)
    told = satellites.at(1000.0)
    assert told is not None
    assert abs(told[0] - us(999.9)) < 5_000_000, "twice, where that can be the leap seconds"
    assert satellites.jumped
