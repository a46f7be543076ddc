"""Where this gateway is, by its GNSS receiver: whether a tower was moved, or where a gateway that moves is now.

A tower's place is that of the settings; without one it is learnt, and noted: a mast that is carried away while it is
switched off is missed where it stood when it is switched on elsewhere. `position.moved` is told once, with where the
mast is then, until it is back. When an operator at C5 has seen it, the mast is watched where it is by then: moved on
from there it is told again, and back where it belongs it belongs there again.

A gateway that moves says in each record where it is. Between fixes it may have gone on: its accuracy gets worse by
what a vehicle drives.

A receiver that says nothing that can be read is lost like any other device. One without a fix says so, and is not.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gateway.delivery.item import Note
from gateway.event import Event, Position
from gateway.sensing.fix import Fix, Receiver, Said
from gateway.sensing.wander import Learning, Place, Wander
from gateway.tasks.standing import Standing
from gateway.text import _

if TYPE_CHECKING:
    from gateway.sensing.satellites import Satellites
    from gateway.tasks.recorder import Recorder
    from gateway.tasks.store import Store

log = logging.getLogger(__name__)

SILENT_S: Final = 60.0  # without a sentence that can be read; receivers send one every second, some every ten
NO_FIX_S: Final = 600.0  # without a good fix: a cold receiver with a view of the sky needs less than a minute
SPEED_M_S: Final = 30.0  # of whatever carries a gateway that moves
ASSUMED_M: Final = 25.0  # accuracy of a receiver that doesn't tell, where it is to be added to
# Notes: a learnt place; the place where an operator has seen it, and the one of the settings that it stands in for.
LEARNT, SEEN_AT, IN_PLACE_OF = "anchor", "anchor/seen", "anchor/before"


@dataclass(frozen=True, slots=True)
class Rules:
    """What `[gnss]` and `[gateway] position` say."""

    port: str
    mobile: bool
    moved_m: float
    moved_s: float
    position: Position | None


class Whereabouts:
    """One gateway's. `satellites` takes its receiver's time."""

    def __init__(
        self,
        rules: Rules,
        recorder: "Recorder",
        store: "Store",
        notes: Iterable[Note],
        *,
        satellites: "Satellites | None",
        now: float,
    ) -> None:
        self._rules = rules
        self._recorder = recorder
        self._satellites = satellites
        self._standing = Standing(recorder, store, (note for note in notes if note.source == rules.port))
        self.receiver = Receiver()
        self.wander: Wander | None = None
        self._home: Wander | None = None  # where it belongs, while it is watched at another place
        self._learning = Learning(rules.moved_m)
        self._heard_at: float | None = None
        self._since = now  # when it began to be waited for
        self._open = True
        self._lost = False
        if not rules.mobile:
            self._watch()

    # Its place.

    def _configured(self) -> Place | None:
        position = self._rules.position
        return None if position is None else Place(position.latitude / 1e7, position.longitude / 1e7)

    def _noted(self, what: str) -> int | None:
        return self._standing.value(self._rules.port, what)

    def _watch(self) -> None:
        """Watch it where it should be, by what is noted."""
        rules, configured, learnt = self._rules, self._configured(), self._noted(LEARNT)
        home = configured or (None if learnt is None else Place.unpack(learnt))
        if home is None:
            return
        self.wander, self._home = Wander(home, rules.moved_m, rules.moved_s, moved=self._told), None
        seen = self._noted(SEEN_AT)
        if seen is not None and self._noted(IN_PLACE_OF) == home.pack():
            self.wander = Wander(Place.unpack(seen), rules.moved_m, rules.moved_s, moved=self._told)
            self._home = Wander(home, rules.moved_m, rules.moved_s, moved=True)

    @property
    def _told(self) -> bool:
        return self._noted("position.moved") is not None

    def acknowledged(self) -> bool:
        """An operator has seen the alarm; return whether there was one."""
        fix, wander, port = self.receiver.fix, self.wander, self._rules.port
        if wander is None or fix is None or not self._told:
            return False
        home = wander.anchor if self._home is None else self._home.anchor
        self._standing.keep(port, SEEN_AT, Place(fix.latitude, fix.longitude).pack())
        self._standing.keep(port, IN_PLACE_OF, home.pack())
        self._standing.keep(port, "position.moved", None)
        log.info("an operator has seen that the gateway was moved: it is watched where it is now")
        self._watch()
        return True

    # What the receiver says.

    def said(self, said: Said, now: float) -> None:
        """A sentence was read."""
        self._hears(now)
        fix = self.receiver.said(said, now)
        if (
            self._satellites is not None
            and (utc_us := said.utc_us) is not None
            and said.valid is not False
            and self.receiver.fresh(now)
        ):
            self._satellites.heard(utc_us, now)
        if fix is None:
            return
        if self._rules.mobile:
            self._recorder.position = _position(fix, now)
        elif self.wander is not None:
            self._wanders(self.wander, fix)
        elif (place := self._learning.fixed(fix)) is not None:
            log.info("the gateway's place is learnt: %.5f, %.5f", *place)
            self._standing.keep(self._rules.port, LEARNT, place.pack())
            self._watch()

    def _wanders(self, wander: Wander, fix: Fix) -> None:
        if self._home is not None and not self._home.fixed(fix):
            log.info("the gateway is back where it belongs")
            for what in (SEEN_AT, IN_PLACE_OF, "position.moved"):
                self._standing.keep(self._rules.port, what, None)
            self._watch()
            return
        moved, told = wander.fixed(fix), self._told
        if moved and not told:
            data = {"distance_m": round(wander.distance_m or 0.0)}
            event = Event("position.moved", self._rules.port, position=_position(fix, fix.at), data=data)
            if self._standing.begin(event):
                log.warning("the gateway was moved: it is %d m from where it should be", data["distance_m"])
        elif told and not moved:
            self._standing.keep(self._rules.port, "position.moved", None)
            log.info("the gateway is back where it should be")

    def _hears(self, now: float) -> None:
        noted = self._noted("device.lost")
        if noted is not None:
            silent = noted if self._heard_at is None else round(now - self._heard_at)
            event = Event("device.restored", self._rules.port, data={"silent_s": silent})
            self._standing.end(event, "device.lost")
        if self._lost:
            log.info("the receiver on %s is heard again", self._rules.port)
        self._lost, self._heard_at = False, now

    # The line and the time.

    def line(self, now: float, *, there: bool) -> None:
        """The line was lost or is back: a receiver without a line isn't called silent too."""
        self._open = there
        self._since = now

    def tick(self, now: float) -> None:
        """Time passed."""
        if self._rules.mobile and self.receiver.fix is not None:
            self._recorder.position = _position(self.receiver.fix, now)
        silent = self._silent(now)
        if silent is None:
            return
        if not self._lost:
            self._lost = True
            log.warning("the receiver on %s says nothing that can be read", self._rules.port)
        event = Event("device.lost", self._rules.port, data={"silent_s": silent})
        self._standing.begin(event, silent)

    def _silent(self, now: float) -> int | None:
        """Return for how long nothing was heard over a line that is there, if that is too long."""
        since = self._since if self._heard_at is None else max(self._since, self._heard_at)
        return round(now - since) if self._open and now >= since + SILENT_S else None

    # Shown.

    def glance(self, now: float) -> dict[str, Any]:
        """Return what `status` shows."""
        receiver, wander = self.receiver, self.wander
        fix = receiver.fix
        return {
            "heard_s": None if self._heard_at is None else round(now - self._heard_at, 1),
            "fix_s": None if fix is None else round(now - fix.at, 1),
            "position": fix and _degrees(fix.latitude, fix.longitude) | {"accuracy_m": fix.accuracy_m},
            "quality": receiver.quality,
            "satellites": receiver.satellites,
            "hdop": receiver.hdop,
            "mobile": self._rules.mobile,
            "anchor": wander and _degrees(*wander.anchor),
            "distance_m": None if wander is None or wander.distance_m is None else round(wander.distance_m, 1),
            "moved": wander is not None and wander.moved,
        }

    def trouble(self, now: float) -> str | None:
        """Return what is wrong with the receiver or the place, in words."""
        if (silent := self._silent(now)) is not None:
            text = _("nothing that can be read for {s} s: baud rate, wires, the receiver's supply")
            return text.format(s=silent)
        if self.wander is not None and self.wander.moved:
            if self.wander.distance_m is None:  # known from before the start
                return _("the gateway is not where it should be")
            return _("the gateway is {m} m from where it should be").format(m=round(self.wander.distance_m))
        fix_at = self.receiver.fix.at if self.receiver.fix else self._since
        if self._open and now >= max(fix_at, self._since) + NO_FIX_S:
            text = _("no position for {min} min: does the antenna see the sky?")
            return text.format(min=round((now - max(fix_at, self._since)) / 60))
        return None


def _degrees(latitude: float, longitude: float) -> dict[str, float | None]:
    return {"latitude": round(latitude, 7), "longitude": round(longitude, 7)}


def _position(fix: Fix, now: float) -> Position:
    age = now - fix.at
    accuracy = fix.accuracy_m
    if age >= 1.0:
        accuracy = (ASSUMED_M if accuracy is None else accuracy) + age * SPEED_M_S
    north, east = round(fix.latitude * 1e7), round(fix.longitude * 1e7)
    return Position(north, east, None if accuracy is None else round(accuracy * 100))
