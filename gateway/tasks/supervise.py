"""Supervision: what devices and lines say without words, as records, once each.

Fed by `intake` (every accepted frame) and by the lines (bytes that were no frame); what is to be judged is judged in
`sensing`. Nothing here holds up or holds back an event: it is recorded before supervision hears of it.
"""

import logging
from collections.abc import Container, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from gateway.delivery.item import Note
from gateway.event import Event
from gateway.fieldlink.message import EventMessage, Heartbeat, Upward
from gateway.sensing.battery import Battery
from gateway.sensing.chatter import Chatter
from gateway.sensing.noise import Jammed, Noise
from gateway.sensing.policy import Policy
from gateway.sensing.stuck import Button
from gateway.sensing.supervision import Listening, Supervision
from gateway.tasks.standing import Standing
from gateway.tasks.wrong import Wrong, words
from gateway.text import _

if TYPE_CHECKING:
    from gateway.clock import Timekeeper
    from gateway.registry.devices import Device
    from gateway.tasks.recorder import Recorder
    from gateway.tasks.store import Store

log = logging.getLogger(__name__)

REASON_MAX: Final = 500  # characters: it must fit into a record
PRESSED, TAMPERED, RELEASED, CLOSED, BATTERY_LOW, BATTERY_RESTORED = 1, 6, 16, 17, 18, 19  # kinds
# Notes that are no trouble: what a device is like.
INTERVAL, OWN_BATTERY, RELEASES = "interval", "battery.own", "releases"
LINE: Final = "line"  # who says that a port is lost: the line itself, or who restarts its driver
TECHNICIAN, SETTINGS = "technician", "settings"  # by whom a source is no more, unless a commander said so


class _Watched:
    """An enrolled device, beside its silence."""

    def __init__(self, device: "Device", policy: Policy, standing: Standing) -> None:
        self.device = device
        noted = {what: standing.value(device.id, what) is not None for what in ("battery.low", OWN_BATTERY, RELEASES)}
        low_mv, restored_mv = policy.battery_low_mv, policy.battery_restored_mv
        self.battery = Battery(low_mv, restored_mv, low=noted["battery.low"], own=noted[OWN_BATTERY])
        self.button = Button(policy.stuck_s, releases=noted[RELEASES])
        self.chatter = Chatter(policy.chatter_events)
        self.tamper = (0, False)  # the newest event that says so, and whether the case is open


