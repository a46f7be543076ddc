"""Two brokers, and links that swallow everything without a word: what is noticed, by whom, and how soon.

The short journeys run with a profile of 8 s. `make soak` has the profiles of the field, 20, 90 and 180 s, side by side.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from pathlib import Path

import pytest

from tests.support.measured import Measured
from tests.support.paths import TwoPaths
from tests.support.world import until

Figures = dict[str, float]  # seconds


async def failed_over(folder: Path, authority: Path, profile: int) -> Figures:
    """Swallow the path in reserve, then the preferred one with a press in it, and let each come back."""
    async with TwoPaths(folder, authority, profile=profile) as world:
        await world.press()
        since = await world.hole(1)
        idle = await world.seen("link.failed", since, broker=1)
        assert idle < profile, f"link.failed of an idle path after {idle:.1f} s"
        world.links[1].restore()
        await world.seen("link.restored", since, broker=1)
        pressed = len(world.receiver.of_type("panic.pressed"))
        since = await world.hole(0)
        number = await world.board.press()
        alarm = await world.another("panic.pressed", pressed, since)
        await world.board.stage(number, 2, 2.0 * profile)
        failed = await world.seen("link.failed", since, broker=0)
        assert failed < profile, f"link.failed after {failed:.1f} s"
        assert await world.carries(1)
        await until(
            lambda: "no link" in world.receiver.reports().get("link.failed", ""), "c5-receiver status to show it"
        )
        await world.press()
        assert "gateway.offline" not in world.receiver.reports()
        world.links[0].restore()
        await world.seen("link.restored", since, broker=0)
        assert await world.carries(1), "not before it has held"
        await until(lambda: world.carries(0), "the preferred path to carry again", within=1.5 * profile + 30)
        await world.press()
        await world.judged()
        await world.nothing_waits()
        assert await world.troubles() == ""
        assert world.receiver.reports()["link.failed"].endswith("again"), "over, at c5-receiver status too"
        assert [len(world.receiver.of_type(type_)) for type_ in ("link.failed", "link.restored")] == [2, 2]
        return {
            "link.failed of an idle path at C5": idle,
            "link.failed at C5 over the other path": failed,
            "a press in it at C5": alarm,
        }


async def lost(folder: Path, authority: Path, profile: int) -> Figures:
    """Swallow both paths; C5 reports the gateway."""
    async with TwoPaths(folder, authority, profile=profile) as world:
        await world.press()
        since = await world.hole(0, 1)
        took = await world.reported("gateway.offline", since)
        assert took < profile, f"reported after {took:.1f} s"
        press = await world.board.press()
        for link in world.links:
            link.restore()
        await world.board.stage(press, 2, 90)
        await world.judged()
        return {"C5's report of a gateway without a path": took}


async def side_by_side(folder: Path, authority: Path, measured: Measured, profiles: Sequence[int]) -> None:
    """Run both journeys at every profile at once: they wait, for the most part."""
    journeys: list[Coroutine[None, None, Figures]] = []
    for profile in profiles:
        for journey in (failed_over, lost):
            home = folder / f"{journey.__name__}-{profile}"
            home.mkdir()
            journeys.append(journey(home, authority, profile))
    async with asyncio.timeout(3.0 * max(profiles) + 100):
        found = await asyncio.gather(*journeys)
    for profile, figures in zip((profile for profile in profiles for _ in range(2)), found, strict=True):
        for name, seconds in figures.items():
            measured(f"black hole, profile {profile} s: {name}", "s", round(seconds, 1), profile)


def test_a_black_hole_is_told_within_the_profile_over_the_other_path_or_by_c5_where_there_is_none(
    tmp_path: Path, authority: Path, measured: Measured
) -> None:
    asyncio.run(side_by_side(tmp_path, authority, measured, [8]))


@pytest.mark.soak
@pytest.mark.timeout(660)
def test_the_profiles_of_the_field(tmp_path: Path, authority: Path, measured: Measured) -> None:
    asyncio.run(side_by_side(tmp_path, authority, measured, [20, 90, 180]))
