"""What is wired to this gateway, a kind at a time: GPIO contacts, Modbus lines, and what else has a module of its own.

Each kind is made from the settings, connected once (`wire`), kept by drivers, given the time, and shown. Field Link is
not among them: its devices are enrolled, not set.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from gateway.delivery.item import Note, Run
from gateway.tasks.drivers import Driver

if TYPE_CHECKING:
    from gateway.tasks.recorder import Recorder
    from gateway.tasks.store import Store
    from gateway.tasks.supervise import Supervise


class FieldSide(Protocol):
    """One kind. Making it raises SettingsError where something can't be as it is set, before a line is touched."""

    def wire(self, recorder: "Recorder", store: "Store", supervise: "Supervise", notes: Iterable[Note]) -> None:
        """Connect it with what hears of it; `notes` are those of the store's last start."""

    def drivers(self) -> Iterable[Driver]:
        """Yield what keeps each of its lines."""

    def tick(self) -> None:
        """Time passed: at least once a second."""

    def receipted(self, runs: Sequence[Run]) -> None:
        """C5 has these records."""

    def glance(self) -> Mapping[str, Any]:
        """Return what `status` shows of it: tables of its own, by name."""

    @property
    def troubles(self) -> list[str]:
        """Return what is wrong now, in words."""

    def __contains__(self, source: object) -> bool:
        """Whether a record's source is one of its own."""
