"""From an event to a signed record: the one place where sequences are given.

Here, on the event loop, a record gets its sequence, its link to the one before and its signature (some 50 µs), and goes
to the uplink and to the store at once: neither waits for the other. What comes of it is told to `Recorder.stored`'s
caller when it is durable, and through receipts when C5 has it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from gateway.delivery.item import DeviceState, Entry, Item, Note, Raised, Run
from gateway.event import Event, Lane, Position, lane_of
from gateway.signing.chain import Chain, Signed
from gateway.signing.message import Head
from gateway.signing.record import Clock
from gateway.tasks.store import Store


class Recorder:
    """Signs events into the lanes of this epoch."""

    def __init__(
        self,
        chains: Mapping[Lane, Chain],
        ordinal: int,
        store: Store,
        occurred: Callable[[int, int | None], tuple[int, Clock]],
        position: Position | None,
    ) -> None:
        self._chains = chains
        self.ordinal = ordinal
        self._store = store
        self._occurred = occurred
        self.position = position  # of what has none of its own; a gateway that moves changes it
        self.offer: Callable[[Item], None] = lambda _item: None
        self.flags: Callable[[Event], int] = lambda _event: 0  # of what is under maintenance
        self.video: Mapping[str, Sequence[Mapping[str, str]]] = {}  # by source: what to look at when it raises an alarm
        self.refused = 0  # events that memory had no room for

    def record(
        self,
        event: Event,
        device: DeviceState | None = None,
        stored: Callable[[], None] | None = None,
        drops: tuple[Run, ...] = (),
        acknowledges: tuple[str, int] | None = None,
        *,
        notes: tuple[Note, ...] = (),
        raised: Raised | None = None,
    ) -> Signed | None:
        """Sign an event and send it on its ways; None if there is no room for it: then nothing has happened.

        `drops` leaves the store in the transaction that this goes into: it makes room, and is never refused.
        `acknowledges` is a device and its event's number: stage 3 is durable with this record; `raised` is by what a
        local source's event is known again.
        """
        lane = lane_of(event.type)
        if not drops and not self._store.room(lane):
            self.refused += 1
            return None
        if flags := self.flags(event):
            event = replace(event, flags=event.flags | flags)
        if lane is Lane.ALARM and (video := self.video.get(event.source)) is not None:
            event = replace(event, data={**(event.data or {}), "video": video})
        occurred_us, clock = self._occurred(event.age_ms, event.at_ns)
        signed = self._chains[lane].sign(event, occurred_us, clock, self.position)
        item = Item(lane, self.ordinal, signed.record.sequence, signed.wire)
        try:
            self.offer(item)
        finally:  # its sequence is taken: a mistake on the way out must not leave a hole in the chain
            number = event.event_number if device else None
            lost = bool(drops) and (event.data or {}).get("reason") == "lost"
            self._store.append(
                Entry(item, signed.digest, device, number, stored, drops, acknowledges, notes, lost, raised)
            )
        return signed

    def has_room(self, lane: Lane) -> bool:
        """Whether a record of this lane would be accepted."""
        return self._store.room(lane)

    def sequence(self, lane: Lane) -> int:
        """Return the last sequence signed in this epoch."""
        return self._chains[lane].sequence

    @property
    def heads(self) -> dict[Lane, Head]:
        """Each lane's last record."""
        return {lane: head for lane, chain in self._chains.items() if (head := chain.head) is not None}
