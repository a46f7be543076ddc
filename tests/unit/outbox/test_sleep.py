"""One sleeper, woken where something became due earlier, and not where it didn't."""

import asyncio
import contextlib
from random import Random

from gateway.outbox.sleep import Sleep
from tests.simulation.loop import VirtualLoop


class _Sleeper:
    """Notes when it woke, and how often it asked when it is due."""

    def __init__(self, due: float) -> None:
        self.due = due
        self.asked = 0
        self.sleep = Sleep(self._when, asyncio.get_running_loop().time)

    def _when(self) -> float:
        self.asked += 1
        return self.due


def _woken(story: list[tuple[float, float]]) -> tuple[float, int]:
    """When a sleeper that is due at 60 wakes, if at each of these times it becomes due at that one; and its looks."""

    async def main() -> tuple[float, int]:
        loop = asyncio.get_running_loop()
        sleeper = _Sleeper(60.0)

        def becomes(due: float) -> None:
            sleeper.due = due
            sleeper.sleep.look()

        for at, due in story:
            loop.call_at(at, becomes, due)
        await sleeper.sleep.until_due()
        return round(loop.time(), 3), sleeper.asked

    with contextlib.closing(VirtualLoop(Random(1))) as loop:
        return loop.run_until_complete(main())  # type: ignore[no-any-return]


def test_it_wakes_when_it_is_due() -> None:
    assert _woken([]) == (60.0, 2)


def test_what_became_due_earlier_wakes_it_and_what_became_due_later_does_not() -> None:
    assert _woken([(10.0, 11.0)]) == (11.0, 4)
    assert _woken([(10.0, 10.0)]) == (10.0, 3)
    assert _woken([(10.0, 60.0), (20.0, 60.0)]) == (60.0, 4), "two looks of `look`, none of the sleeper's own"
