"""The GNSS receiver: from the settings to its line, connected with the gateway's place, its clock and C5."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from gateway.clock import FieldClock, moment
from gateway.config import GatewaySettings
from gateway.delivery.item import Note, Run
from gateway.drivers.nmea import REFUSALS, Nmea
from gateway.sensing.fix import Said
from gateway.sensing.satellites import Satellites, uncertainty_ms
from gateway.tasks.drivers import Driver
from gateway.tasks.orders.alarms import Place
from gateway.tasks.whereabouts import Rules, Whereabouts
from gateway.text import _
from gateway.world import World

if TYPE_CHECKING:
    from gateway.tasks.recorder import Recorder
    from gateway.tasks.store import Store
    from gateway.tasks.supervise import Supervise


class Gnss:
    """The receiver of the settings, if there is one."""

    def __init__(self, settings: GatewaySettings, world: World) -> None:
        self._port = next((port for port in settings.port if port.driver == "nmea"), None)
        self._table = settings.gnss
        self._position = settings.gateway.position
        self._world = world
        self._satellites: Satellites | None = None
        self._clock: FieldClock | None = None
        self.line: Nmea | None = None
        self.whereabouts: Whereabouts

    def tell(self, clock: FieldClock) -> None:
        """Have a clock hear the receiver's time, where the settings want it."""
        if self._port is not None and self._table.clock:
            late_ms = uncertainty_ms(self._port.baud)
            self._clock, self._satellites = clock, Satellites(late_ms, lambda: clock.unbelieved is not None)
            clock.satellites = self._satellites.at

    def wire(self, recorder: "Recorder", store: "Store", supervise: "Supervise", notes: Iterable[Note]) -> None:
        """Connect the line with what hears of it."""
        port, table = self._port, self._table
        if port is None:
            return
        position = self._position.position() if self._position else None
        rules = Rules(port.name, table.mobile, table.moved_m, table.moved_s, position)
        self.whereabouts = Whereabouts(rules, recorder, store, notes, satellites=self._satellites, now=self._now())
        self.line = Nmea(
            port.device,
            port.baud,
            said=self._said,
            lost=partial(self._lost, port.name, supervise),
            restored=partial(self._restored, port.name, supervise),
            random=self._world.random,
            line=self._world.line,
        )

    def _now(self) -> float:
        return self._world.clock.monotonic()

    def _said(self, said: Said) -> None:
        self.whereabouts.said(said, self._now())

    def _lost(self, name: str, supervise: "Supervise", reason: str) -> None:
        self.whereabouts.line(self._now(), there=False)
        supervise.port_lost(name, reason)

    def _restored(self, name: str, supervise: "Supervise") -> None:
        self.whereabouts.line(self._now(), there=True)
        supervise.port_restored(name)

    def drivers(self) -> Iterator[Driver]:
        """Yield what keeps the line."""
        if self._port is not None and self.line is not None:
            yield Driver(self._port.name, self.line.run, self.line.close)

    def __contains__(self, source: object) -> bool:
        """Whether the receiver has this name."""
        return self._port is not None and source == self._port.name

    def at(self, _place: Place) -> str | None:
        """Return whose press a record is: nobody presses a receiver."""

    def acknowledged(self, _name: str, place: Place | None) -> str:
        """An operator has seen that it was moved: "now", or there is "nothing" to be seen, or not any more."""
        return "now" if self.whereabouts.acknowledged(place, self._now()) else "nothing"

    def tick(self) -> None:
        """Time passed."""
        if self._port is not None:
            self.whereabouts.tick(self._now())

    def receipted(self, runs: Sequence[Run]) -> None:
        """C5 has these records: nobody waits for that."""

    # Shown.

    def glance(self) -> Mapping[str, Any]:
        """Return what `status` shows of it: a table of one row, or of none."""
        port, line = self._port, self.line
        if port is None or line is None:
            return {"gnss": []}
        sentences = line.sentences
        row = {
            "name": port.name,
            "device": port.device,
            "sentences": sentences.read,
            "refused": {kind: sentences.refused[kind] for kind in REFUSALS},
            "noise_bytes": sentences.noise,
            **self.whereabouts.glance(self._now()),
            "clock": self._time(),
            "trouble": line.port.trouble or self.whereabouts.trouble(self._now()),
        }
        return {"gnss": [row]}

    def _time(self) -> dict[str, Any] | None:
        """Return the receiver's time, and by how much the machine's clock is ahead of it."""
        if self._satellites is None:
            return None
        shown_us, told = self._world.clock.now_us(), self._satellites.at(self._now())
        return {
            "time": None if told is None else moment(told[0]),
            "uncertainty_ms": None if told is None else told[1],
            "machine_ahead_ms": None if told is None else round((shown_us - told[0]) / 1000),
            "jumps": self._satellites.jumps,
            "unbelieved": self._unbelieved(),
        }

    def _unbelieved(self) -> str | None:
        """Return why the receiver's time isn't believed, in words."""
        if self._satellites is not None and self._satellites.jumped:
            return _("it jumped to another time, and time does not: is it deceived (spoofing) or disturbed?")
        match None if self._clock is None else self._clock.unbelieved:
            case "early":
                return _(
                    "it shows a time that is over: its firmware may be too old to count the weeks (rollover), "
                    "or it is deceived"
                )
            case "late":
                return _(
                    "it shows a time after the end of this gateway's certificates: have these expired, "
                    "or is it deceived (spoofing)?"
                )
            case "apart":
                return _("it shows another time than the clock that was synchronised: is it deceived (spoofing)?")
            case _:
                return None

    @property
    def troubles(self) -> list[str]:
        """Return what is wrong now, in words."""
        if self._port is None or self.line is None:
            return []
        name = self._port.name
        wrong = self.line.port.trouble or self.whereabouts.trouble(self._now())
        found = [] if wrong is None else [_("receiver {name}: {wrong}").format(name=name, wrong=wrong)]
        if (unbelieved := self._unbelieved()) is not None:
            text = _("the time of receiver {name} is not believed: {wrong}")
            found.append(text.format(name=name, wrong=unbelieved))
        return found
