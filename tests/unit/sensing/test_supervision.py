"""Silence and its end, in literal seconds."""

from gateway.sensing.supervision import INTERVAL_MAX, Listening, Lost, Restored, Supervision

A, B = "0c500001", "0c500002"


def watching(*devices: str) -> Supervision:
    supervision = Supervision(interval=60.0, grace=3.0)
    for device in devices:
        supervision.watch(device, 0.0)
    return supervision


def test_a_silent_device_is_lost_once_and_restored_once() -> None:
    supervision = watching(A)
    assert supervision.heard(A, 10.0) is None
    assert supervision.tick(189.9) == []
    assert supervision.tick(190.0) == [Lost(A, 180.0)]
    supervision.told(Lost(A, 180.0), 190.0)
    assert supervision.tick(5000.0) == []
    assert supervision.heard(A, 5010.0) == Restored(A, 5000.0)
    supervision.told(Restored(A, 5000.0), 5010.0)
    assert (supervision.heard(A, 5011.0), supervision.lost(A)) == (None, False)
    assert supervision.tick(5190.9) == []
    assert supervision.tick(5191.0) == [Lost(A, 180.0)]


def test_what_could_not_be_told_comes_again() -> None:
    supervision = watching(A)
    assert supervision.tick(180.0) == [Lost(A, 180.0)]
    assert supervision.tick(185.0) == []
    assert supervision.tick(190.0) == [Lost(A, 190.0)]
    supervision.told(Lost(A, 190.0), 190.0)
    assert supervision.heard(A, 200.0) == Restored(A, 200.0)
    assert supervision.heard(A, 201.0) == Restored(A, 201.0), "nobody said that it was told"


def test_a_device_that_was_not_told_as_lost_is_not_told_as_restored() -> None:
    supervision = watching(A)
    assert supervision.tick(180.0) == [Lost(A, 180.0)]
    assert supervision.heard(A, 185.0) is None
    assert supervision.tick(364.9) == []
    assert supervision.tick(365.0) == [Lost(A, 180.0)]


def test_a_device_says_itself_how_often_it_is_heard() -> None:
    supervision = watching(A, B)
    assert supervision.says(A, 600)
    assert not supervision.says(A, 600), "no news"
    assert supervision.says(B, 20)
    assert supervision.tick(60.0) == [Lost(B, 60.0)]
    supervision.told(Lost(B, 60.0), 60.0)
    assert supervision.tick(1799.9) == []
    assert supervision.tick(1800.0) == [Lost(A, 1800.0)]


def test_an_interval_that_nobody_can_mean_is_cut() -> None:
    supervision = watching(A)
    assert supervision.says(A, 2**32 - 1)
    assert supervision.interval(A) == INTERVAL_MAX
    assert supervision.tick(3 * INTERVAL_MAX - 0.1) == []
    assert supervision.tick(3.0 * INTERVAL_MAX) == [Lost(A, 3.0 * INTERVAL_MAX)]


def test_what_was_told_before_a_start_is_not_told_again_and_its_end_is() -> None:
    supervision = Supervision(60.0, 3.0)
    supervision.watch(A, 1000.0, interval=600, lost_for=1800)
    supervision.watch(B, 1000.0, interval=600)
    assert supervision.tick(2799.9) == [], "the grace begins at the start, and is the device's own"
    assert supervision.tick(2800.0) == [Lost(B, 1800.0)]
    assert supervision.heard(A, 2900.0) == Restored(A, 1800.0 + 1900.0)


def test_a_device_that_is_watched_no_more_is_not_missed() -> None:
    supervision = watching(A, B)
    supervision.forget(A)
    assert supervision.tick(180.0) == [Lost(B, 180.0)]


def test_a_process_that_was_stopped_has_not_missed_anybody() -> None:
    listening = Listening(100.0)
    assert [listening.at(now) for now in (100.0, 101.0, 111.0)] == [100.0, 101.0, 111.0]
    assert listening.at(3711.0) == 111.0, "an hour in which nobody listened"
    assert listening.at(3712.0) == 112.0


def test_a_device_that_says_nothing_of_its_interval_any_more_has_the_usual_one() -> None:
    supervision = watching(A)
    assert supervision.says(A, 600)
    assert supervision.says(A, None)
    assert supervision.interval(A) is None
    assert supervision.tick(179.9) == []
    assert supervision.tick(180.0) == [Lost(A, 180.0)]


def test_many_that_are_silent_at_once_are_told_a_few_at_a_time_and_nobody_is_left_out() -> None:
    devices = [f"0c50{n:04x}" for n in range(256)]
    supervision = watching(*devices)
    found: list[str] = []
    for second in range(16):
        lost = supervision.tick(180.0 + second)
        assert len(lost) == 16
        found += [news.device for news in lost]
        for news in lost:
            supervision.told(news, 180.0 + second)
    assert found == devices
    assert supervision.tick(200.0) == []


def test_those_that_could_not_be_told_do_not_keep_the_others_from_being_told() -> None:
    supervision = watching(*(f"0c50{n:04x}" for n in range(32)))
    first, second = supervision.tick(180.0), supervision.tick(181.0)
    assert not {news.device for news in first} & {news.device for news in second}
    assert len(second) == 16
