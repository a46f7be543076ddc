"""Units on a bus: from what was read to records, each trouble once, over any number of restarts.

Values are recorded as `measurement` when a report is due (`report_s`), a unit's newest ones in one record; what was
read in between feeds the thresholds. What a bit or a threshold means is told when it begins and when it ends. That it
was told is stored with the record; so what is there is compared at each reading with what was told, and what memory
had no room for is told at the next.

An output is switched where C5 orders it and nowhere else. One that is to be on for a time is noted until it is off: a
gateway that is killed in between switches it off when it is back.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from gateway.delivery.item import Note
from gateway.event import Event, Lane, Position
from gateway.sensing.profile import Output, Point, Profile
from gateway.sensing.registers import Read
from gateway.sensing.reply import Answer, Exceptional, Fault, Garbled, Reply, Silent, words
from gateway.sensing.threshold import Threshold
from gateway.tasks.standing import Standing
from gateway.text import _

if TYPE_CHECKING:
    from gateway.tasks.recorder import Recorder
    from gateway.tasks.store import Store

log = logging.getLogger(__name__)

AGAIN: Final = 5.0  # seconds until an output that could not be switched off is tried again

Value = float | bool | None


class Line(Protocol):
    """The bus that a unit is on."""

    def write(self, unit: str, output: Output, done: Callable[[Reply], None], *, on: bool) -> bool:
        """Have an output switched; False: it can't be now."""


@dataclass(slots=True)
class Unit:
    """A unit of the settings, and what is known of it since the start."""

    name: str
    port: str
    address: int
    profile: Profile
    report_s: float
    position: Position | None = None
    values: dict[str, Value] = field(default_factory=dict)  # by point
    thresholds: dict[str, list[tuple[str, Threshold]]] = field(default_factory=dict)  # by point, each with its trouble
    counts: Counter[str] = field(default_factory=Counter)
    refusals: dict[tuple[int, int], Exceptional] = field(default_factory=dict)  # by function and first register
    fault: Fault | None = None  # why it isn't heard
    lost: bool = False
    heard_at: float | None = None
    silent_since: float | None = None
    fresh: dict[str, float] = field(default_factory=dict)  # by quantity: what the next measurement says
    unread: set[Read] = field(default_factory=set)
    report_at: float | None = None


