"""Line faults from a seed."""

from firmware_sim.faults import Faults, Likelihoods

CHUNK = bytes(range(40))


def test_a_line_without_faults_changes_nothing() -> None:
    assert Faults(Likelihoods(), 1).apply(CHUNK) == [(0.0, CHUNK)]


def test_the_same_seed_gives_the_same_faults() -> None:
    odds = Likelihoods(noise=0.5, cut=0.5, flip=0.5, repeat=0.5, delay=0.5)
    one, other = Faults(odds, 7), Faults(odds, 7)
    assert [one.apply(CHUNK) for _ in range(50)] == [other.apply(CHUNK) for _ in range(50)]
    assert one.counts == other.counts
    assert all(one.counts.values())


def test_each_fault_does_what_its_name_says() -> None:
    [(_, noisy)] = Faults(Likelihoods(noise=1), 1).apply(CHUNK)
    assert noisy.endswith(CHUNK)
    assert len(noisy) > len(CHUNK)
    [(_, cut)] = Faults(Likelihoods(cut=1), 1).apply(CHUNK)
    assert CHUNK.startswith(cut)
    assert len(cut) < len(CHUNK)
    [(_, flipped)] = Faults(Likelihoods(flip=1), 1).apply(CHUNK)
    assert sum((one ^ other).bit_count() for one, other in zip(CHUNK, flipped, strict=True)) == 1
    [(first, _), (second, repeated)] = Faults(Likelihoods(repeat=1), 1).apply(CHUNK)
    assert repeated == CHUNK
    assert second >= first == 0.0
    [(after, delayed)] = Faults(Likelihoods(delay=1, delay_s=2), 1).apply(CHUNK)
    assert delayed == CHUNK
    assert 0 < after <= 2
