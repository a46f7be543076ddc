"""Events that sources in the tower raise over HTTPS: from a request to a record, and to an answer that is true.

202 means durable: the record is committed here, or C5 has receipted it. Until then the request waits, at most
`STORE_WITHIN`, and is then told to come again (503): the record is signed and on its way all the same, as a device's
press is without a disk. The same request again, before or after a restart, gets the record that there is (rules in
`sensing.local`; kept by the outbox in the record's own transaction).

Who isn't let in, and who asks too often, is counted, and told to C5 at most once a minute.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from gateway.delivery.awaited import Awaited, Place
from gateway.delivery.item import RAISED_KEPT, Raised, RaisedState, Run
from gateway.errors import Refused
from gateway.event import LANE_NAMES, Event, lane_of
from gateway.sensing.asked import Request, Response, answer, problem
from gateway.sensing.bucket import Bucket
from gateway.sensing.limit import Limiter
from gateway.sensing.local import Happening, Source, identify, number_of, read_key
from gateway.tasks.presses import Presses

if TYPE_CHECKING:
    from gateway.clock import Timekeeper
    from gateway.tasks.recorder import Recorder
    from gateway.tasks.store import Store

log = logging.getLogger(__name__)

STORED, RECEIVED, ACKNOWLEDGED = 1, 2, 3
STAGES: Final = {0: "recorded", STORED: "stored", RECEIVED: "received", ACKNOWLEDGED: "acknowledged"}
STORE_WITHIN: Final = 5.0  # seconds that a request waits for its record to be durable
COME_AGAIN: Final = "5"  # seconds, where it isn't
KEPT_S: Final = 86_400  # that an event is known by its key; what is neither durable nor at C5 is known beyond
UNSETTLED_MAX: Final = 4096  # of those, though; a store that takes no more records ends it long before
QUESTIONS: Final = (300.0, 60)  # of a source that make no record: a minute, and at once
SLOW: Final = 0.25  # seconds that whoever is refused waits for his answer
STRANGER: Final = 1.0  # … and who isn't known
EVENTS, SCHEMA = "/v1/events", "/v1/schema"
UNKNOWN, CHATTERS = "device.unauthenticated", "device.chattering"


@dataclass(slots=True)
class _Event:
    """An event of a source, and how far its record has come."""

    type: str
    digest: bytes
    place: Place
    identity: str
    until: float  # by the monotonic clock: the other one may be set meanwhile
    stage: int = 0
    asked: bool = False  # a request for it is being answered
    told: asyncio.Event = field(default_factory=asyncio.Event)


class _Source:
    """A source since the gateway's start."""

    def __init__(self, source: Source, now: float) -> None:
        self.source = source
        self.events: dict[int, _Event] = {}  # by number, oldest first
        self.buckets: dict[str, Bucket] = {}  # by type
        self.questions = Bucket(*QUESTIONS, now)
        self.retries = Bucket(*QUESTIONS, now)  # a box that asks for stages must not use up its tries
        self.heard_at: float | None = None
        self.counts: Counter[str] = Counter()


