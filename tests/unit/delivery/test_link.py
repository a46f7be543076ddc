"""The centre's silence is told once, and its return once."""

from gateway.delivery.link import CentreWatch, Restored, Silent


def test_a_silent_centre_is_told_once_and_restored_once() -> None:
    watch = CentreWatch(profile=90, now=0.0)
    assert watch.deadline == 90.0
    assert watch.tick(89.9) is None
    assert watch.tick(90.0) == Silent(90.0)
    assert watch.silent
    assert watch.deadline is None
    assert watch.tick(500.0) is None
    assert watch.heard(510.0) == Restored(510.0)
    assert watch.heard(511.0) is None
    assert watch.deadline == 601.0


def test_a_short_profile_still_leaves_the_centre_three_heartbeats() -> None:
    watch = CentreWatch(profile=3, now=0.0)
    assert watch.tick(29.9) is None
    assert watch.tick(30.0) == Silent(30.0)


def test_time_without_a_link_says_nothing_of_the_centre() -> None:
    watch = CentreWatch(profile=90, now=0.0)
    watch.connected(1000.0)
    assert watch.tick(1089.9) is None
    assert watch.tick(1090.0) == Silent(90.0)


def test_a_new_connection_does_not_end_a_silence() -> None:
    watch = CentreWatch(profile=90, now=0.0)
    watch.connected(0.0)
    assert watch.tick(90.0) == Silent(90.0)
    watch.disconnected(95.0)
    watch.connected(100.0)
    assert watch.silent
    assert watch.heard(120.0) == Restored(115.0), "without the 5 s between"


def test_silence_adds_up_over_connections() -> None:
    watch = CentreWatch(profile=90, now=0.0)
    for minute in range(3):
        watch.connected(minute * 100.0)
        assert watch.tick(minute * 100.0 + 29.9) is None
        watch.disconnected(minute * 100.0 + 30.0)
    watch.connected(1000.0)
    assert watch.tick(1000.0) == Silent(90.0)


def test_a_heartbeat_that_was_heard_before_is_a_recording() -> None:
    watch = CentreWatch(profile=90, now=0.0)
    assert watch.tick(90.0) == Silent(90.0)
    assert watch.heartbeat("c5-a", 1_000_000, 91.0) == Restored(91.0)
    assert watch.tick(181.0) == Silent(90.0)
    assert watch.heartbeat("c5-a", 1_000_000, 182.0) is None
    assert watch.heartbeat("c5-a", 999_999, 183.0) is None
    assert watch.silent
    assert watch.heartbeat("c5-b", 500_000, 184.0) == Restored(93.0)


def test_a_receiver_whose_clock_is_ahead_is_heard_and_so_it_is_once_it_was_set_right() -> None:
    watch = CentreWatch(profile=20, now=0.0)
    noon, hour = 43_200_000_000, 3_600_000_000
    told: list[Silent | Restored | None] = []
    for second in range(0, 100, 10):
        told.append(watch.heartbeat("c5-a", noon + hour + second * 1_000_000, float(second), noon + second * 1_000_000))
        told.append(watch.tick(float(second)))
    for second in range(100, 200, 10):
        told.append(watch.heartbeat("c5-a", noon + second * 1_000_000, float(second), noon + second * 1_000_000))
        told.append(watch.tick(float(second)))
    assert told == 40 * [None], "no silence is invented"
    watch.heartbeat("c5-a", noon + 190_000_000, 200.0, noon + 200_000_000)
    assert watch.heard_at == 190.0, "a recording is one all the same"


def test_a_heartbeat_older_than_the_profile_is_a_recording() -> None:
    watch = CentreWatch(profile=90, now=0.0)
    noon = 43_200_000_000
    assert watch.tick(90.0) == Silent(90.0)
    assert watch.heartbeat("c5-a", noon - 90_000_001, 100.0, noon) is None
    assert watch.silent
    assert watch.heartbeat("c5-a", noon - 90_000_000, 101.0, noon) == Restored(101.0)


def test_what_was_heard_before_our_clock_was_synchronised_does_not_silence_a_receiver() -> None:
    watch = CentreWatch(profile=90, now=0.0)
    noon = 43_200_000_000
    watch.heartbeat("c5-a", noon + 3_600_000_000, 10.0)
    watch.heartbeat("c5-a", noon, 20.0)
    assert watch.heard_at == 10.0, "without a clock of our own, what is older than the last may be a recording"
    watch.heartbeat("c5-a", noon + 20_000_000, 30.0, noon + 20_000_000)
    assert watch.heard_at == 30.0
    watch.heartbeat("c5-a", noon + 10_000_000, 40.0, noon + 30_000_000)
    assert watch.heard_at == 30.0, "a recording is one all the same"
