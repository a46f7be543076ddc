"""One report a minute, and every happening in one."""

from gateway.sensing.limit import Limiter


def test_the_first_is_reported_at_once_and_the_rest_when_the_minute_has_passed() -> None:
    limiter: Limiter[str] = Limiter()
    assert limiter.happened("0c500042", 100.0) == 1
    assert limiter.deadline is None
    assert limiter.happened("0c500042", 100.1) is None
    assert limiter.happened("0c500042", 159.9) is None
    assert limiter.deadline == 160.0
    assert limiter.tick(159.9) == []
    assert limiter.tick(160.0) == [("0c500042", 2)]
    assert limiter.deadline is None
    assert limiter.happened("0c500042", 161.0) is None
    assert limiter.happened("0c500042", 220.0) == 2


def test_after_a_quiet_minute_the_next_is_reported_at_once() -> None:
    limiter: Limiter[str] = Limiter()
    assert limiter.happened("0c500042", 0.0) == 1
    assert limiter.happened("0c500042", 60.0) == 1


def test_each_key_has_a_minute_of_its_own() -> None:
    limiter: Limiter[str] = Limiter()
    assert limiter.happened("0c500042", 0.0) == 1
    assert limiter.happened("0c500043", 1.0) == 1
    assert limiter.happened("0c500043", 2.0) is None
    assert limiter.tick(60.0) == []
    assert limiter.tick(61.0) == [("0c500043", 1)]
