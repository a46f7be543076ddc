"""Supervision's promise, and what puts it to the test: silent devices, weak batteries, a jammer.

A trouble that lasts is told once and its end once, whatever else goes wrong and however often the gateway starts: what
C5 holds of one source alternates. Judged are records that were durable: what died beside its commit is not known after
the start (wire.md, "Epochs"), and is told again. In a seed whose gateway once began without its store, nothing is.
"""

import asyncio
from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING, Final

from gateway.event import Lane, lane_of
from gateway.signing.record import Record
from tests.simulation.check import Checker, records

if TYPE_CHECKING:
    from tests.simulation.faults import Site

ENDS: Final = {
    "device.lost": "device.restored",
    "battery.low": "battery.restored",
    "radio.jammed": "radio.cleared",
    "port.lost": "port.restored",
}
JAM_BYTES: Final = 200  # every half second


async def silent(site: "Site", random: Random) -> None:
    """A device says nothing for minutes: its power is out."""
    device = random.choice(site.devices)
    if not device.on:
        return
    site.trace(f"{device.id} is silent")
    device.power_cut()
    try:
        await asyncio.sleep(random.uniform(30, 480))
    finally:
        if not device.on:
            device.power_on()


async def weak(site: "Site", random: Random) -> None:
    """A device's battery runs low, not so low that the board says so, and is changed."""
    device = random.choice(site.devices)
    site.trace(f"{device.id} has a weak battery")
    device.machine.cell.replace(2450)
    try:
        await asyncio.sleep(random.uniform(60, 600))
    finally:
        device.machine.cell.replace(2980)


async def jammed(site: "Site", random: Random) -> None:
    """Somebody jams a line."""
    bus = random.choice(site.buses)
    site.trace(f"{bus.name} is jammed")
    for _half_second in range(round(2 * random.uniform(5, 90))):
        if bus.port is not None and bus.plugged:
            bus.port.take(random.randbytes(JAM_BYTES))
        await asyncio.sleep(0.5)


def told(checker: Checker) -> Iterator[Record]:
    """Yield what C5 holds of troubles that last, and were not an event of a device's, in the order of their signing."""
    types = [*ENDS, *ENDS.values()]
    find = f"""SELECT wire FROM records JOIN chains ON chains.id = chain
               WHERE type IN ({",".join("?" * len(types))}) AND event_number IS NULL
               ORDER BY epoch, lane, sequence"""
    for (wire,) in checker.ledger(find, types):
        yield from records(wire)


def standing(checker: Checker) -> str | None:
    """Return a trouble that stands at C5, and is over."""
    open_: dict[tuple[str, str], str] = {}
    for record in durable(checker):
        if record.type in ENDS:
            open_[record.source, ENDS[record.type]] = record.type
        else:
            open_.pop((record.source, record.type), None)
    found = [f"C5 has {type_} of {source}" for (source, _end), type_ in open_.items() if source in checker.present]
    return found[0] if found and not unstored(checker) else None


def durable(checker: Checker) -> Iterator[Record]:
    """Yield those of `told` that the gateway's disk had, too."""
    for record in told(checker):
        if record.sequence <= checker.durable_to(record.epoch, Lane.STATUS):
            yield record


def unstored(checker: Checker) -> bool:
    """Whether the gateway once began without its store."""
    wires = checker.ledger("SELECT wire FROM records WHERE type = 'gateway.started'")
    return any((record.data or {})["unstored"] for (wire,) in wires for record in records(wire))


def judge(checker: Checker) -> None:
    """Fail if a trouble was told twice, or its end was, or in another lane than status."""
    last: dict[tuple[str, str], str] = {}
    if unstored(checker):
        return
    for record in durable(checker):
        begin = record.type if record.type in ENDS else next(b for b, end in ENDS.items() if end == record.type)
        before = last.get((record.source, begin), ENDS[begin])
        if before == record.type:
            checker.fail(f"C5 was told {record.type} of {record.source} twice")
        if record.lane is not lane_of(record.type):
            checker.fail(f"{record.type} came in lane {record.lane}")
        last[record.source, begin] = record.type
