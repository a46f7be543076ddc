"""The ways to C5: a path for each broker, and which of them carries what.

Every path is connected all the time. The active one, `Choice`'s pick, carries all lanes; the others carry nothing, or
alarms where the settings want these everywhere, or while the active one leaves an alarm unacknowledged. What C5 has is
one `Coverage` over all: a path that takes over sends what no receipt covers, and a path's return nothing else.

Troubles of one path are records, and go out on whichever path is active: `link.failed` on the other one, and
`centre.silent` with the broker's name where another path hears the centre.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from gateway.control.authorise import Speakers
from gateway.delivery import timing
from gateway.delivery.choice import Choice
from gateway.delivery.coverage import Coverage
from gateway.delivery.item import Item, Run
from gateway.delivery.link import CentreWatch, Restored
from gateway.delivery.schedule import Schedule
from gateway.event import Event, Lane
from gateway.tasks import said
from gateway.tasks.announce import States
from gateway.tasks.downlink import Downlink
from gateway.tasks.path import Dial, Path
from gateway.tasks.said import Self

if TYPE_CHECKING:
    from gateway.clock import Judge
    from gateway.mqtt import Message
    from gateway.tasks.recorder import Recorder
    from gateway.tasks.store import Store

log = logging.getLogger(__name__)

ALL: Final = frozenset(Lane)
ALARMS: Final = frozenset({Lane.ALARM})
NOTHING: Final[frozenset[Lane]] = frozenset()
ELSEWHERE: Final = 5.0  # seconds by which another path heard the centre later: half of what lies between two heartbeats
FAILED_MAX: Final = 8  # brokers without a link that a state tells of, and characters of their names and reasons
FAILED_NAME: Final = 260
FAILED_REASON: Final = 200
ANSWERED: Final = 60.0  # seconds within which an alarm that a broker took is receipted, or C5's profile if longer
LOOK: Final = 60.0  # seconds between two looks at the time when nothing is due


class Uplink:
    """Delivers records over the brokers, in order of preference; what C5 answers goes to `downlink`."""

    def __init__(
        self,
        *,
        own: Self,
        brokers: Sequence[str],
        dial: Dial,
        coverage: Coverage,
        recorder: "Recorder",
        store: "Store",
        speakers: Speakers,
        profile: int,
        ordinals: Mapping[bytes, int],
        clock: "Judge",
        random: Callable[[], float],
        alarms_everywhere: bool = False,
        cloud_events: bool = False,
        confirmed_by_broker: bool = False,
    ) -> None:
        self._own = own
        self._recorder = recorder
        self._clock = clock
        self._answered = max(profile, ANSWERED)
        self._standby = ALARMS if alarms_everywhere else NOTHING
        self._confirmed_by_broker = confirmed_by_broker
        self._choice = Choice(len(brokers), timing.hold(profile), random)
        self._active: Path | None = None
        self._wake = asyncio.Event()
        self._apart: set[Path] = set()  # where the centre is silent, while another path hears it
        self._unheard_since: float | None = None  # it is silent everywhere
        self._heard_again_at = -ELSEWHERE  # after that: on the first path, and perhaps soon on the others
        states = States(own, recorder, clock)
        self.paths = [
            Path(
                broker,
                own=own,
                states=states,
                hub=self,
                dial=dial,
                schedule=Schedule(coverage),
                watch=CentreWatch(profile, clock.monotonic()),
                store=store,
                clock=clock,
                random=random,
                cloud_events=cloud_events,
                confirmed_by_broker=confirmed_by_broker,
            )
            for broker in brokers
        ]
        self.downlink = Downlink(
            own=own,
            sending=self,
            coverage=coverage,
            recorder=recorder,
            store=store,
            speakers=speakers,
            ordinals=ordinals,
            clock=clock,
            confirmed_by_broker=confirmed_by_broker,
        )
        for path in self.paths:
            path.carry(self._standby)

    async def run(self) -> None:
        """Keep every path connected; ends only when cancelled."""
        async with asyncio.TaskGroup() as group:
            for path in self.paths:
                group.create_task(path.run(), name=f"path-{path.broker}")
            group.create_task(self._ticks(), name="paths")

    async def _ticks(self) -> None:
        """Give what belongs to no single path its time."""
        while True:
            now = self._clock.monotonic()
            self.downlink.tick(now)
            self._choice.tick(now)
            self._apply()
            self._wake.clear()
            deadlines = (self.downlink.deadline, self._choice.deadline, now + LOOK)
            deadline = min(deadline for deadline in deadlines if deadline is not None)
            try:
                async with asyncio.timeout(max(0.0, deadline - now)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    # What is seen.

    @property
    def broker(self) -> str | None:
        """The broker over which records go."""
        return self._active.broker if self._active is not None and self._active.ready else None

    @property
    def reachable(self) -> bool:
        """Whether any path is connected."""
        return self._active is not None

    @property
    def troubles(self) -> list[str]:
        """What is wrong on the ways, the active one's first; the broker is named where there are several."""
        found = [
            (path, trouble)
            for path in sorted(self.paths, key=lambda path: path is not self._active)
            for trouble in path.troubles.values()
        ]
        named = [trouble if trouble.startswith(path.broker) else f"{path.broker}: {trouble}" for path, trouble in found]
        if len(self.paths) == 1:
            named = [trouble for _path, trouble in found]
        if seconds := self.unreceipted:
            named.insert(0, said.explain_unreceipted(seconds, self._own.route.topic("receipt")))
        if self._unheard_since is not None:
            named.insert(0, said.explain_silence(self._clock.monotonic() - self._unheard_since))
        return named

    @property
    def unreceipted(self) -> int:
        """For how many seconds an alarm has been at a broker without a receipt, if for too long, else 0."""
        now = self._clock.monotonic()
        seconds = max(path.schedule.unanswered(now) for path in self.paths)
        return round(seconds) if seconds > self._answered else 0

    @property
    def health(self) -> dict[str, Any]:
        """What a state says of the ways."""
        waits = self.unreceipted
        return {"links": self.failed} | ({"unreceipted_s": waits} if waits else {})

    @property
    def failed(self) -> dict[str, str]:
        """The brokers to which there is no link, and why: few and short enough for a state."""
        failed = [(path.broker, path.troubles["link"]) for path in self.paths if "link" in path.troubles]
        return {broker[:FAILED_NAME]: reason[:FAILED_REASON] for broker, reason in failed[:FAILED_MAX]}

    # From the recorder.

    def offer(self, item: Item) -> None:
        """Take a record signed just now; it leaves within this call if a link is up and its window open."""
        for path in self.paths:
            path.offer(item)
        if item.lane is Lane.ALARM:
            for path in self.paths:
                path.alarm()
            if self._active is None:
                for path in self.paths:
                    path.hurry()

    def reply(self, wire: bytes) -> None:
        """Say what became of a command, on every path: its commander listens on the one over which it came."""
        for path in self.paths:
            path.reply(wire)

    # From what C5 says.

    def receipted(self, runs: Sequence[Run]) -> list[Run]:
        """Note what C5 has; return what of it was not known before."""
        first, *others = self.paths
        new = first.schedule.receipted(runs)
        for path in others:
            path.schedule.receipted(())
        return new

    @property
    def carried(self) -> bool:
        """Whether there is a path for the records now."""
        return self._active is not None and self._active.ready

    def requested(self, run: Run, now: float) -> list[Run]:
        """Note that C5 lacks a run; return what of it is here no more."""
        return [] if self._active is None else self._active.schedule.requested(run, now)

    def pump(self) -> None:
        """Publish what may go now."""
        for path in self.paths:
            path.pump()

    # From the paths.

    def connected(self, path: Path) -> None:
        """A connection began; say what it carries."""
        number, now = self.paths.index(path), self._clock.monotonic()
        self._choice.connected(number, now)
        if self._confirmed_by_broker:
            self._choice.heard(number, now)  # there is no centre to be heard
        self._apply()

    def disconnected(self, path: Path) -> None:
        """It ended, or could not be opened: another takes over."""
        self._choice.disconnected(self.paths.index(path))
        self._apply()

    def refused(self, path: Path) -> None:
        """The broker refused records, or had nobody to give them to."""
        number, now = self.paths.index(path), self._clock.monotonic()
        self._choice.refused(number, now)
        if self._confirmed_by_broker:
            self._choice.heard(number, now)  # as in `connected`
        self._apply()

    def late(self, path: Path) -> None:
        """Alarms wait for too long on this path, or no longer do: the others carry them too, or no longer."""
        if path.late:
            log.info("%s acknowledges no alarm in time: they go out on every path", path.broker)
        self._apply()

    def alive(self, path: Path, restored: Restored | None) -> None:
        """The centre was heard on a path."""
        now = self._clock.monotonic()
        self._choice.heard(self.paths.index(path), now)
        self._apply()
        if path in self._apart:
            self._apart.discard(path)
            del path.troubles["centre"]
            seconds = 0.0 if restored is None else restored.seconds
            log.info("the centre is heard again over %s", path.broker)
            self.record("centre.restored", {"seconds": round(seconds), "broker": path.broker[:300]})
        if self._unheard_since is not None:
            seconds, self._unheard_since, self._heard_again_at = now - self._unheard_since, None, now
            log.info("the centre is heard again")
            self.record("centre.restored", {"seconds": round(seconds)})
        self.look()

    def look(self) -> None:
        """Tell of a centre that is silent: on one path while another hears it, or everywhere."""
        connected = [path for path in self.paths if path.connected]
        silent = [path for path in connected if path.watch.silent]
        if not silent:
            return
        now = self._clock.monotonic()
        heard_at = max(path.watch.heard_at for path in connected)
        if now < self._heard_again_at + ELSEWHERE:
            return
        if len(silent) < len(connected):
            for path in silent:
                if path not in self._apart and heard_at >= path.watch.heard_at + ELSEWHERE:
                    self._silent_apart(path, now - path.watch.heard_at)
        elif self._unheard_since is None:
            self._unheard_since = heard_at
            log.warning("the centre is silent")
            self.record("centre.silent", {"seconds": round(now - heard_at)})

    def _silent_apart(self, path: Path, seconds: float) -> None:
        self._apart.add(path)
        self._choice.silent(self.paths.index(path))
        self._apply()
        path.troubles["centre"] = said.explain_silence(seconds)
        log.warning("the centre is silent over %s, and heard over another broker", path.broker)
        self.record("centre.silent", {"seconds": round(seconds), "broker": path.broker[:300]})

    def arrived(self, path: Path, arrived: "Message") -> None:
        """Something came from a broker."""
        self.downlink.arrived(path, arrived)

    def lost(self, runs: Sequence[Run]) -> None:
        """C5 asked for these, and they are nowhere."""
        self.downlink.lost(runs)

    def record(self, type_: str, data: Mapping[str, Any]) -> None:
        """Have an event recorded, of which this gateway is the source."""
        self._recorder.record(Event(type_, self._own.route.gateway, data=data))

    def _apply(self) -> None:
        """Have each path carry what it is to carry now."""
        active = None if self._choice.active is None else self.paths[self._choice.active]
        before, self._active = self._active, active
        if active is not before and active is not None and before is not None:
            log.info("records go over %s now, no longer over %s", active.broker, before.broker)
        if active is None and before is not None:  # those in reserve took their time
            for path in self.paths:
                if path is not before:
                    path.hurry()
        standby = self._standby | ALARMS if active is not None and active.late else self._standby
        for path in self.paths:
            if path is not active:
                path.carry(standby)
        if active is not None:
            active.carry(ALL)
        self.pump()
        self._wake.set()
