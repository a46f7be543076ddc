"""Local input: the HTTPS port for what a tower already has, from the settings to records. Off unless it is set.

What is wrong with it is told and stops nothing: a port that is taken, a certificate or a token that can't be read.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from gateway import local_event
from gateway.config import GatewaySettings
from gateway.delivery.item import Note, RaisedState, Run
from gateway.drivers.https import Server
from gateway.errors import C5Error
from gateway.identity.keystore import read_tls, read_token
from gateway.local_settings import SourceTable
from gateway.sensing.local import TOKEN, TOKEN_MAX, Source, token_digest
from gateway.tasks.drivers import Driver
from gateway.tasks.local import RECEIVED, STORED, Local
from gateway.text import _
from gateway.tls import server_context, share_an_anchor
from gateway.world import World

if TYPE_CHECKING:
    from datetime import datetime

    from gateway.clock import FieldClock
    from gateway.delivery.awaited import Place
    from gateway.tasks.recorder import Recorder
    from gateway.tasks.store import Store
    from gateway.tasks.supervise import Supervise

TOKEN_MIN: Final = 32  # characters: it can't be guessed, and its plain SHA-256 tells nothing of it
NUMBER_MAX: Final = 2**53 - 1
OF_SOURCES: Final = "urn:c5:source:"


def sources(settings: GatewaySettings) -> tuple[list[Source], dict[str, str]]:
    """Return the sources of the settings, and what is wrong with those that can't show who they are."""
    found: list[Source] = []
    wrong: dict[str, str] = {}
    of_c5 = _under_c5(settings)
    tokens: dict[bytes, str] = {}
    for table in settings.source:
        token = None if table.token_sha256 is None else bytes.fromhex(table.token_sha256)
        if table.token_file is not None:
            try:
                token = _token(table.token_file)
            except C5Error as error:
                wrong[table.name] = f"{error.what}. {error.hint}"
        if token is not None and (other := tokens.setdefault(token, table.name)) != table.name:
            wrong[table.name] = wrong[other] = _(
                "{name} and {other} have the same token, and neither is heard by it"
            ).format(name=table.name, other=other)
        certificate = table.certificate
        if certificate is not None and of_c5 and not certificate.startswith(OF_SOURCES):
            wrong[table.name] = _(
                "its certificate is one of C5's own authority, under which only {prefix}NAME is a source's"
            ).format(prefix=OF_SOURCES)
            certificate = None
        found.append(_source(table, token, certificate))
    return found, wrong


def _under_c5(settings: GatewaySettings) -> bool:
    """Whether C5's own certificates are let in: a gateway's or a receiver's must be no source's."""
    if settings.local_input is None or settings.local_input.client_anchors is None:
        return False
    return share_an_anchor(settings.identity.trust_anchors, settings.local_input.client_anchors)


def _source(table: SourceTable, token: bytes | None, certificate: str | None) -> Source:
    return Source(
        table.name,
        frozenset(table.types),
        token,
        certificate,
        table.position.position() if table.position else None,
        table.per_minute,
        table.burst,
    )


def _token(path: Path) -> bytes:
    token = read_token(path).strip()
    if not TOKEN_MIN <= len(token) <= TOKEN_MAX or not TOKEN.fullmatch(token.decode("latin-1")):
        raise C5Error(
            _("the token in {path} must have {least} to {most} of A-Z a-z 0-9 . _ ~ + / = -").format(
                path=path, least=TOKEN_MIN, most=TOKEN_MAX
            ),
            _("make one with: openssl rand -hex 32"),
        )
    return token_digest(token)


