"""What C5 has set from afar, and how it goes together with the technician's file (docs/decisions/0036).

    /etc/c5-gateway/gateway.toml    the technician's: who this gateway is, its keys, its brokers, whom it obeys
    <state_dir>/applied.toml        C5's: laid over it, key by key; a list ([[port]]) takes the place of a list
    <state_dir>/applied-before.toml what that has replaced, while it is on trial (`tasks.trial`)

We never write the technician's file, and C5 never reaches those of its keys that would give the gateway away. What C5
applies takes the place of what it applied before; an empty text takes it back. Should the two not go together any more,
because the technician's was changed, the gateway starts by that alone, and says so.
"""

import os
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from gateway import site
from gateway.buses import profiles
from gateway.config import GatewaySettings, checked
from gateway.errors import SettingsError, StoreError
from gateway.settings import read_toml
from gateway.text import _

FILE: Final = "applied.toml"
BEFORE: Final = "applied-before.toml"
FORBIDDEN: Final = frozenset(
    {"identity", "broker", "gateway.id", "gateway.state_dir", "gateway.site_file", "local_input"}
    | {"delivery.receivers", "delivery.commanders", "delivery.confirmation"}  # whose word counts, and for what
)
_LOCK: Final = threading.Lock()  # held by whoever changes the files: a trial ends while C5 applies the next settings
TEXT_MAX: Final = 12_000  # bytes: what a command has room for


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings to run by, and what of them C5 has applied."""

    path: Path
    settings: GatewaySettings
    keys: tuple[str, ...] = ()  # that C5 has applied
    sha256: str | None = None  # of its text; None: nothing is applied
    refused: str | None = None  # why what it applied is not used
    read: bytes | None = None  # the file of it

    def glance(self) -> dict[str, Any]:
        """Return what `status` shows of it."""
        return {"sha256": self.sha256, "keys": list(self.keys), "refused": self.refused, "on_trial": self.on_trial}

    def apply(self, text: str) -> str:
        """Put this in the place of what C5 applied before, for the next start and on trial; return its SHA-256.

        Raises SettingsError if the gateway would not run by it, and StoreError if it can't be written: then nothing
        has changed.
        """
        _combined(read_toml(self.path), _read(text), self.path)
        with _writing(self._place):
            applied = _bytes(self._place)
            trial = applied is not None and self._before.exists()
            if not trial:  # else what was before that is what has stood its trial
                _replace(self._before, applied or b"")
            try:
                _replace(self._place, text.encode())
            except OSError:
                if not trial and _bytes(self._place) == applied:  # what was there before isn't on one now
                    self._before.unlink(missing_ok=True)
                raise
        return sha256(text.encode()).hexdigest()

    @property
    def on_trial(self) -> bool:
        """Whether what C5 has applied is in use, and counts for a while only.

        What a technician has deleted is on trial no more; a disk that doesn't say is left alone.
        """
        try:
            return self.refused is None and self._place.exists() and self._before.exists()
        except OSError:
            return False

    def keep(self) -> None:
        """Have it count for good, unless something else was applied since. Raises StoreError."""
        with _writing(self._before):
            if self._unchanged:
                self._before.unlink(missing_ok=True)
                _sync(self._before.parent)

    def fall_back(self) -> None:
        """Put what C5 applied before in its place, for the next start, as above. Raises StoreError."""
        with _writing(self._place):
            if self._unchanged:
                self._before.replace(self._place)
                _sync(self._place.parent)

    @property
    def _unchanged(self) -> bool:
        return self.read is not None and _bytes(self._place) == self.read

    @property
    def _place(self) -> Path:
        return self.settings.gateway.state_dir / FILE

    @property
    def _before(self) -> Path:
        return self.settings.gateway.state_dir / BEFORE


def load(path: Path) -> Loaded:
    """Read the technician's file, or raise SettingsError; and what C5 has laid over it, if the two go together."""
    tables = read_toml(path)
    settings = checked(tables, path)
    place = settings.gateway.state_dir / FILE
    try:
        content = _bytes(place)
        if content is None:
            return Loaded(path, settings)
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        return Loaded(path, settings, refused=str(error))
    try:
        over = _read(text)
        combined = _combined(tables, over, path)
    except SettingsError as error:
        return Loaded(path, settings, refused=error.what)
    return Loaded(path, combined, tuple(_keys(over)), sha256(content).hexdigest() if over else None, read=content)


def _read(text: str) -> dict[str, Any]:
    """Read what C5 sends; raises SettingsError."""
    if len(text.encode()) > TEXT_MAX:
        raise SettingsError(_("toml: at most {max} bytes").format(max=TEXT_MAX))
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # of no TOML, or too long a number; brackets in brackets
        raise SettingsError(_("toml: this is not TOML: {reason}").format(reason=error)) from error


def _combined(tables: dict[str, Any], over: dict[str, Any], path: Path) -> GatewaySettings:
    """Return the settings of both; raises SettingsError."""
    forbidden = sorted(FORBIDDEN & {*over, *_keys(over)})
    if forbidden:
        raise SettingsError(_("{keys}: only a technician can set this").format(keys=", ".join(forbidden)))
    settings = checked(_laid_over(tables, over), path, "toml")
    profiles(settings)  # a start would be refused without them
    site.video(settings)
    return settings


def _laid_over(tables: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    both = {
        key: _laid_over(tables[key], value) if isinstance(value, dict) and isinstance(tables.get(key), dict) else value
        for key, value in over.items()
    }
    return {**tables, **both}


def _keys(over: dict[str, Any]) -> Iterator[str]:
    """Yield what is set: `table.key`, or the name of a list of tables."""
    for table, value in over.items():
        if isinstance(value, dict):
            yield from (f"{table}.{key}" for key in value)
        else:
            yield table


def _bytes(path: Path) -> bytes | None:
    """Return what is in a file; None if there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _replace(path: Path, content: bytes) -> None:
    """Write a file durably, whole or not at all."""
    new = path.with_suffix(".new")
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Change the files, one at a time; say as StoreError what the disk refuses."""
    try:
        with _LOCK:
            yield
    except OSError as error:
        raise StoreError(
            _("{path} can't be written: {error}").format(path=path, error=error.strerror),
            _("Check that the disk has room and is not read-only."),
        ) from error
