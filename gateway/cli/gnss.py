"""The GNSS receiver as `check` and `status` show it."""

import asyncio
from collections.abc import Iterator
from typing import Any, Final

from gateway.config import GatewaySettings, PortTable
from gateway.drivers.nmea import Nmea
from gateway.sensing.fix import Receiver, Said
from gateway.text import _

Finding = tuple[str, str | None, str]  # what it is, what is wrong with it, what to say if nothing is

LISTEN: Final = 3.0  # seconds: most receivers speak each second
LISTEN_MAX: Final = 12.0  # … some every ten
BURST: Final = 0.5  # for the rest of what is said together


def looked(settings: GatewaySettings) -> Iterator[Finding]:
    """Listen to the receiver; nobody else has the line now."""
    for port in settings.port:
        if port.driver == "nmea":
            yield asyncio.run(_listened(port))


async def _listened(port: PortTable) -> Finding:
    receiver, lost = Receiver(), list[str]()
    loop = asyncio.get_running_loop()

    def said(said: Said) -> None:
        receiver.said(said, loop.time())

    line = Nmea(port.device, port.baud, said=said, lost=lost.append, restored=lambda: None, random=lambda: 0.5)
    task, began = loop.create_task(line.run(lambda: None)), loop.time()

    def enough() -> bool:
        placed = receiver.fix is not None and receiver.fix.accuracy_m is not None
        heard = line.sentences.read > 0 and loop.time() >= began + LISTEN
        return placed or heard or bool(lost) or loop.time() >= began + LISTEN_MAX

    while not enough() and not (await asyncio.wait({task}, timeout=0.1))[0]:
        pass
    await asyncio.wait({task}, timeout=BURST)
    task.cancel()
    (ended,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(ended, Exception):
        raise ended
    what = _("receiver {name}").format(name=port.name)
    if lost:
        return what, lost[0], ""
    if line.sentences.read == 0:
        text = _("nothing that can be read at {baud} baud: another rate, the wires, the receiver's supply")
        return what, text.format(baud=port.baud), ""
    if receiver.fix is None:
        return what, None, _("it speaks, and has no position yet: does the antenna see the sky?")
    return what, None, _place(receiver.fix.latitude, receiver.fix.longitude, receiver.fix.accuracy_m)


def beside(running: dict[str, Any]) -> Iterator[Finding]:
    """Yield the same through the eyes of the running service."""
    for row in running["gnss"]:
        yield _("receiver {name}").format(name=row["name"]), row["trouble"], _seen(row)


def shown(found: dict[str, Any]) -> Iterator[str]:
    """Yield a line of `status`."""
    for row in found["gnss"]:
        yield f"{row['name']:10} {row['trouble'] or _seen(row)}{_counted(row)}"


def told(row: dict[str, Any]) -> str:
    """Return what the service says among its troubles of a receiver that has one."""
    return _("receiver {name}: {wrong}").format(name=row["name"], wrong=row["trouble"])


def _seen(row: dict[str, Any]) -> str:
    if row["heard_s"] is None:
        return _("not heard yet")
    if row["position"] is None:
        return _("no position yet")
    place = row["position"]
    parts = [_place(place["latitude"], place["longitude"], place["accuracy_m"])]
    if row["satellites"] is not None:
        parts.append(_("{count} satellites").format(count=row["satellites"]))
    parts.append(_("{s} s ago").format(s=row["fix_s"]))
    if row["distance_m"] is not None:
        parts.append(_("{m} m from its place").format(m=row["distance_m"]))
    if row["clock"] is not None and row["clock"]["machine_ahead_ms"] is not None:
        ahead = round(row["clock"]["machine_ahead_ms"] / 1000, 1)
        parts.append(_("the machine's clock is {s} s ahead of it").format(s=ahead))
    return ", ".join(parts)


def _place(latitude: float, longitude: float, accuracy_m: float | None) -> str:
    within = "" if accuracy_m is None else f" ±{accuracy_m:.0f} m"
    return f"{latitude:.5f}, {longitude:.5f}{within}"


def _counted(row: dict[str, Any]) -> str:
    refused = {kind: count for kind, count in row["refused"].items() if count}
    if not refused:
        return ""
    kinds = ", ".join(f"{kind} {count}" for kind, count in refused.items())
    text = _(" ({sentences} sentences; refused: {kinds})")
    return text.format(sentences=row["sentences"], kinds=kinds)