class LocalInput:
    """The HTTPS port and its sources, if the settings have one."""

    def __init__(self, settings: GatewaySettings, world: World) -> None:
        self._settings = settings
        self._table = settings.local_input
        self._world = world
        self._sources, self._wrong = sources(settings)
        self._known: tuple[RaisedState, ...] = ()
        self._instead: Callable[[], datetime | None] = lambda: None
        self.not_after: datetime | None = None  # of the certificate that is shown
        self._now: Callable[[], datetime]
        self.server: Server | None = None
        self.local: Local

    def begin(self, known: Iterable[RaisedState], clock: "FieldClock", forget: Callable[[str], None]) -> None:
        """Take what the store knows of events that were raised before the start, and the clock to judge dates by.

        What sources did that are no more, it may `forget`.
        """
        by_receipt = self._settings.delivery.confirmation == "receiver"
        self._known = tuple(one if by_receipt or one.stage != RECEIVED else replace(one, stage=STORED) for one in known)
        self._instead, self._now = clock.instead, clock.now
        for source in self.gone:
            forget(source)

    def wire(self, recorder: "Recorder", store: "Store", supervise: "Supervise", notes: Iterable[Note]) -> None:
        """Connect the port with what hears of it; nothing of it is among the notes."""
        del notes
        table = self._table
        self.local = Local(
            self._sources,
            recorder,
            store,
            self._world.clock,
            gateway=self._settings.gateway.id,
            name="" if table is None else table.name,
            read=local_event.read,
            schema=local_event.schema,
            known=self._known,
        )
        if table is not None:
            self.server = self._world.https(
                table.address,
                table.port,
                self._context,
                self.local,
                lost=partial(supervise.port_lost, table.name),
                restored=partial(supervise.port_restored, table.name),
                random=self._world.random,
            )

    def _context(self) -> Any:
        table = self._table
        assert table is not None
        context = server_context(table.certificate, table.key, table.client_anchors, self._instead)
        self.not_after = read_tls(table.certificate).not_after
        return context

    @property
    def gone(self) -> frozenset[str]:
        """What has raised events, and the settings name no more."""
        return frozenset(one.raised.source for one in self._known) - self._settings.names

    def drivers(self) -> Iterator[Driver]:
        """Yield what keeps the port."""
        if self._table is not None and self.server is not None:
            yield Driver(self._table.name, self.server.run, self.server.close)

    def tick(self) -> None:
        """Time passed."""
        self.local.tick(self._world.clock.monotonic())

    def receipted(self, runs: Sequence[Run]) -> None:
        """C5 has these records."""
        self.local.receipted(runs)

    def __contains__(self, source: object) -> bool:
        """Whether there is a source of this name."""
        return source in self.local

    # Shown.

    def glance(self) -> Mapping[str, Any]:
        """Return what `status` shows of it."""
        table, server = self._table, self.server
        ports = [] if table is None or server is None else [
            {
                "name": table.name,
                "address": table.address,
                "port": table.port,
                "connections": server.connections,
                "refused": dict(self.local.counts),
                "not_after": None if self.not_after is None else self.not_after.isoformat(),
                "trouble": self._trouble(server),
            }
        ]  # fmt: skip
        rows = [{**self.local.glance(one.name), "trouble": self._wrong.get(one.name)} for one in self._sources]
        return {"local_inputs": ports, "sources": rows}

    def _trouble(self, server: Server) -> str | None:
        if server.trouble is not None:
            return server.trouble
        if self.not_after is not None and self._now() > self.not_after:
            text = _(
                "its certificate expired on {date}, sources refuse to connect: c5-certs issue local makes a new one"
            )
            return text.format(date=f"{self.not_after:%Y-%m-%d}")
        return None

    @property
    def troubles(self) -> list[str]:
        """Return what is wrong now, in words."""
        return [f"{row['name']}: {row['trouble']}" for rows in self.glance().values() for row in rows if row["trouble"]]


class Numbered(Protocol):
    """Those whose events have numbers, as `alarm.acknowledge` asks for them."""

    def __contains__(self, device: object) -> bool:
        """Whether this is one of them."""

    def place(self, device: str, number: int) -> "Place | None":
        """Return where this event was recorded, as far as it is known still."""

    def at(self, place: "Place") -> tuple[str, int] | None:
        """Return whose event was recorded here, and its number."""

    def highest(self, device: str) -> int:
        """Return the highest number of its events."""

    def acknowledged(self, device: str, number: int) -> str:
        """Tell it that an operator has seen its event."""


class Acknowledged:
    """Enrolled devices and local sources as one: both wait to hear that an operator has seen their events."""

    def __init__(self, devices: Numbered, local: Local) -> None:
        self._devices = devices
        self._local = local

    def __contains__(self, device: object) -> bool:
        """Whether this is one of them."""
        return device in self._devices or device in self._local

    def place(self, device: str, number: int) -> "Place | None":
        """Return where this event was recorded, as far as it is known still."""
        return (self._local if device in self._local else self._devices).place(device, number)

    def at(self, place: "Place") -> tuple[str, int] | None:
        """Return whose event was recorded here, and its number."""
        return self._devices.at(place) or self._local.at(place)

    def highest(self, device: str) -> int:
        """Return the highest number of its events: a source's are in no order."""
        return NUMBER_MAX if device in self._local else self._devices.highest(device)

    def acknowledged(self, device: str, number: int) -> str:
        """Tell it that an operator has seen its event."""
        return (self._local if device in self._local else self._devices).acknowledged(device, number)
