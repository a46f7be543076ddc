"""Settings from afar stay if C5 is heard under them, and go if it isn't."""

import asyncio
from collections.abc import Callable

import pytest

from gateway.errors import StoreError
from gateway.tasks import trial
from tests.support.memory import Clock


class Applied:
    """What C5 has applied, and what becomes of it; the disk refuses the first `refuses` times."""

    def __init__(self, *, on_trial: bool = True, refuses: int = 0) -> None:
        self.on_trial = on_trial
        self.refuses = refuses
        self.became: list[str] = []

    def keep(self) -> None:
        self._do("kept")

    def fall_back(self) -> None:
        self._do("taken back")

    def _do(self, what: str) -> None:
        if self.refuses:
            self.refuses -= 1
            raise StoreError("it can't be written")
        self.became.append(what)


def judged(applied: Applied, monkeypatch: pytest.MonkeyPatch, *, heard_at: float | None) -> tuple[list[str], float]:
    """What became of settings that are on trial for 80 s from second 1000 on, and when."""
    clock = Clock()
    began = clock.now

    async def sleep(seconds: float) -> None:
        clock.now += seconds

    async def beside(act: Callable[[], None]) -> None:
        act()

    monkeypatch.setattr(asyncio, "sleep", sleep)
    heard = lambda: heard_at is not None and clock.now >= began + heard_at  # noqa: E731  # shorter than a function
    asyncio.run(trial.judge(applied, 80.0, heard=heard, clock=clock, beside=beside, restart=applied.became.append))
    return applied.became, clock.now - began


@pytest.mark.parametrize(
    ("heard_at", "became", "after"),
    [
        (0.0, ["kept"], 0.0),
        (79.0, ["kept"], 79.0),
        (80.5, ["taken back", "settings"], 80.0),
        (None, ["taken back", "settings"], 80.0),
    ],
)
def test_settings_under_which_c5_is_not_heard_in_time_are_taken_back_before_a_new_start(
    heard_at: float | None, became: list[str], after: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert judged(Applied(), monkeypatch, heard_at=heard_at) == (became, after)


def test_what_is_not_on_trial_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert judged(Applied(on_trial=False), monkeypatch, heard_at=None) == ([], 0.0)


def test_a_disk_that_refuses_is_asked_until_it_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert judged(Applied(refuses=2), monkeypatch, heard_at=None) == (["taken back", "settings"], 140.0)


def test_who_is_heard_while_the_disk_refuses_is_not_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert judged(Applied(refuses=1), monkeypatch, heard_at=100.0) == (["kept"], 110.0)


def test_a_trial_follows_the_profile() -> None:
    assert [trial.period(profile) for profile in (3, 20, 90, 3600)] == [12, 80, 360, 900]
