"""The time that a receiver says, against the monotonic clock."""

from random import Random

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
        satellites.heard(us(float(second)), second + (0.08 if second == 45 else 0.4))
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
    heard(satellites, 100_100, 100_130, off_s=-3600.0)
    assert satellites.at(100_129.5) is None
    heard(satellites, 100_130, 100_132, off_s=-3600.0)
    told = satellites.at(100_132.0)
    assert told is not None, "another time than it had, which nobody knows any more"
    assert abs(told[0] - us(100_132.0, -3600.1)) < 1000


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


def test_leap_seconds_are_learnt_soon_after_the_start_or_never() -> None:
    satellites = Satellites(400)
    heard(satellites, 0, 700, off_s=18.0)
    heard(satellites, 700, 732)
    assert satellites.at(731.1) == (us(731.0), 400)
    satellites = Satellites(400)
    heard(satellites, 0, 902, off_s=18.0)
    heard(satellites, 902, 1000)
    assert (satellites.at(901.1), satellites.jumped) == ((us(901.0, 18.0), 400), True)


def test_what_somebody_knows_to_be_wrong_is_given_up_for_another_time_and_nothing_else_is() -> None:
    wrong = True
    satellites = Satellites(400, lambda: wrong)
    heard(satellites, 0, 40, off_s=-619_315_200.0)
    heard(satellites, 40, 70)
    assert satellites.at(70.0) == (us(69.9, -619_315_200.0), 403)
    heard(satellites, 70, 72)
    assert satellites.at(71.1) == (us(71.0), 400)
    wrong = False
    heard(satellites, 72, 200, off_s=3600.0)
    told = satellites.at(200.0)
    assert (told and told[0], satellites.jumped) == (us(199.9), True)


@pytest.mark.parametrize("latency_ms", [386, 1341])
@pytest.mark.parametrize("wrong_s", [1.9, 1.0, 0.5, 0.3])
@pytest.mark.parametrize("leap", [False, True])
def test_the_time_is_never_more_wrong_than_it_says(latency_ms: int, wrong_s: float, *, leap: bool) -> None:
    """A sentence that is ahead, or a receiver that learns late that it is, or that all its sentences are."""
    satellites, random = Satellites(latency_ms), Random(7)
    worst = 0.0
    for second in range(20_000):
        ahead = second < 1000 if leap else second in {0, 20, 500, 9000}
        late = random.uniform(0.05, latency_ms / 1000)
        now = second + late
        satellites.heard(us(float(second), wrong_s if ahead else 0.0), now)
        told = satellites.at(now + 0.5)
        if told is not None and not (leap and second < 1000 + 31):
            worst = max(worst, abs(told[0] - us(now + 0.5)) / 1000 - told[1])
    assert satellites.at(20_000.0) is not None
    assert worst <= 0.0


def test_a_single_sentence_that_is_ahead_moves_nothing() -> None:
    satellites = believed()
    satellites.heard(us(40.0, 1.9), 40.1)
    assert satellites.at(41.0) == (us(40.9), 400)
    heard(satellites, 41, 100)
    assert (satellites.at(100.0), satellites.jumped) == ((us(99.9), 400), False)


def test_sentences_that_are_all_later_than_they_may_be_make_the_time_as_much_more_uncertain() -> None:
    satellites = believed()
    heard(satellites, 40, 60, late=1.1)
    assert satellites.at(60.0) == (us(59.9), 402)
    heard(satellites, 60, 80, late=1.1)
    assert satellites.at(80.0) == (us(79.9), 1404)
    heard(satellites, 80, 82)
    assert (satellites.at(82.0), satellites.jumped) == ((us(81.9), 400), False)


def test_a_machine_that_was_busy_and_reads_late_has_seen_no_jump() -> None:
    satellites = believed()
    for second in range(40, 50):
        satellites.heard(us(float(second)), 50.0)
    heard(satellites, 50, 60)
    assert (satellites.jumps, satellites.jumped) == (0, False)
    assert satellites.at(60.0) == (us(59.9), 400)


def test_a_sentence_may_be_as_late_as_its_line_is_slow() -> None:
    assert [uncertainty_ms(baud) for baud in (4800, 9600, 38_400, 115_200)] == [2383, 1341, 560, 386]


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
