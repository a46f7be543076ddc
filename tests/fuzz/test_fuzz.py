"""The corpus through every target, and that the loop finds what is planted."""

from random import Random

import pytest

from gateway import topics
from tests.fuzz import engine
from tests.fuzz.__main__ import CORPUS
from tests.fuzz.engine import attempt, fuzz, stored
from tests.fuzz.mutate import mutated
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS
from tests.fuzz.workers import Job, work


@pytest.mark.parametrize("name", TARGETS)
def test_every_input_of_the_corpus_and_every_seed_passes(name: str) -> None:
    target = TARGETS[name]
    inputs = [*stored(CORPUS / name), *target.seeds()]
    found = [attempt(target, data) for data in inputs]
    assert [each.trace for each in found if each is not None] == []
    assert len(inputs) > 2


def test_the_corpus_is_small_and_has_a_folder_for_each_target() -> None:
    folders = {folder.name: sum(file.stat().st_size for file in folder.iterdir()) for folder in CORPUS.iterdir()}
    assert folders.keys() == TARGETS.keys()
    assert sum(folders.values()) < 1_000_000


def _planted(data: bytes) -> None:
    if topics.parse(data.decode("latin-1")) is not None:
        raise KeyError(data)


def _slow(_data: bytes) -> None:
    while True:
        pass


def _large(data: bytes) -> None:
    kept.append(bytearray(engine.MEGABYTES + 200 << 20) if data else bytearray())
    kept.clear()


kept: list[bytearray] = []


def test_what_raises_is_found_with_its_input_made_small() -> None:
    planted = Target(
        "planted", _planted, lambda: [b"c5/v1/agency/site/gateway/stat"], ("gateway.topics",), words=(b"state",)
    )
    found = fuzz(planted, [], 30.0, 1, most=1).findings
    assert [(len(each.data), each.where[:9]) for each in found] == [(len("c5/v1/a/s/g/state"), "KeyError ")]


def test_what_takes_too_long_or_too_much_memory_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "SECONDS", 0.1)
    for run, where in ((_slow, "TooSlowError"), (_large, "TooLargeError")):
        found = attempt(Target("planted", run, list, ()), b"x")
        assert found is not None
        assert found.where.split()[0] == where


def test_a_target_whose_process_dies_is_a_finding() -> None:
    (report,) = work([Job("dies", 1.0, 1, [])], 1)
    assert [(found.target, found.where) for found in report.findings] == [("dies", "its process died (1)")]


def test_everything_follows_from_the_seed() -> None:
    target = TARGETS["payload"]
    seeds = target.seeds()
    first, second = ([mutated(target, seeds[0], seeds, random) for _ in range(50)] for random in (Random(3), Random(3)))
    assert first == second