class Local:
    """All sources of this gateway; `name` is the port's, `read` reads a body, `schema` returns what it is read by."""

    def __init__(
        self,
        sources: Iterable[Source],
        recorder: "Recorder",
        store: "Store",
        clock: "Timekeeper",
        *,
        gateway: str,
        name: str,
        read: Callable[[bytes], Happening | Refused],
        schema: Callable[[], str],
        known: Iterable[RaisedState] = (),
    ) -> None:
        self._name = name
        self._recorder = recorder
        self._store = store
        self._clock = clock
        self._read = read
        self._schema = schema
        self._sources = {source.name: _Source(source, clock.monotonic()) for source in sources}
        self._awaited: Awaited[tuple[str, int]] = Awaited()
        self._limits: Limiter[tuple[str, str]] = Limiter()
        self._last = ""  # who was not let in
        self.counts: Counter[str] = Counter()
        self.presses = Presses(clock)
        for one in known:
            if (own := self._sources.get(one.raised.source)) is not None:
                lane = LANE_NAMES[one.lane]
                identity = f"{gateway}/{one.epoch.hex()}/{lane}/{one.sequence}"
                place = one.lane, one.ordinal, one.sequence
                left = KEPT_S - (clock.now_us() - one.raised.at_us) / 1e6
                until = clock.monotonic() + min(left, KEPT_S)
                event = _Event(one.raised.type, one.raised.digest, place, identity, until, one.stage)
                self._keep(own, one.raised.number, event)

    def __contains__(self, name: object) -> bool:
        """Whether there is a source of this name."""
        return name in self._sources

    # Asked by the server.

    def count(self, what: str) -> None:
        """Count what never became a request."""
        self.counts[what] += 1

    def knows(self, names: tuple[str, ...]) -> bool:
        """Whether the names of a certificate are those of a source."""
        return isinstance(identify((own.source for own in self._sources.values()), None, names), Source)

    def refuse(self, request: Request, names: tuple[str, ...], address: str) -> Response | None:
        """Refuse who isn't known and what isn't here, before a body is read."""
        own = self._who(request, names, address)
        if isinstance(own, Response):
            return own
        path = request.target
        allowed = "POST" if path == EVENTS else "GET" if path == SCHEMA or path.startswith(f"{EVENTS}/") else None
        if allowed is None:
            return self._no(own, "no such path", problem(404, f"try {EVENTS}, {EVENTS}/KEY or {SCHEMA}", slow=SLOW))
        if request.method != allowed:
            return self._no(own, "method", problem(405, f"only {allowed}", {"allow": allowed}, slow=SLOW))
        if allowed == "POST" and request.headers.get("content-type", "").partition(";")[0].strip().lower() != (
            "application/json"
        ):
            return self._no(own, "content type", problem(415, "content-type must be application/json", slow=SLOW))
        return None

    async def answer(self, request: Request, names: tuple[str, ...], address: str) -> Response:
        """Answer a whole request."""
        own = self._who(request, names, address)
        if isinstance(own, Response):
            return own
        own.heard_at = self._clock.monotonic()
        if request.method == "POST":
            return await self._raise(own, request)
        if (refused := self._too_often(own, own.questions, "questions")) is not None:
            return refused
        if request.target == SCHEMA:
            return Response(200, self._schema().encode(), "application/schema+json")
        key = read_key(request.target.removeprefix(f"{EVENTS}/"))
        event = None if isinstance(key, Refused) else self._known(own, number_of(own.source.name, key))
        if event is None:
            return problem(404, "nothing is known of this key: it was never used, or more than a day ago")
        return answer(200, _said(event))

    def _who(self, request: Request, names: tuple[str, ...], address: str) -> _Source | Response:
        if "authorization" in request.repeated:
            return problem(400, "two headers Authorization")
        sources = [own.source for own in self._sources.values()]
        found = identify(sources, request.headers.get("authorization"), names)
        if isinstance(found, Source):
            return self._sources[found.name]
        self._last = address
        self.counts["unauthenticated"] += 1
        self._tell(UNKNOWN, self._name)
        return problem(401, found.reason, {"www-authenticate": "Bearer"}, slow=STRANGER)

    # Events.

    async def _raise(self, own: _Source, request: Request) -> Response:
        key: str | Refused = Refused("two headers Idempotency-Key")
        if "idempotency-key" not in request.repeated:
            key = read_key(request.headers.get("idempotency-key"))
        happening = self._read(request.body)
        for read in (key, happening):
            if isinstance(read, Refused):
                return self._no(own, "unreadable", problem(400, read.reason, slow=SLOW))
        assert isinstance(key, str)
        assert isinstance(happening, Happening)
        if happening.type not in own.source.types:
            self._tell(UNKNOWN, own.source.name)
            return self._no(own, "type", problem(403, f"this source may not raise {happening.type}", slow=SLOW))
        number = number_of(own.source.name, key)
        event = self._known(own, number)
        if event is None:
            event_or_not = self._record(own, happening, number)
            if isinstance(event_or_not, Response):
                return event_or_not
            event = event_or_not
        elif event.digest != happening.digest:
            return self._no(own, "key", problem(422, "this Idempotency-Key was used for another event", slow=SLOW))
        elif event.asked:
            return problem(
                409, "a request with this Idempotency-Key is being answered", {"retry-after": "1"}, slow=SLOW
            )
        elif (refused := self._too_often(own, own.retries, "repeated requests")) is not None:
            return refused
        return await self._durable(own, event)

    def _record(self, own: _Source, happening: Happening, number: int) -> _Event | Response:
        """Record a new event."""
        name, type_, now = own.source.name, happening.type, self._clock.monotonic()
        if not self._store.room(lane_of(type_)):
            return self._no(own, "no room", _not_stored())
        bucket = own.buckets.setdefault(type_, Bucket(own.source.per_minute, own.source.burst, now))
        if (refused := self._too_often(own, bucket, type_)) is not None:
            self._tell(CHATTERS, name)
            return refused
        said = Event(
            type_,
            name,
            happening.age_ms,
            number,
            own.source.position,
            {"age_ms": happening.age_ms, **(happening.data or {})},
        )
        raised = Raised(name, type_, number, happening.digest, self._clock.now_us())
        signed = self._recorder.record(said, stored=partial(self._stage, name, number, STORED), raised=raised)
        if signed is None:
            return self._no(own, "no room", _not_stored())
        own.counts["accepted"] += 1
        log.info("source %s: %s", name, type_)
        place = signed.record.lane, self._recorder.ordinal, signed.record.sequence
        event = _Event(type_, happening.digest, place, signed.record.identity, now + KEPT_S)
        self._keep(own, number, event)
        self.presses.happened(name, number, type_)
        return event

    async def _durable(self, own: _Source, event: _Event) -> Response:
        """Answer once the event's record is durable, here or at C5."""
        event.asked = True
        try:
            async with asyncio.timeout(STORE_WITHIN):
                await event.told.wait()
        except TimeoutError:
            return self._no(own, "not stored", _not_stored())
        finally:
            event.asked = False
        return answer(202, _said(event))

    def _known(self, own: _Source, number: int) -> _Event | None:
        """Return the event of this number; after a day the same key is another event."""
        event = own.events.get(number)
        if event is not None and event.stage and event.until < self._clock.monotonic():
            self._forget(own, number)
            return None
        return event

    def _keep(self, own: _Source, number: int, event: _Event) -> None:
        own.events[number] = event
        if event.stage:
            event.told.set()
        if event.stage < RECEIVED:
            self._awaited.add(event.place, (own.source.name, number))
        same = [(known, one.stage) for known, one in own.events.items() if one.type == event.type]
        if len(same) > RAISED_KEPT:
            settled = next((known for known, stage in same if stage), None)
            if settled is not None:
                self._forget(own, settled)
            elif len(same) > UNSETTLED_MAX:
                self._forget(own, same[0][0])

    def _forget(self, own: _Source, number: int) -> None:
        self._awaited.forget(own.events.pop(number).place)

    # Stages.

    def _stage(self, name: str, number: int, stage: int) -> None:
        event = self._sources[name].events.get(number)
        if event is not None and stage > event.stage:
            event.stage = stage
            event.told.set()
            self.presses.stage(name, number, stage)

    def receipted(self, runs: Sequence[Run]) -> None:
        """C5 has these records: they are durable, whatever becomes of the disk here."""
        for name, number in self._awaited.receipted(runs):
            self._stage(name, number, RECEIVED)

    def acknowledged(self, name: str, number: int) -> str:
        """Have a source hear that an operator has seen its event, when it asks "next"; or it was told "before"."""
        event = self._sources[name].events.get(number)
        if event is None:
            return "nothing"
        if event.stage >= ACKNOWLEDGED:
            return "before"
        self._stage(name, number, ACKNOWLEDGED)
        return "next"

    def place(self, name: str, number: int) -> Place | None:
        """Return where an event was recorded, as far as that is known still."""
        event = self._sources[name].events.get(number)
        return None if event is None else event.place

    def at(self, place: Place) -> tuple[str, int] | None:
        """Return the source and number of the event that was recorded here, as far as that is known still."""
        for name, own in self._sources.items():
            for number, event in own.events.items():
                if event.place == place:
                    return name, number
        return None

    # Told.

    def _no(self, own: _Source, why: str, response: Response) -> Response:
        own.counts[why] += 1
        return response

    def _too_often(self, own: _Source, bucket: Bucket, what: str) -> Response | None:
        wait = bucket.take(self._clock.monotonic())
        if wait <= 0:
            return None
        refusal = problem(429, f"too many: {what}", {"retry-after": str(ceil(wait))}, slow=SLOW)
        return self._no(own, "too often", refusal)

    def _tell(self, type_: str, source: str) -> None:
        if (count := self._limits.happened((type_, source), self._clock.monotonic())) is not None:
            self._told(type_, source, count)

    def _told(self, type_: str, source: str, count: int) -> None:
        data: dict[str, Any] = {"count": count}
        if source == self._name:
            data["last"] = self._last
        log.warning("local input: %s of %s, %d", type_, self._last if source == self._name else source, count)
        self._recorder.record(Event(type_, source, data=data))

    def tick(self, now: float) -> None:
        """Tell what was counted."""
        for (type_, source), count in self._limits.tick(now):
            self._told(type_, source, count)

    def glance(self, name: str) -> Mapping[str, Any]:
        """Return what `status` shows of a source."""
        own = self._sources[name]
        heard = None if own.heard_at is None else round(self._clock.monotonic() - own.heard_at, 1)
        refused = {why: count for why, count in own.counts.items() if why != "accepted"}
        return {
            "name": name,
            "heard_s": heard,
            "accepted": own.counts["accepted"],
            "refused": refused,
            **self.presses.glance(name),
        }


def _said(event: _Event) -> dict[str, Any]:
    return {"record": event.identity, "stage": STAGES[event.stage]}


def _not_stored() -> Response:
    detail = "this gateway can't store it now; if it got through all the same, the same Idempotency-Key says so"
    return problem(503, detail, {"retry-after": COME_AGAIN})
