"""Where this gateway is, by its GNSS receiver: whether a tower was moved, or where a gateway that moves is now.

A tower's place is that of the settings; without one it is learnt, and noted: a mast that is carried away while it is
switched off is missed where it stood when it is switched on elsewhere. `position.moved` is told once, with where the
mast is then, until it is back. When an operator at C5 has seen it, the mast is watched where it is by then: moved on
from there it is told again, and back where it belongs it belongs there again. A place that was learnt, and what was
told of one, ends with it: when the settings give another, or say that the gateway moves.

A gateway that moves says in each record where it is. Between fixes it may have gone on: its accuracy gets worse by
what a vehicle drives.

A receiver that says nothing that can be read is lost like any other device. One without a fix says so, and is not.
"""

import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gateway.delivery.item import Note
from gateway.event import Event, Lane, Position
from gateway.sensing.fix import ASSUMED_M, TOGETHER_S, Fix, Receiver, Said
from gateway.sensing.wander import FIXES_MIN, Learning, Place, Wander, middle
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
EVERY_S: Final = 1.0  # a receiver's fix does for so long
# Notes: a learnt place; the place where an operator has seen it. And the place where it belongs, of which it was told
# that it isn't there, and the one that SEEN_AT stands in for: if it belongs elsewhere by now they are of the past.
LEARNT, SEEN_AT, MOVED, IN_PLACE_OF = "anchor", "anchor/seen", "position.moved", "anchor/before"


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
        self._alarm: int | None = None  # the sequence of the record that told it, in this epoch
        self._recent: deque[Fix] = deque(maxlen=FIXES_MIN)  # without an outage between them
        self._learning = Learning(rules.moved_m)
        self._heard_at: float | None = None
        self._since = now  # when it began to be waited for
        self._open = True
        self._lost = False
        self._begin()

    # Its place.

    def _belongs(self) -> Place | None:
        """Return where it belongs; None of a gateway that moves, and while that is to be learnt."""
        position, learnt = self._rules.position, self._noted(LEARNT)
        if position is not None:
            return Place(position.latitude / 1e7, position.longitude / 1e7)
        return None if learnt is None else Place.unpack(learnt)

    def _noted(self, what: str) -> int | None:
        return self._standing.value(self._rules.port, what)

    def _forget(self, *whats: str) -> None:
        for what in whats:
            if self._noted(what) is not None:
                self._standing.keep(self._rules.port, what, None)

    def _begin(self) -> None:
        """Take what is noted of the place where it belongs now, and nothing of another that it had."""
        if self._rules.mobile or self._rules.position is not None:
            self._forget(LEARNT)
        home = None if self._rules.mobile else self._belongs()
        for what in (MOVED, IN_PLACE_OF):
            if home is None or self._noted(what) != home.pack():
                self._forget(what)
        if self._noted(IN_PLACE_OF) is None:
            self._forget(SEEN_AT)
        self._watch(home)

    def _watch(self, home: Place | None) -> None:
        """Watch it where it should be: at home, or since an operator has seen it where it was by then."""
        self.wander = self._home = None
        if home is None:
            return
        here, rules = home, self._rules
        if self._noted(IN_PLACE_OF) is not None:
            self._home = Wander(home, rules.moved_m, rules.moved_s, moved=True)
            if (seen := self._noted(SEEN_AT)) is None:
                return  # its next fixes tell
            here = Place.unpack(seen)
        self.wander = Wander(here, rules.moved_m, rules.moved_s, moved=self._told)

    @property
    def _told(self) -> bool:
        return self._noted(MOVED) is not None

    def acknowledged(self, record: tuple[Lane, int, int] | None, now: float) -> bool:
        """An operator has seen the alarm that was recorded there; return whether it is the one that stands."""
        home, this = self._belongs(), (Lane.ALARM, self._recorder.ordinal, self._alarm)
        of_another = record not in {None, this} and (self._alarm is not None or record[1] == this[1])
        if home is None or not self._told or of_another:
            return False
        self._standing.keep(self._rules.port, IN_PLACE_OF, home.pack())
        self._forget(SEEN_AT, MOVED)
        self._alarm = None
        log.info("an operator has seen that the gateway was moved: it is watched where it is now")
        self._watch(home)
        self._anchor(now)
        return True

    def _anchor(self, now: float) -> None:
        """Watch it where its last fixes say that it is, once there are enough: a single one may be an echo."""
        recent = self._recent
        if len(recent) == FIXES_MIN and now <= recent[-1].at + TOGETHER_S:
            self._standing.keep(self._rules.port, SEEN_AT, middle(recent).pack())
            self._watch(self._belongs())

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
        if self._recent and now > self._recent[-1].at + TOGETHER_S:
            self._recent.clear()
        self._recent.append(fix)
        if self._rules.mobile:
            self._recorder.position = _position(fix, now)
        elif self.wander is not None or self._home is not None:
            self._wanders(fix)
        elif (place := self._learning.fixed(fix)) is not None:
            log.info("the gateway's place is learnt: %.5f, %.5f", *place)
            self._standing.keep(self._rules.port, LEARNT, place.pack())
            self._watch(self._belongs())

    def _wanders(self, fix: Fix) -> None:
        if self._home is not None and not self._home.fixed(fix):
            log.info("the gateway is back where it belongs")
            self._forget(SEEN_AT, IN_PLACE_OF, MOVED)
            self._watch(self._belongs())
        elif self.wander is None:
            self._anchor(fix.at)
        elif self.wander.fixed(fix):
            self._tell_moved()
        elif self._told:
            self._forget(MOVED)
            log.info("the gateway is back where it should be")

    def _tell_moved(self) -> None:
        """Tell that it was moved, unless that is told or there is no room: then at the next tick."""
        fix, wander, home = self.receiver.fix, self.wander, self._belongs()
        if fix is None or wander is None or home is None or not wander.moved or self._told:
            return
        data = {"distance_m": round(wander.distance_m or 0.0)}
        event = Event(MOVED, self._rules.port, position=_position(fix, fix.at), data=data)
        if self._standing.begin(event, home.pack()):
            self._alarm = self._recorder.sequence(Lane.ALARM)
            log.warning("the gateway was moved: it is %d m from where it should be", data["distance_m"])

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
        self._tell_moved()
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
    accuracy, since = fix.accuracy_m, now - fix.at - EVERY_S
    if since > 0:
        accuracy = (ASSUMED_M if accuracy is None else accuracy) + since * SPEED_M_S
    north, east = round(fix.latitude * 1e7), round(fix.longitude * 1e7)
    return Position(north, east, None if accuracy is None else round(accuracy * 100))
