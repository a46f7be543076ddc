"""Too many events, in literal seconds."""

from gateway.sensing.chatter import Chatter


def test_a_chattering_device_is_told_once_a_minute_until_it_stops() -> None:
    chatter = Chatter(3)
    assert [chatter.happened(now) for now in (0.0, 1.0, 2.0)] == [None] * 3
    assert chatter.happened(3.0) == 4
    assert [chatter.happened(4.0 + n) for n in range(50)] == [None] * 50
    assert chatter.tick(62.9) is None
    assert chatter.tick(63.0) == 50
    assert [chatter.happened(70.0 + n) for n in range(3)] == [None] * 3
    assert chatter.tick(123.0) is None
    assert chatter.chattering == 0


def test_events_that_are_far_enough_apart_are_none() -> None:
    chatter = Chatter(3)
    assert [chatter.happened(20.0 * n) for n in range(100)] == [None] * 100
    assert chatter.chattering == 0


def test_a_count_that_could_not_be_told_is_in_the_next_one() -> None:
    chatter = Chatter(3)
    assert [chatter.happened(0.0) for _ in range(4)] == [None, None, None, 4]
    chatter.owed = 4
    assert chatter.happened(1.0) is None
    assert chatter.tick(60.0) == 5
    assert chatter.tick(120.0) is None
    assert chatter.chattering == 0
