"""What a path says of the gateway itself: its certificates and its states, retained, on each connection; and replies.

A state goes out at the start of a connection, every interval and after an alarm, at most one a second, and never while
the last is unanswered: the broker's window is not to be burst; and so with replies to commands. Where the window is so
small that it is shared with the records, all of this waits for a slot. A channel that the broker refuses is held back,
as lanes are. Numbers count over all connections of this start (wire.md, section 3,
"state").
"""

import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from gateway.delivery.lane import REPEAT
from gateway.delivery.pace import Sent
from gateway.delivery.schedule import Schedule
from gateway.tasks import said

if TYPE_CHECKING:
    from gateway.clock import Timekeeper
    from gateway.mqtt import Connection
    from gateway.tasks.recorder import Recorder

log = logging.getLogger(__name__)

SLOTS: Final = 3  # of the broker's window: for the certificates, one state and one reply, which no schedule counts
REPLIES: Final = 16  # that wait; the oldest gives way: who asked asks again
STATE_PAUSE: Final = 1.0  # seconds between two states at least
REFUSAL: Final = 0x80


class States:
    """Signs the states of all connections, and counts both."""

    def __init__(self, own: said.Self, recorder: "Recorder", clock: "Timekeeper") -> None:
        self._own = own
        self._recorder = recorder
        self._clock = clock
        self._states = 0
        self._connections = 0

    def begin(self) -> int:
        """Return the number of a new connection."""
        self._connections += 1
        return self._connections

    def online(self, connection: int) -> bytes:
        """Return the state of a gateway that is there, with each lane's last record."""
        self._states += 1
        return said.signed_state(self._own, self._clock.now_us(), self._recorder.heads, self._states, connection)

    def offline(self, connection: int) -> bytes:
        """Return the state that ends a connection for good: its will."""
        return said.signed_state(self._own, self._clock.now_us(), None, 0, connection)


class Announcer:
    """Says it on one path; `changed` is called when the broker answers."""

    def __init__(
        self,
        *,
        own: said.Self,
        states: States,
        schedule: Schedule,
        clock: "Timekeeper",
        troubles: dict[str, str],
        changed: Callable[[], None],
    ) -> None:
        self._own = own
        self._states = states
        self._schedule = schedule
        self._clock = clock
        self._troubles = troubles
        self._changed = changed
        self._connection: Connection | None = None
        self._number = 0
        self._refused: dict[str, tuple[int, float]] = {}  # channels: how often, and until when they are held back
        self._state_at = -STATE_PAUSE
        self._state_due = False
        self._certificates_due = False  # on this connection they haven't been said
        self._unanswered: set[str] = set()  # channels
        self._replies: deque[bytes] = deque(maxlen=REPLIES)
        self.refused_at = -STATE_PAUSE

    def begin(self) -> tuple[str, bytes]:
        """Number a new connection and return its will: topic and payload."""
        self._number = self._states.begin()
        return self._own.route.topic("state"), self._states.offline(self._number)

    def connected(self, connection: "Connection") -> None:
        """Say it all at the start of a connection."""
        self._connection = connection
        self._unanswered.clear()
        self._replies.clear()
        now = self._clock.monotonic()
        self._certificates_due = True
        self._state_at = now - self._own.interval
        self.tick(now)

    def disconnected(self) -> None:
        """Say no more."""
        self._connection = None

    def goodbye(self, connection: "Connection") -> None:
        """Say that we go on purpose, so that C5 needn't wait for our silence."""
        self._connection = connection
        self._send("state", self._states.offline(self._number))
        self._connection = None

    @property
    def deadline(self) -> float | None:
        """When the next state goes out, or certificates; None while the last are unanswered, or without a slot."""
        if not self._schedule.room_besides:
            return None
        state = None if "state" in self._unanswered else self._state_next
        return min((due for due in (state, self._certificates_next) if due is not None), default=None)

    @property
    def _state_next(self) -> float:
        return self._state_at + (STATE_PAUSE if self._state_due else self._own.interval)

    @property
    def _certificates_next(self) -> float | None:
        refused = self._refused.get("certificates")
        if "certificates" in self._unanswered or (refused is None and not self._certificates_due):
            return None
        return refused[1] if refused is not None else self._state_at

    def freed(self, now: float) -> None:
        """A slot may have become free, for which this and the records wait."""
        if self._schedule.tight:
            self.tick(now)

    def tick(self, now: float) -> None:
        """Time passed."""
        certificates = self._certificates_next
        if certificates is not None and now >= certificates and self._schedule.room_besides:
            self._certificates_due = False
            self._send("certificates", self._own.certificates)
        if "state" not in self._unanswered and now >= self._state_next and self._schedule.room_besides:
            self._state(now)
        self._reply()

    def alarm(self) -> None:
        """Tell C5 of the alarm lane's new head."""
        now = self._clock.monotonic()
        idle = "state" not in self._unanswered and self._schedule.room_besides
        if now >= self._state_at + STATE_PAUSE and idle:
            self._state(now)
        elif not self._state_due:
            self._state_due = True
            self._changed()

    def reply(self, wire: bytes) -> None:
        """Say what became of a command, once the reply before it is answered."""
        self._replies.append(wire)
        self._reply()

    def _reply(self) -> None:
        while self._replies and "reply" not in self._unanswered and self._schedule.room_besides:
            self._send("reply", self._replies.popleft())

    def _state(self, now: float) -> None:
        self._state_at = now
        self._state_due = False
        self._send("state", self._states.online(self._number))

    def _send(self, channel: str, payload: bytes) -> None:
        now = self._clock.monotonic()
        if self._connection is None or now < self._refused.get(channel, (0, now))[1]:
            return
        self._unanswered.add(channel)
        answered = partial(self._answered, channel, self._schedule.besides(len(payload), now))
        self._connection.publish(self._own.route.topic(channel), payload, retain=channel != "reply", on_ack=answered)

    def _answered(self, channel: str, sent: Sent, code: int) -> None:
        now = self._clock.monotonic()
        self._schedule.answered(sent, now)
        self._unanswered.discard(channel)
        tries, _until = self._refused.pop(channel, (0, 0.0))
        if code >= REFUSAL:
            self.refused_at = now
            self._refused[channel] = (tries + 1, now + min(REPEAT, 2.0 ** (tries + 1)))
            if not tries:
                topic = self._own.route.topic(channel)
                self._troubles[f"refused {channel}"] = what = said.explain_refusal(topic, code)
                log.warning("the broker refuses %s (0x%02x): %s", topic, code, what)
        elif tries:
            del self._troubles[f"refused {channel}"]
        self._reply()
        self._changed()
