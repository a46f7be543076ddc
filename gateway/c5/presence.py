"""Whether a gateway is there: its connections, by what its states say and by how long they are silent.

The rules (wire.md, section 3, "state"):

1. Within an epoch states are ordered by `number`, never by time. One whose number isn't above the last of its own
   connection was repeated, by the broker or by somebody, and is no sign of life.
2. "offline" ends its own connection for good, and orders nothing.
3. Three intervals of silence end a connection until its next state.
4. A gateway with no connection left is offline. A new epoch ends all connections of the one before it.
   One lost connection of several is nothing to C5: the gateway tells it over another (`link.failed`).
5. When C5 starts anew, the connection of the newest state that it has is there, as if the state came now: nobody has
   listened for its silence.
"""

from dataclasses import dataclass
from typing import Final

from gateway.ranges import RangeSet
from gateway.signing.message import State

SILENT_INTERVALS: Final = 3  # rule 3
CONNECTIONS_KEPT: Final = 64  # of one epoch; beyond that the oldest counts as ended


@dataclass(slots=True)
class _Connection:
    number: int
    silent_at: float
    silent: bool = False


class Presence:
    """The connections of one gateway's present epoch. `number` is the newest that C5 knew before it started."""

    def __init__(self, epoch: bytes | None = None, number: int = 0) -> None:
        self.epoch = epoch
        self.number = number  # of the newest state
        self._connections: dict[int, _Connection] = {}
        self._ended = RangeSet()  # connections, plus 1: a RangeSet holds positive numbers

    @property
    def online(self) -> bool:
        """Whether a connection is left."""
        return any(not connection.silent for connection in self._connections.values())

    def state(self, state: State, now: float) -> bool:
        """Take in a state of the present epoch; return whether it is the newest, to be believed in all it says."""
        if state.epoch != self.epoch:
            self._begin(state.epoch)
        if not state.online:
            self._end(state.connection)
            return False
        last = self._connections.get(state.connection)
        if state.connection + 1 in self._ended or (last is not None and state.number <= last.number):
            return False
        silent_at = now + SILENT_INTERVALS * state.interval
        self._connections[state.connection] = _Connection(state.number, silent_at)
        if len(self._connections) > CONNECTIONS_KEPT:
            self._end(min(self._connections))
        newest = state.number >= self.number
        self.number = max(self.number, state.number)
        return newest

    def restore(self, state: State | None, now: float) -> None:
        """Take in the newest state from before this start, of a gateway that was online then (rule 5)."""
        if state is not None and state.online and state.epoch == self.epoch:
            silent_at = now + SILENT_INTERVALS * state.interval
            before = state.number - 1  # the broker's retained copy counts once more
            self._connections[state.connection] = _Connection(before, silent_at)

    def tick(self, now: float) -> None:
        """Time passed (rule 3)."""
        for connection in self._connections.values():
            connection.silent = now >= connection.silent_at

    def _begin(self, epoch: bytes) -> None:
        self.epoch, self.number = epoch, 0
        self._connections.clear()
        self._ended = RangeSet()

    def _end(self, connection: int) -> None:
        self._connections.pop(connection, None)
        self._ended.add(connection + 1, connection + 1)
