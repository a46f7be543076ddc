"""The demo on a terminal: what was pressed, how far it has come, and keys to press and to cut the link."""

import asyncio
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from firmware_sim.device import NotKeptError
from firmware_sim.ledger import Press
from gateway.text import _

if TYPE_CHECKING:
    from gateway.cli.demo import Stage

ROWS: Final = 16
IDLE: Final = 10.0  # seconds without a key after the script's end, and the demo is over


async def show(stage: "Stage", script: "asyncio.Task[float]") -> None:
    """Show the run until its script is over and nobody has touched a key for a while, or `q`."""
    loop = asyncio.get_running_loop()
    keys: asyncio.Queue[str] = asyncio.Queue()
    touched = loop.time()
    with _keys(keys), Live(_view(stage), refresh_per_second=10) as live:
        while not script.done() or loop.time() < touched + IDLE:
            try:
                async with asyncio.timeout(0.1):
                    key = await keys.get()
            except TimeoutError:
                live.update(_view(stage))
                continue
            touched = loop.time()
            if key == "q":
                break
            await _act(stage, key, busy=not script.done())
            live.update(_view(stage))
    if not stage.link_up and script.done():
        await stage.mend()


async def _act(stage: "Stage", key: str, *, busy: bool) -> None:
    """Do what a key asks; the link is the script's own while that runs."""
    match key:
        case " " | "p":
            try:
                await stage.boards[0].press()
            except NotKeptError:
                return
        case "x" if not busy:
            await (stage.cut() if stage.link_up else stage.mend())
        case "a" if stage.link_up:
            await stage.acknowledge()
        case _:
            pass


@contextmanager
def _keys(keys: "asyncio.Queue[str]") -> Iterator[None]:
    """Have single keys put into a queue while inside; nothing where standard input is no terminal."""
    if not sys.stdin.isatty():
        yield
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    loop = asyncio.get_running_loop()
    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, lambda: keys.put_nowait(sys.stdin.read(1)))
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _view(stage: "Stage") -> Group:
    table = Table(expand=True)
    for heading in (_("device"), _("event"), _("at the gateway, ms"), _("at C5, ms"), _("the button shows")):
        table.add_column(heading)
    for press in stage.ledger.presses[-ROWS:]:
        table.add_row(press.device, str(press.event), _after(press, 1), _after(press, 2), _lamp(press))
    link = Text(_("link up"), style="bold green") if stage.link_up else Text(_("LINK CUT"), style="bold red")
    keys = Text(_("  space: press   a: acknowledge at C5   x: cut or mend the link   q: end"), style="dim")
    counts = Text(
        "  "
        + _("pressed {pressed}, C5 has {received}").format(
            pressed=len(stage.ledger.presses), received=len(stage.ledger.reached(2))
        )
    )
    return Group(Text.assemble(link, counts, keys), table)


def _after(press: Press, stage: int) -> str:
    told = press.told.get(stage)
    return "" if told is None or press.left_at is None else f"{(told - press.left_at) * 1000:.1f}"


def _lamp(press: Press) -> Text:
    match press.stage:
        case 0:
            return Text(_("waiting"), style="yellow")
        case 1:
            return Text(_("stored"), style="cyan")
        case 2:
            return Text(_("C5 has it"), style="green")
        case _:
            return Text(_("acknowledged"), style="bold green")