class Units:
    """All units of this gateway."""

    def __init__(self, units: Iterable[Unit], recorder: "Recorder", store: "Store", notes: Iterable[Note]) -> None:
        self._units = {unit.name: unit for unit in units}
        self._recorder = recorder
        self._store = store
        self._standing = Standing(recorder, store, (note for note in notes if note.source in self._units))
        self.lines: Mapping[str, Line] = {}  # by port
        self._off_at: dict[tuple[str, str], float] = {}  # outputs that are to be switched off, and when
        for unit in self._units.values():
            for point in unit.profile.points:
                unit.thresholds[point.name] = list(self._thresholds(unit, point))
            for output in unit.profile.outputs:
                if self._standing.value(unit.name, _noted(output)) is not None:
                    self._off_at[unit.name, output.name] = 0.0

    def __contains__(self, name: object) -> bool:
        """Whether there is a unit of this name."""
        return name in self._units

    def _thresholds(self, unit: Unit, point: Point) -> Iterable[tuple[str, Threshold]]:
        for index, limit in enumerate(point.limits):
            trouble = f"{limit.on}/{point.name}/{limit.side}/{index}"
            yield trouble, Threshold(limit, exceeded=self._standing.value(unit.name, trouble) is not None)

    # What units say.

    def answered(self, unit: str, read: Read, values: Mapping[str, Value], now: float) -> None:
        """A read was answered."""
        own = self._units[unit]
        own.counts["answers"] += 1
        own.refusals.pop((read.function, read.register), None)
        self._heard(own, now)
        for point in read.points:
            value = own.values[point.name] = values[point.name]
            if value is None:  # the unit itself has none: a sensor that is broken or not connected
                own.fresh.pop(point.quantity or "", None)
                continue
            if point.on is not None:
                trouble, data = f"{point.on}/{point.name}", {"point": point.name}
                self._told(own, (point.on, point.off), trouble, data, so=bool(value))
            if point.quantity is not None:
                own.fresh[point.quantity] = float(value)
            for trouble, threshold in own.thresholds[point.name]:
                if (measured := threshold.judge(float(value), now)) is not None:
                    data = _compared(point, threshold, float(value), measured)
                    self._told(own, (threshold.limit.on, threshold.limit.off), trouble, data, so=threshold.exceeded)
        own.unread.discard(read)
        self._report(own, now)

    def refused(self, unit: str, read: Read, fault: Exceptional, now: float) -> None:
        """A read was answered with an exception: the unit lives."""
        own = self._units[unit]
        own.counts["exceptions"] += 1
        if own.refusals.get((read.function, read.register)) != fault:
            log.warning("unit %s refuses register %d, function %d: %s", unit, read.register, read.function, fault)
        own.refusals[read.function, read.register] = fault
        for point in read.points:
            own.values.pop(point.name, None)
        self._heard(own, now)
        own.unread.discard(read)
        self._report(own, now)

    def failed(self, unit: str, fault: Exceptional | Silent | Garbled, now: float, *, lost: bool) -> None:
        """A unit didn't answer, or not in a way that can be read."""
        own = self._units[unit]
        own.counts["garbled" if isinstance(fault, Garbled) else "silent"] += 1
        own.fault = fault
        if own.silent_since is None:
            own.silent_since = now if own.heard_at is None else own.heard_at
        if lost and not own.lost:
            own.lost = True
            own.values.clear()
            own.fresh.clear()
            for thresholds in own.thresholds.values():
                for _trouble, threshold in thresholds:
                    threshold.forget()
            log.warning("unit %s is lost: %s", unit, words(fault))
        if lost:
            silent = round(now - own.silent_since)
            self._standing.begin(self._event(own, "device.lost", {"silent_s": silent}), silent)

    def _heard(self, own: Unit, now: float) -> None:
        noted = self._standing.value(own.name, "device.lost")
        if noted is not None:
            silent = noted if own.silent_since is None else round(now - own.silent_since)
            self._standing.end(self._event(own, "device.restored", {"silent_s": silent}), "device.lost")
        if own.lost:
            log.info("unit %s answers again", own.name)
        own.lost, own.fault, own.silent_since, own.heard_at = False, None, None, now

    def _told(
        self, own: Unit, types: tuple[str, str | None], trouble: str, data: Mapping[str, Any], *, so: bool
    ) -> None:
        """Have C5 know what is so, whatever it knows; `types` are those of its beginning and its end."""
        on, off = types
        if so:
            self._standing.begin(self._event(own, on, data), trouble=trouble)
        elif off is not None:
            self._standing.end(self._event(own, off, data), trouble)
        elif self._standing.value(own.name, trouble) is not None:
            self._standing.keep(own.name, trouble, None)

    def _report(self, own: Unit, now: float) -> None:
        if own.report_at is None:  # the first report waits until everything was read once
            own.report_at = now if not own.unread else None
        if own.report_at is None or now < own.report_at or not own.fresh or not self._store.room(Lane.TELEMETRY):
            return
        if self._recorder.record(self._event(own, "measurement", {"values": dict(own.fresh)})) is not None:
            own.fresh.clear()
            own.report_at = now + own.report_s

    def _event(self, own: Unit, type_: str, data: Mapping[str, Any]) -> Event:
        return Event(type_, own.name, position=own.position, data=data)

    # Outputs.

    def switch(
        self,
        unit: str,
        output: str,
        ended: Callable[[str | None], None],
        *,
        on: bool,
        seconds: float | None,
        now: float,
    ) -> None:
        """Switch an output, for so long or until told; `ended` hears what is in the way, or None: it is done."""
        own = self._units[unit]
        found = next((one for one in own.profile.outputs if one.name == output), None)
        if found is None:
            names = ", ".join(one.name for one in own.profile.outputs) or "none"
            ended(f"{unit} has no output of this name; its outputs: {names}")
            return
        off_at = None if seconds is None or not on else now + seconds
        armed = (unit, output) in self._off_at

        def arm() -> None:
            if off_at is not None:
                self._standing.keep(unit, _noted(found), 1)
                self._off_at[unit, output] = off_at

        def done(reply: Reply) -> None:
            if isinstance(reply, Exceptional):  # nothing was switched: what was before still ends
                if off_at is not None and not armed:
                    self._settled(unit, found)
            elif off_at is not None:
                arm()  # anew, for an order to switch off that went before this one has settled it
            elif isinstance(reply, Answer):
                self._settled(unit, found)
            ended(None if isinstance(reply, Answer) else f"{unit}: {words(reply)}")

        arm()

        if not self.lines[own.port].write(unit, found, done, on=on):
            ended(f"{unit}: the line {own.port} is lost, or busy")

    def _settled(self, unit: str, output: Output) -> None:
        """An output isn't to be switched off any more."""
        self._off_at.pop((unit, output.name), None)
        if self._standing.value(unit, _noted(output)) is not None:
            self._standing.keep(unit, _noted(output), None)

    def tick(self, now: float) -> None:
        """Switch off what has been on for as long as it should be."""
        for (unit, name), at in tuple(self._off_at.items()):
            if now < at:
                continue
            own = self._units[unit]
            output = next(one for one in own.profile.outputs if one.name == name)
            self._off_at[unit, name] = now + AGAIN

            def done(reply: Reply, unit: str = unit, output: Output = output) -> None:
                if isinstance(reply, Answer):
                    self._settled(unit, output)

            self.lines[own.port].write(unit, output, done, on=False)

    # Shown.

    def glance(self, unit: str, now: float) -> dict[str, Any]:
        """Return what `status` shows of a unit."""
        own = self._units[unit]
        return {
            "name": unit,
            "port": own.port,
            "address": own.address,
            "profile": own.profile.name,
            "heard_s": None if own.heard_at is None else round(now - own.heard_at, 1),
            "values": dict(own.values),
            "counts": {name: own.counts[name] for name in ("answers", "exceptions", "silent", "garbled")},
            "lost": own.lost,
            "trouble": self.trouble(unit),
        }

    def trouble(self, unit: str) -> str | None:
        """Return what is wrong with a unit, in words."""
        own = self._units[unit]
        if own.fault is not None and own.lost:
            return words(own.fault)
        if own.refusals:
            (function, register), fault = next(iter(own.refusals.items()))
            text = _("register {register} (function {function}): {wrong}")
            return text.format(register=register, function=function, wrong=words(fault))
        if broken := [name for name, value in own.values.items() if value is None]:
            return _("it has no value for {names}: is the sensor connected?").format(names=", ".join(broken))
        return None

    @property
    def troubles(self) -> list[str]:
        """Return what is wrong now, in words."""
        text = _("unit {name} (address {address} on {port}): {wrong}")
        return [
            text.format(name=own.name, address=own.address, port=own.port, wrong=wrong)
            for own in self._units.values()
            if (wrong := self.trouble(own.name)) is not None
        ]


def _noted(output: Output) -> str:
    return f"output/{output.name}"


def _compared(point: Point, threshold: Threshold, value: float, measured: float) -> dict[str, Any]:
    """Return what a record says of a value and its limit."""
    limit = threshold.limit
    rate = "_per_min" if limit.side in ("rising", "falling") else ""
    data: dict[str, Any] = {
        "quantity": f"{point.quantity}{rate}",
        "value": round(measured, 6),
        "limit": -limit.limit if limit.side == "falling" else limit.limit,
    }
    return data | {"battery_mv": round(value * 1000)} if limit.on == "battery.low" else data
