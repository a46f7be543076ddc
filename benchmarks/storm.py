"""A storm: 1 000 presses in a minute over 32 devices on one port at 115 200 baud, press → C5 and back.

The scenario is `storm` of firmware_sim, as it comes. The naive script reads as many JSON lines from a line of its own
at the same rate, each in the middle between two presses: both work through the same minute. Ours is counted from the
moment the last byte of a press's first frame left the receiver's line to `verified` at C5, theirs from the last byte of
the line to the subscriber's callback; "from the finger" is ours with the time on the line.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Final

from benchmarks import site as sites
from benchmarks.figures import Figure, spread
from benchmarks.process import Child, until
from benchmarks.received import Received, by_device, left_us
from benchmarks.site import Site
from firmware_sim.ledger import Press
from firmware_sim.play import Run
from firmware_sim.pty import PseudoTerminal
from firmware_sim.scenario import find, load
from gateway.registry.devices import Device, Registry

BAUD: Final = 115_200
CATCH_UP: Final = 15.0
SETTLE: Final = 3.0  # seconds before memory counts as idle


async def measure(site: Site) -> list[Figure]:
    """Press at both, for a minute."""
    home = site.home / "storm"
    field = home / "field"
    field.mkdir(parents=True)
    scenario = load(find("storm"))
    (presses,) = scenario.step
    naive_line = PseudoTerminal(home / "theirs", baud=BAUD)
    async with Run(scenario, field) as run, naive_line, site.broker:
        (line,) = run.lines.values()
        ours = sites.Ours(site, home / "ours-home", line.path)
        registry = Registry(ours.state_dir)
        for board in run.boards.values():
            label = board.machine.label
            registry.enrol(Device(label.device, label.model, label.key))
        async with (
            sites.subscriber(site, home) as subscribed,
            ours.receiver("--output", "jsonl") as receiver,
            ours.gateway() as gateway,
            sites.naive(site, home, naive_line.path) as naive,
        ):
            await receiver.says("gateway.started")
            await naive.says("connected")
            await naive.says("opened")
            await asyncio.sleep(SETTLE)
            before = [(child.cpu_seconds(), time.monotonic()) for child in (gateway, naive)]
            playing = asyncio.create_task(run.play())
            left = await _press_naive(naive_line, presses.at + presses.every / 2, presses.count, presses.every)
            cpu = [_share(child, *since) for child, since in zip((gateway, naive), before, strict=True)]
            await playing
            await until(lambda: len(run.ledger.reached(2)) == presses.count, CATCH_UP)
            await until(lambda: len(sites.arrivals(subscribed)) == presses.count, CATCH_UP)
            memory = [child.memory_mb() for child in (gateway, naive)]
        at_c5, came = by_device(receiver.out), sites.arrivals(subscribed)
    pressed = run.ledger.presses
    mine = spread([(_verified(at_c5, press) - left_us(press)) / 1e3 for press in pressed])
    fingers = spread([(_verified(at_c5, press) - left_us(press)) / 1e3 + _on_the_line_ms(press) for press in pressed])
    theirs = spread([(came[number] - at) / 1e6 for number, at in left.items() if number in came])
    told = spread([1e3 * (press.told[2] - press.pressed_at) for press in pressed if 2 in press.told])
    return [
        _count("storm: presses at C5, of 1 000", len(at_c5), len(came)),
        _count("storm: presses receipted, and the device told", len(run.ledger.reached(2)), None),
        *(
            Figure(f"storm: press → verified at C5, {share}", "ms", mine[share], theirs[share])
            for share in ("p50", "p99", "max")
        ),
        Figure("storm: from the finger to verified at C5, p99", "ms", fingers["p99"]),
        Figure("storm: from the finger to stage 2 at the device, p99", "ms", told["p99"]),
        Figure("storm: of one core", "%", cpu[0], cpu[1]),
        Figure("storm: memory after it", "MB", memory[0], memory[1]),
    ]


def _count(name: str, ours: int, naive: int | None) -> Figure:
    return Figure(name, "", ours, naive, now=1000, goal=1000, better="more")


async def _press_naive(line: PseudoTerminal, first: float, count: int, every: float) -> Mapping[int, int]:
    """Write as many lines; return when each left, by its number."""
    left: dict[int, int] = {}
    began = time.monotonic()
    for number in range(1, count + 1):
        await asyncio.sleep(began + first + (number - 1) * every - time.monotonic())

        def gone(number: int = number) -> None:
            left[number] = time.time_ns()

        said = {"d": f"button-{number % 32}", "n": number, "e": "panic.pressed", "battery_mv": 2980}
        line.write(json.dumps(said).encode() + b"\n", gone)
    return left


def _share(child: Child, seconds: float, since: float) -> float:
    """Return how much of one core it has used since then, in percent."""
    return 100 * (child.cpu_seconds() - seconds) / (time.monotonic() - since)


def _verified(at_c5: Mapping[tuple[str, int], Received], press: Press) -> int:
    return at_c5[press.device, press.event].verified_us


def _on_the_line_ms(press: Press) -> float:
    assert press.left_at is not None
    return 1e3 * (press.left_at - press.pressed_at)
