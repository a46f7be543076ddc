"""`maintenance.begin`, `maintenance.end`, and the technician's own: what is tested is flagged, until its time is up.

C5 is told of each beginning and end, by whoever and by itself: an operator must know which presses are tests
(`control.maintenance`).
"""

import logging
from collections.abc import Mapping
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from gateway.control.maintenance import MINUTES_MAX, Maintenance
from gateway.event import Event
from gateway.tasks.orders.order import Done, failed, is_number, is_text
from gateway.text import _

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.clock import Timekeeper
    from gateway.tasks.recorder import Recorder

log = logging.getLogger(__name__)

REASON_MAX: Final = 200
WALK_MAX: Final = 64
TECHNICIAN: Final = "technician"  # who is at the gateway, and has no commander's certificate


class Works:
    """Begins and ends maintenance; `known` says whether a name is a device or an input of this gateway."""

    def __init__(
        self,
        gateway: str,
        maintenance: Maintenance,
        recorder: "Recorder",
        clock: "Timekeeper",
        known: "Callable[[str], bool]",
    ) -> None:
        self._gateway = gateway
        self._maintenance = maintenance
        self._recorder = recorder
        self._clock = clock
        self._known = known
        recorder.flags = self._flags

    def begin(self, arguments: Mapping[str, Any], walk: str | None = None) -> Done:
        """Begin it for a device or input, or for all of this gateway's."""
        device, minutes, reason = arguments.get("device"), arguments.get("minutes"), arguments.get("reason")
        if type(minutes) is not int or not is_number(minutes, 1, MINUTES_MAX):
            return failed(f"minutes must be 1 to {MINUTES_MAX}")
        if type(reason) is not str or not is_text(reason, REASON_MAX):
            return failed(f"reason must be a text of 1 to {REASON_MAX} characters")
        if device is not None and not (type(device) is str and self._known(device)):
            return failed("device must be a device or an input of this gateway, or absent (all of them)")
        if not self._maintenance.begin(device, minutes, reason, self._clock.monotonic(), walk):
            return failed("too many devices are under maintenance: end one, or leave out device (all of them)")
        noted = {"minutes": minutes, "why": reason}
        return Done("done", noted=noted if device is None else {**noted, "device": device})

    def end(self, arguments: Mapping[str, Any]) -> Done:
        """End it: all, or one device's or input's where one is named."""
        device = arguments.get("device")
        if device is not None and type(device) is not str:
            return failed("device must be a device or an input of this gateway, or absent (all of them)")
        ended = self._maintenance.end(device)
        return Done("done", result={"ended": len(ended)}, noted={} if device is None else {"device": device[:64]})

    def by_hand(self, name: str, arguments: dict[str, Any]) -> Done:
        """Begin, renew or end that of a technician's walk at the gateway; C5 is told of its beginning and its end."""
        walk, now = arguments.get("walk"), self._clock.monotonic()
        if type(walk) is not str or not is_text(walk, WALK_MAX):
            return failed("walk must name the walk")
        own = [work for work in self._maintenance.works(now) if work.walk == walk]
        match name:
            case "maintenance.begin":
                done = self.begin(arguments, walk)
            case "maintenance.renew":
                if not own:
                    return failed(_("maintenance has been ended by somebody else, or the service has started anew"))
                return self.begin(arguments | {"device": own[0].scope, "reason": own[0].reason}, walk)
            case _:
                done = Done("done") if self._maintenance.end(walk=walk) else failed(_("it had ended before"))
        if done.outcome == "done":
            self._tell(name, TECHNICIAN, done.noted)
        return done

    def tick(self, now: float) -> None:
        """Time passed."""
        for work in self._maintenance.tick(now):
            log.info("maintenance of %s has ended by itself", work.scope or "this gateway")
            noted = {"reason": "its time is up", **({} if work.scope is None else {"device": work.scope})}
            self._tell("maintenance.end", self._gateway, noted)

    def glance(self) -> list[dict[str, Any]]:
        """Return what `status` and the state show of it; `device` is None where all are under maintenance."""
        now = self._clock.monotonic()
        return [
            {
                "device": work.scope,
                "reason": work.reason,
                "minutes_left": ceil((work.ends_at - now) / 60),
                "walk": work.walk,
            }
            for work in self._maintenance.works(now)
        ]

    def brief(self) -> dict[str, Any]:
        """Return what a state says of it, if there is any: of how many, and the most minutes left."""
        works = self.glance()
        if not works:
            return {}
        return {"maintenance": {"scopes": len(works), "minutes": max(work["minutes_left"] for work in works)}}

    def _flags(self, event: Event) -> int:
        now = self._clock.monotonic()
        flags = self._maintenance.flags(event.type, event.source, now - event.age_ms / 1000, now)
        return flags if flags and self._known(event.source) else 0  # a port's trouble is real, whoever is at work there

    def _tell(self, name: str, by: str, noted: Mapping[str, Any]) -> None:
        data = {"name": name, "commander": by, "outcome": "done", **noted}
        self._recorder.record(Event("command.executed", self._gateway, data=data))
