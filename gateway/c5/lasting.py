"""Troubles that a gateway's records begin and end: a device that is lost, a battery that is low, a line that is jammed.

A record scrolls by; what it says lasts. C5 holds each open from the record that begins it to the one that ends it, by
type and source. Records may come late and out of order: within an epoch the last by its number counts, and of two
epochs the present one, else the later by its start count. A `device.revoke` that was done ends all that its device
began before it, also what comes only after it.

Left out is what has no end of its own (`device.chattering`), an end that not every source tells (`device.stuck`), and
what is an alarm itself.
"""

from collections.abc import Callable, Mapping
from typing import Final

from gateway.c5.reports import Reports
from gateway.c5.values import ReportType
from gateway.signing.record import Record

BEGINS: Final[Mapping[str, tuple[ReportType, str]]] = {
    "device.lost": ("device.lost", "nothing is heard of it: what is pressed or measured there does not arrive"),
    "battery.low": ("battery.low", "its battery is low"),
    "power.lost": ("power.lost", "its mains are gone"),
    "threshold.exceeded": ("threshold.exceeded", "beyond its limit"),
    "radio.jammed": ("radio.jammed", "the line is jammed: devices on it may not be heard"),
    "port.lost": ("port.lost", "it is gone: nothing on it is heard"),
    "storage.low": ("storage.low", "its disk is nearly full"),
    "storage.degraded": ("storage.degraded", "its disk fails, or its store was damaged"),
}
ENDS: Final[Mapping[str, ReportType]] = {
    "device.restored": "device.lost",
    "battery.restored": "battery.low",
    "power.restored": "power.lost",
    "threshold.restored": "threshold.exceeded",
    "radio.cleared": "radio.jammed",
    "port.restored": "port.lost",
    "storage.restored": "storage.degraded",
}
OF_THE_DISK: Final[tuple[ReportType, ...]] = ("storage.low", "storage.degraded")
TYPES: Final[frozenset[str]] = frozenset(BEGINS)
NO_KEY: Final = "it answers, but not with its key: it was reset or replaced, and is not believed: have somebody look"
SOURCES_MAX: Final = 1024  # troubles of one gateway whose last record is remembered; of more the oldest is forgotten
OF_ONE_MAX: Final = 128  # troubles of one source that are held open
REVOKED: Final = "revoked"  # of the last records: the one that revoked a device
ROOM: Final = "room"  # the reason of `storage.restored` that ends `storage.low`


class Lasting:
    """What lasts at one gateway; `present` says which epoch is its present one."""

    def __init__(self, gateway: str, reports: Reports, present: Callable[[], bytes | None]) -> None:
        self._gateway = gateway
        self._reports = reports
        self._present = present
        self._open: set[tuple[ReportType, str]] = set()
        self._last: dict[tuple[str, str], tuple[bytes, int]] = {}  # epoch and sequence

    def restore(self, type_: str, detail: str) -> None:
        """Take in that this was open before C5's start."""
        if type_ in BEGINS:
            self._open.add((BEGINS[type_][0], detail))

    def heard(self, record: Record) -> None:
        """Take in a record of the status lane that C5 has just stored for the first time."""
        if (begins := BEGINS.get(record.type)) is not None:
            type_, text = begins
            if type_ == "device.lost" and (record.data or {}).get("fault") == "key":
                text = NO_KEY
            news = self._is_news(type_, detail := _detail(record), record)
            if news and self._is_after(record, REVOKED, record.source) and self._has_room(type_, detail):
                self._open.add((type_, detail))
                self._reports.hold(type_, self._gateway, f"{detail}: {text}", detail)
        elif (ended := ENDS.get(record.type)) is not None:
            by_room = record.type == "storage.restored" and (record.data or {}).get("reason") == ROOM
            type_ = "storage.low" if by_room else ended
            if self._is_news(type_, detail := _detail(record), record):
                self._end(type_, detail)
        elif record.type == "gateway.started":  # what of its disk is still wrong it tells anew
            for disk in OF_THE_DISK:
                if self._is_news(disk, detail := _detail(record), record):
                    self._end(disk, detail)
        elif (device := _revoked(record)) is not None and self._is_news(REVOKED, device, record):
            for type_, detail in sorted(self._open):  # whoever revoked it, nothing else will end it
                if detail.partition("/")[0] == device and self._is_news(type_, detail, record):
                    self._end(type_, detail)

    def gone(self) -> None:
        """End everything: the gateway lost its store, and what it knew to be wrong."""
        for type_, detail in sorted(self._open):
            self._end(type_, detail)

    def _has_room(self, type_: ReportType, detail: str) -> bool:
        """Whether one more of this source is held: its records say the rest."""
        source = detail.partition("/")[0]
        return (type_, detail) in self._open or (
            len(self._open) < SOURCES_MAX
            and sum(opened.partition("/")[0] == source for _type, opened in self._open) < OF_ONE_MAX
        )

    def _end(self, type_: ReportType, detail: str) -> None:
        self._open.discard((type_, detail))
        self._reports.end(type_, self._gateway, f"{detail}: it has ended", detail)

    def _is_after(self, record: Record, type_: str, detail: str) -> bool:
        at, last, present = (record.epoch, record.sequence), self._last.get((type_, detail)), self._present()
        return last is None or (at[0] == present, *at) > (last[0] == present, *last)

    def _is_news(self, type_: str, detail: str, record: Record) -> bool:
        key, at = (type_, detail), (record.epoch, record.sequence)
        news = self._is_after(record, type_, detail)
        last = self._last.pop(key, at)
        self._last[key] = at if news else last
        if len(self._last) > SOURCES_MAX:
            del self._last[next(iter(self._last))]
        return news


def _revoked(record: Record) -> str | None:
    """Return the device that is no more, if the record says so of one."""
    match record.data:
        case {"name": "device.revoke", "outcome": "done", "device": str(device)} if record.type == "command.executed":
            return device
    return None


def _detail(record: Record) -> str:
    """Return what tells this trouble from others of its type: the source, and which of several it is."""
    data = record.data or {}
    keys = ("quantity", "limit", "point") if record.type.startswith("threshold.") else ("point",)
    which = [data[key] for key in keys if isinstance(data.get(key), str | int | float)]
    named = "/".join(map(str, [record.source, *which]))
    return "".join(character if character.isprintable() else "?" for character in named[:224])
