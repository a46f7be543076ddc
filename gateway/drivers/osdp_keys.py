"""The keys of OSDP peripherals, in the state folder: a file for each, mode 0600, replaced whole and durably.

A key stands in its file before it is sent. Whoever is killed in between finds both it and the one before, and tries
each of them (`sensing.osdp.Keys`). A file that can't be read is not the same as none: the key may still be in it, and
what is written in its place leaves it lying beside (`NAME.unreadable`).
"""

import contextlib
import os
from pathlib import Path
from typing import Final

from gateway.errors import StoreError
from gateway.sensing.osdp import Keys
from gateway.text import _

FOLDER: Final = "osdp-keys"
LENGTH: Final = 16


class KeyFiles:
    """The keys of all peripherals of a gateway."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / FOLDER

    def read(self, name: str) -> Keys:
        """Return a peripheral's keys, none if it has no file; raises StoreError if that can't be read."""
        try:
            lines = (self._folder / name).read_text(encoding="ascii").split("\n")
            key, pending = (bytes.fromhex(line) for line in lines[:2])
        except FileNotFoundError:
            return Keys()
        except (OSError, ValueError) as error:
            raise _unreadable(name, error) from error
        if {len(key), len(pending)} - {0, LENGTH}:
            raise _unreadable(name)
        return Keys(key or None, pending or None)

    def put_aside(self, name: str) -> None:
        """Leave a file that can't be read lying beside, whatever comes in its place."""
        path = self._folder / name
        with contextlib.suppress(OSError):
            path.replace(path.with_name(f"{name}.unreadable"))

    def write(self, name: str, keys: Keys) -> None:
        """Write them; raises StoreError if that can't be done."""
        path = self._folder / name
        new = path.with_name(f"{name}.new")
        text = f"{(keys.key or b'').hex()}\n{(keys.pending or b'').hex()}\n"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            new.unlink(missing_ok=True)
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
            for place in (self._folder, self._folder.parent):  # the folder itself may be new
                folder = os.open(place, os.O_RDONLY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
        except OSError as error:
            raise StoreError(
                _("the key of {name} can't be stored: {error}").format(name=name, error=error.strerror),
                _("Nothing was sent to it. See that state_dir is writable and the disk is not full, then try again."),
            ) from error


def _unreadable(name: str, error: Exception | None = None) -> StoreError:
    reason = error.strerror if isinstance(error, OSError) else _("it is damaged")
    return StoreError(
        _("the key of {name} can't be read: {error}").format(name=name, error=reason),
        _(
            "Nothing of it is believed without. Put state_dir/{path} back from a copy and restart the service; "
            "if there is none, reset the peripheral and run: c5-gateway peripheral install {name}"
        ).format(path=f"{FOLDER}/{name}", name=name),
    )
