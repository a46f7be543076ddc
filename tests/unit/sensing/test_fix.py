"""What a receiver's sentences make together, and what is no fix."""

from dataclasses import replace
from datetime import date

import pytest

from gateway.sensing.fix import Fix, Receiver, Said, distance_m

HERE = Said(8.157, -77.69, valid=True, second=100.0)
GRADE = replace(HERE, quality=1, satellites=9, hdop=0.9)


def test_a_position_is_one_fix_in_however_many_sentences_and_takes_its_accuracy_from_the_one_that_has_it() -> None:
    receiver = Receiver()
    assert receiver.said(GRADE, 1.0) == Fix(8.157, -77.69, 4.5, 1.0)
    assert receiver.said(HERE, 1.1) is None, "the same moment"
    assert receiver.said(replace(HERE, second=101.0), 2.0) == Fix(8.157, -77.69, 4.5, 2.0)
    assert (receiver.quality, receiver.satellites, receiver.hdop) == (1, 9, 0.9)
    assert receiver.fresh(17.0)
    assert not receiver.fresh(17.1)


def test_a_receiver_that_tells_no_quality_has_fixes_of_unknown_accuracy() -> None:
    receiver = Receiver()
    assert receiver.said(HERE, 1.0) == Fix(8.157, -77.69, None, 1.0)
    assert receiver.said(replace(HERE, second=None), 2.0) == Fix(8.157, -77.69, None, 2.0)


@pytest.mark.parametrize(
    "said",
    [
        replace(GRADE, valid=False),
        replace(GRADE, valid=None),
        replace(GRADE, quality=0),
        replace(GRADE, quality=6),
        replace(GRADE, quality=8),
        replace(GRADE, satellites=3),
        replace(GRADE, hdop=6.1),
        replace(GRADE, latitude=None),
        Said(second=100.0, day=date(2026, 11, 22)),
    ],
)
def test_what_nobody_vouches_for_or_too_few_satellites_see_is_no_fix(said: Said) -> None:
    receiver = Receiver()
    assert receiver.said(said, 1.0) is None
    assert receiver.fix is None


def test_a_quality_goes_for_the_positions_of_a_minute_and_without_one_none_is_good_any_more() -> None:
    receiver = Receiver()
    receiver.said(GRADE, 1.0)
    assert receiver.said(replace(HERE, second=160.0), 61.0) == Fix(8.157, -77.69, 4.5, 61.0)
    assert receiver.said(replace(HERE, second=161.0), 61.1) is None
    assert receiver.said(replace(GRADE, second=162.0, satellites=3, hdop=20.0), 62.0) is None
    assert receiver.said(replace(HERE, second=190.0), 90.0) is None
    assert receiver.said(replace(HERE, second=300.0), 200.0) is None, "it isn't the best for having said nothing"
    assert receiver.said(replace(GRADE, second=301.0), 201.0) == Fix(8.157, -77.69, 4.5, 201.0)


def test_a_receiver_that_hangs_and_repeats_itself_has_no_new_fix_however_long_it_does() -> None:
    receiver = Receiver()
    assert receiver.said(GRADE, 1.0) is not None
    assert [receiver.said(GRADE, float(now)) for now in range(2, 200)] == [None] * 198
    assert not receiver.fresh(100.0)


def test_a_date_and_a_time_are_a_moment() -> None:
    assert replace(HERE, day=date(2026, 11, 22)).utc_us == 1_795_305_700_000_000
    assert replace(HERE, second=100.25, day=date(2026, 11, 22)).utc_us == 1_795_305_700_250_000
    assert HERE.utc_us is None
    assert Said(day=date(2026, 11, 22)).utc_us is None


def test_distances_are_right_also_across_the_date_line_and_at_the_pole() -> None:
    assert distance_m(8.0, -77.0, 8.0, -77.0) == 0.0
    assert distance_m(0.0, 0.0, 1.0, 0.0) == pytest.approx(111_195, abs=1)
    assert distance_m(0.0, 179.9995, 0.0, -179.9995) == pytest.approx(111.2, abs=0.1)
    assert distance_m(90.0, 0.0, 90.0, 123.0) == pytest.approx(0.0, abs=0.001)
    assert distance_m(0.0, 0.0, 0.0, 180.0) == pytest.approx(20_015_087, abs=1)