class Supervise:
    """All enrolled devices and all lines."""

    def __init__(
        self,
        policy: Policy,
        recorder: "Recorder",
        store: "Store",
        clock: "Timekeeper",
        notes: Iterable[Note],
        *,
        gateway: str,
    ) -> None:
        self._gateway = gateway
        self._policy = policy
        self._clock = clock
        self._standing = Standing(recorder, store, notes)
        self._listening = Listening(clock.monotonic())
        self._supervision = Supervision(policy.interval_s, policy.grace)
        self._watched: dict[str, _Watched] = {}
        self._chattering: set[str] = set()
        self._held: set[str] = set()  # devices whose button is down
        self._noise: dict[str, Noise] = {}  # by port
        self._faults: dict[str, dict[str, str]] = {}  # by port: who says that it is lost, and why
        self._unsettled: set[str] = set()  # ports of which C5 is to be told
        self._leaving: dict[str, str] = {}  # sources that are no more, by whom: C5 is to be told
        self._standing.withheld = self._leaving  # its end would end what a new one of that name has told before it

    # What is supervised.

    def watch(self, devices: Mapping[str, "Device"]) -> None:
        """Supervise these, and no others; of each that goes C5 is told."""
        now = self._now()
        for gone in self._watched.keys() - devices.keys():
            self._forget(gone)
            self._leave(gone, TECHNICIAN)
        for device in devices.values():
            known = self._watched.get(device.id)
            if known is not None and known.device.key == device.key:
                known.device = device
                continue
            if known is not None:
                self._forget(device.id)
                self._leave(device.id, TECHNICIAN)
            self._watched[device.id] = _Watched(device, self._policy, self._standing)
            interval, lost_for = (self._standing.value(device.id, what) for what in (INTERVAL, "device.lost"))
            self._supervision.watch(device.id, now, interval=interval, lost_for=lost_for)

    def revoked(self, device: str) -> None:
        """A device was revoked while the service was down; another may have its id now."""
        self._standing.forget(device)
        self._leave(device, TECHNICIAN)  # now, for the transaction in which the store forgets it

    def _forget(self, device: str) -> None:
        del self._watched[device]
        self._standing.forget(device)
        self._supervision.forget(device)
        self._chattering.discard(device)
        self._held.discard(device)

    # Devices.

    def heard(self, device: str, message: Upward | None, flags: int) -> None:
        """A frame of an enrolled device was accepted; `message` is what it said, if that is new."""
        watched, now = self._watched[device], self._now()
        restored = self._supervision.heard(device, now)
        if restored is not None:
            event = self._event("device.restored", watched, {"silent_s": round(restored.silent_s)}, flags)
            if self._standing.end(event, "device.lost"):
                log.info("device %s is heard again, after %d s at least", device, restored.silent_s)
                self._supervision.told(restored, now)
        match message:
            case EventMessage(number=number, kind=kind, battery_mv=millivolts):
                self._happened(watched, number, kind, now)
                self._measured(watched, millivolts, now, flags)
            case Heartbeat(battery_mv=millivolts, interval_s=interval_s):
                self._measured(watched, millivolts, now, flags)
                if self._supervision.says(device, interval_s or None):
                    self._standing.keep(device, INTERVAL, self._supervision.interval(device))

    def _happened(self, watched: _Watched, number: int, kind: int, now: float) -> None:
        device = watched.device.id
        if (count := watched.chatter.happened(now)) is not None:
            self._chattering.add(device)
            self._chatters(watched, count)
        if kind == PRESSED:
            watched.button.pressed(number, now)
        elif kind == RELEASED:
            if not watched.button.releases:
                self._standing.keep(device, RELEASES, 1)
            watched.button.released(number)
        elif kind in (TAMPERED, CLOSED) and number > watched.tamper[0]:
            watched.tamper = number, kind == TAMPERED
        elif kind in (BATTERY_LOW, BATTERY_RESTORED):
            if not watched.battery.own:
                self._standing.keep(device, OWN_BATTERY, 1)
            if watched.battery.said(number, low=kind == BATTERY_LOW):
                self._standing.keep(device, "battery.low", 0 if kind == BATTERY_LOW else None)
        if watched.button.deadline is not None:
            self._held.add(device)

    def _measured(self, watched: _Watched, millivolts: int | None, now: float, flags: int) -> None:
        low = None if millivolts is None else watched.battery.measured(millivolts, now)
        if low is None:
            return
        type_ = "battery.low" if low else "battery.restored"
        event = self._event(type_, watched, {"battery_mv": millivolts}, flags)
        if self._standing.begin(event) if low else self._standing.end(event, "battery.low"):
            watched.battery.low = low

    def _chatters(self, watched: _Watched, count: int) -> None:
        if self._standing.say(self._event("device.chattering", watched, {"count": count})):
            log.warning("device %s sends too much: %d events", watched.device.id, count)
        else:
            watched.chatter.owed = count

    # Lines.

    def port(self, name: str) -> None:
        """Listen to this line too."""
        jammed = self._standing.value(name, "radio.jammed") is not None
        policy = self._policy
        noise = Noise(policy.jam_bytes_s, policy.jam_s, policy.jam_clear_s, self._now(), jammed=jammed)
        self._noise[name] = noise

    def noise(self, port: str, count: int) -> None:
        """So many bytes on a line were no frame."""
        self._noise[port].heard(count, self._now())

    def port_lost(self, port: str, reason: str, who: str = LINE) -> None:
        """A port can't be heard: its line is gone, or its driver."""
        self._faults.setdefault(port, {})[who] = reason
        self._settle(port)

    def port_restored(self, port: str, who: str = LINE) -> None:
        """Who had said so takes it back."""
        self._faults.setdefault(port, {}).pop(who, None)
        self._settle(port)

    def _settle(self, port: str) -> None:
        """Have C5 know of a port what is known here: one trouble, whoever has found it."""
        data: dict[str, Any] = {"port": port}
        if reasons := list(self._faults[port].values()):
            told = self._standing.begin(Event("port.lost", port, data={**data, "reason": reasons[0][:REASON_MAX]}))
        else:
            told = self._standing.end(Event("port.restored", port, data=data), "port.lost")
        (self._unsettled.discard if told else self._unsettled.add)(port)

    def gone(self, configured: Container[str], local: Iterable[str] = ()) -> None:
        """End what was told of sources that the settings name no more: it would be a trouble for ever.

        What `local` ones have told is their own, and not noted here.
        """
        for source in (*self._standing.sources, *local):
            if source not in self._watched and source not in configured:
                log.info("%s is configured no more: what was told of it ends", source)
                self._leaving.setdefault(source, SETTINGS)

    def _leave(self, source: str, by: str) -> None:
        """Have C5 know that a source is no more, and with it whatever was wrong with it; later, if there is no room.

        A port says so by its restorals, which end all that there was of it (wire.md, section 2 "Vocabulary").
        """
        ends = {
            "port.lost": Event("port.restored", source, data={"port": source}),
            "radio.jammed": Event("radio.cleared", source, data={"port": source, "noise": 0}),
        }
        ended = [
            self._standing.end(event, what)
            for what, event in ends.items()
            if self._standing.value(source, what) is not None
        ]
        data = {"name": "device.revoke", "commander": by, "outcome": "done", "device": source}
        if (ended and source not in self._standing.sources) or (
            all(ended) and self._standing.leave(Event("command.executed", self._gateway, data=data), source)
        ):
            self._leaving.pop(source, None)
        else:
            self._leaving[source] = by

    # Time.

    def tick(self) -> None:
        """Look at what is due."""
        now = self._now()
        for source, by in tuple(self._leaving.items()):
            self._leave(source, by)
        for lost in self._supervision.tick(now):
            watched = self._watched[lost.device]
            event = self._event("device.lost", watched, {"silent_s": round(lost.silent_s)})
            if self._standing.begin(event, round(lost.silent_s)):
                log.warning("device %s is lost: nothing heard for %d s", lost.device, lost.silent_s)
                self._supervision.told(lost, now)
        for port in tuple(self._unsettled):
            self._settle(port)
        for port, noise in self._noise.items():
            self._judge(port, noise, now)
        for device in tuple(self._chattering):
            chatter = self._watched[device].chatter
            if (count := chatter.tick(now)) is not None:
                self._chatters(self._watched[device], count)
            elif not chatter.chattering:
                self._chattering.discard(device)
        for device in tuple(self._held):
            self._stuck(self._watched[device], now)

    def _judge(self, port: str, noise: Noise, now: float) -> None:
        news = noise.tick(now)
        if news is None:
            return
        data = {"port": port, "noise": news.bytes_s}
        if isinstance(news, Jammed):
            if self._standing.begin(Event("radio.jammed", port, data=data)):
                log.warning("the line %s is jammed: %d bytes of noise a second", port, news.bytes_s)
                noise.jammed = True
        elif self._standing.end(Event("radio.cleared", port, data=data), "radio.jammed"):
            log.info("the line %s is clear again", port)
            noise.jammed = False

    def _stuck(self, watched: _Watched, now: float) -> None:
        button = watched.button
        if button.deadline is None:
            self._held.discard(watched.device.id)
        elif now >= button.deadline:
            event = self._event("device.stuck", watched, {"count": button.presses})
            if self._standing.say(event):
                log.warning("the button of device %s is stuck", watched.device.id)
                button.stuck = True

    def _event(self, type_: str, watched: _Watched, data: Mapping[str, Any], flags: int = 0) -> Event:
        device = watched.device
        return Event(type_, device.id, position=device.position, data=data, flags=flags)

    def _now(self) -> float:
        return self._listening.at(self._clock.monotonic())

    # Shown.

    def fault(self, port: str) -> str | None:
        """Return why a port isn't heard; None if it is."""
        return next(iter(self._faults.get(port, {}).values()), None)

    def glance(self, device: str) -> dict[str, Any]:
        """Return what `status` shows of a device beside what intake knows."""
        watched = self._watched[device]
        return {
            "lost": self._supervision.lost(device),
            "silent_s": round(self._supervision.silent(device, self._now()), 1),
            "battery_mv": watched.battery.millivolts,
            "troubles": [words(wrong) for wrong in self._wrong(watched)],
            "wrong": self._wrong(watched),
        }

    @property
    def troubles(self) -> list[str]:
        """Return what is wrong now, in words."""
        found = [
            _("the line of port {port} is jammed: devices on it may not be heard").format(port=port)
            for port, noise in self._noise.items()
            if noise.jammed
        ]
        for watched in self._watched.values():
            if wrong := ", ".join(words(wrong) for wrong in self._wrong(watched)):
                device = " ".join(filter(None, (watched.device.id, watched.device.name)))
                found.append(_("device {device}: {troubles}").format(device=device, troubles=wrong))
        return found

    def _wrong(self, watched: _Watched) -> list[Wrong]:
        device = watched.device.id
        found: list[Wrong] = []
        if self._supervision.lost(device):
            found.append({"what": "lost", "silent_s": round(self._supervision.silent(device, self._now()))})
        if watched.tamper[1]:
            found.append({"what": "tamper"})
        if watched.button.stuck:
            found.append({"what": "stuck"})
        if watched.battery.low:
            found.append({"what": "battery"})
        if watched.chatter.chattering:
            found.append({"what": "chattering", "count": watched.chatter.chattering})
        return found
