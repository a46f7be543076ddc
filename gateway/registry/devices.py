"""The enrolled devices: their keys, names and positions, in one file that only the service's user can read.

The file is replaced as a whole, durably, under a lock: the technician's command line and the service may both write.
Counters and event windows are not here: they belong to the records and live in the outbox.
"""

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gateway.errors import C5Error, StoreError
from gateway.event import Position
from gateway.text import _

FILE: Final = "devices.json"
NAME_MAX: Final = 63
KEY_BYTES: Final = 16
LOCK_TRIES: Final = 20
LOCK_PAUSE: Final = 0.1  # seconds


class EnrolmentError(C5Error):
    """A device can't be enrolled or revoked as asked; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Device:
    """An enrolled device. The key is in no text made of it."""

    id: str
    model: str
    key: bytes = field(repr=False)
    name: str = ""
    position: Position | None = None

    @property
    def key_id(self) -> bytes:
        """What tells this key from another without being it."""
        return hashlib.sha256(self.key).digest()[:8]


class Registry:
    """The file of enrolled devices in a gateway's state folder."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / FILE

    def devices(self) -> dict[str, Device]:
        """Return all devices by id. Raises `StoreError` if the file can't be read."""
        try:
            text = self._path.read_text("utf-8")
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            raise self._unreadable(error) from error
        try:
            return {device.id: device for device in map(_read, json.loads(text)["devices"])}
        except (ValueError, KeyError, TypeError) as error:
            raise self._unreadable(error) from error

    def enrol(self, device: Device) -> None:
        """Add a device. Its id must be new, or the key the same (then name and position are changed)."""
        with self._changing() as devices:
            known = devices.get(device.id)
            if known is not None and known.key != device.key:
                raise EnrolmentError(
                    _("{id} is enrolled with another key").format(id=device.id),
                    _(
                        "Look at the label again. If it really is a new key, first: c5-gateway device revoke {id}"
                    ).format(id=device.id),
                )
            devices[device.id] = device

    def revoke(self, device: str) -> Device:
        """Remove a device: from now on its frames are a stranger's."""
        with self._changing() as devices:
            if device not in devices:
                raise EnrolmentError(
                    _("{id} is not enrolled").format(id=device[:64]),
                    _("See which devices are: c5-gateway device list"),
                )
            return devices.pop(device)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, Device]]:
        with contextlib.suppress(OSError):  # what stands in the way is told below
            self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        try:  # the folder is the lock: nobody owns it less than who may write in it
            lock = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            self._wait(lock)
            devices = self.devices()
            yield devices
            self._replace(devices)
        finally:
            os.close(lock)

    @staticmethod
    def _wait(lock: int) -> None:
        for _try in range(LOCK_TRIES):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            time.sleep(LOCK_PAUSE)
        raise EnrolmentError(_("another program is changing the enrolled devices"), _("Try again in a moment."))

    def _replace(self, devices: dict[str, Device]) -> None:
        text = json.dumps({"devices": [_written(device) for device in devices.values()]}, indent=1)
        new = self._path.with_suffix(".new")
        try:
            folder = self._path.parent.stat()
            handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                if os.geteuid() == 0:  # a technician with sudo writes what the service must read
                    os.fchown(handle, folder.st_uid, folder.st_gid)
                file.write(text)
                file.flush()
                os.fsync(handle)
            new.replace(self._path)
            parent = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(parent)
            finally:
                os.close(parent)
        except OSError as error:
            raise self._unwritable(error) from error

    def _unreadable(self, error: Exception) -> StoreError:
        return StoreError(
            _("the enrolled devices can't be read from {path}: {error}").format(path=self._path, error=error),
            _("No device of this gateway is heard without it. Restore the file, or enrol the devices again."),
        )

    def _unwritable(self, error: OSError) -> StoreError:
        return StoreError(
            _("{path} can't be written: {error}").format(path=self._path, error=error.strerror),
            _("Run this as root (sudo), and check that the disk has room and is not read-only."),
        )


def _written(device: Device) -> dict[str, Any]:
    return {
        "id": device.id,
        "model": device.model,
        "key": base64.b64encode(device.key).decode(),
        "name": device.name,
        "position": device.position._asdict() if device.position else None,
    }


def _read(entry: dict[str, Any]) -> Device:
    position = entry["position"]
    key = base64.b64decode(entry["key"], validate=True)
    if len(key) != KEY_BYTES:
        raise ValueError(_("a key of {count} bytes").format(count=len(key)))
    return Device(
        entry["id"],
        entry["model"],
        key,
        entry["name"],
        Position(**position) if position else None,
    )
