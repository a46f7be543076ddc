"""What follows from the profile keeps the promise for every profile that the settings allow."""

from gateway.delivery import timing


def test_the_profiles_of_the_field() -> None:
    assert [(timing.interval(p), timing.keepalive(p)) for p in (20, 90, 180)] == [(6, 10), (30, 30), (60, 60)]
    assert [timing.noticed(p) for p in (20, 90, 180)] == [17.0, 61.0, 121.0]
    assert [timing.hold(p) for p in (20, 90, 180)] == [20.0, 60.0, 60.0]
    assert [timing.dial(p) for p in (3, 20, 180)] == [2.25, 15.0, 15.0]


def test_every_profile_notices_a_black_hole_within_itself() -> None:
    for profile in range(3, 3601):
        assert timing.noticed(profile) < profile, profile
        assert 1.5 * timing.keepalive(profile) <= 0.75 * profile, "the broker tells C5 by the will"
        assert 3 * timing.interval(profile) <= profile, "and C5 its operators by itself"
        assert timing.dial(profile) < profile
