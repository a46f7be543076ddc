"""A jammed line, in literal seconds and bytes."""

from gateway.sensing.noise import Cleared, Jammed, Noise


def noisy(noise: Noise, bytes_s: int, first: int, last: int) -> list[object]:
    """Let each second from `first` to before `last` bring so many bytes; return what came of it."""
    found = []
    for now in range(first, last):
        noise.heard(bytes_s, float(now))
        found.append(noise.tick(now + 1.0))
    return [one for one in found if one is not None]


def test_a_jammer_is_told_once_and_its_end_once() -> None:
    noise = Noise(100, 15.0, 30.0, 0.0)
    assert noisy(noise, 500, 0, 14) == []
    assert noisy(noise, 500, 14, 15) == [Jammed(500)]
    noise.jammed = True
    assert noisy(noise, 500, 15, 60) == []
    assert noisy(noise, 0, 60, 89) == []
    assert noisy(noise, 0, 89, 90) == [Cleared(0)]
    noise.jammed = False
    assert noisy(noise, 0, 90, 300) == []


def test_a_burst_is_no_jammer_nor_are_a_few_spoilt_frames() -> None:
    noise = Noise(100, 15.0, 30.0, 0.0)
    noise.heard(100_000, 0.0)
    assert [noise.tick(float(now)) for now in range(100)] == [None] * 100
    assert noisy(noise, 99, 100, 200) == []


def test_a_jammer_that_pulses_is_found() -> None:
    noise = Noise(100, 15.0, 30.0, 0.0)
    found = [noisy(noise, 1000 * (now % 3 == 0), now, now + 1) for now in range(15)]
    assert found[-1] == [Jammed(200)]


def test_between_the_thresholds_nothing_changes() -> None:
    noise = Noise(100, 15.0, 30.0, 0.0, jammed=True)
    assert noisy(noise, 60, 0, 300) == []
    assert noisy(noise, 49, 300, 330) == [Cleared(49)]


def test_what_could_not_be_told_comes_again() -> None:
    noise = Noise(100, 15.0, 30.0, 0.0)
    assert noisy(noise, 500, 0, 25) == [Jammed(500)] * 3


def test_a_quiet_line_costs_nothing() -> None:
    noise = Noise(100, 15.0, 30.0, 0.0)
    noise.heard(1, 7.0)
    assert noise._began == 7.0
    assert noise.tick(12.0) is None
    assert noise.tick(17.0) is None
    assert noise._began is None
