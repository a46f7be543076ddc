"""`c5-gateway outbox export`: a file for C5, whole or not at all, on whatever a technician has plugged in.

The name is taken first, by a file that nobody else made, and the records are written beside it; it gets them when they
are on the disk. A USB stick that is pulled out early leaves an empty file under that name, never half an export.
"""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from gateway import config
from gateway.cli.said import print_json, say
from gateway.errors import C5Error
from gateway.outbox.export import parts
from gateway.settings import find_settings
from gateway.text import _
from gateway.topics import Route


def export(path: Path | None, file: Path, *, as_json: bool) -> bool:
    """Write everything that the outbox holds into a new file."""
    table = config.load(find_settings(path, config.VARIABLE, config.DEFAULT)).gateway
    count, size = write(file, parts(table.state_dir, Route(table.agency, table.site, table.id)))
    if as_json:
        print_json({"file": str(file), "records": count, "bytes": size})
    else:
        say(_("{file}: {count} records, {size} bytes").format(file=file, count=count, size=size))
        say(_("Carry it to C5: c5-receiver import {name}. Nothing is forgotten here until C5's receipt comes.")
            .format(name=file.name))  # fmt: skip
    return True


def write(file: Path, pieces: Iterable[tuple[bytes, int]]) -> tuple[int, int]:
    """Write a new file, readable by its owner alone, whole or not at all; return how many records and bytes.

    Raises C5Error if there is a file of that name, or if it can't be written.
    """
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    records = size = 0
    try:
        os.close(_new(file))
        try:
            with os.fdopen(_new(beside), "wb") as stream:
                for piece, count in pieces:
                    stream.write(piece)
                    records, size = records + count, size + len(piece)
                stream.flush()
                os.fsync(stream.fileno())
            beside.replace(file)
        except BaseException:
            with contextlib.suppress(OSError):
                file.unlink()
                beside.unlink(missing_ok=True)
            raise
        _sync(file.parent)
    except FileExistsError as error:
        raise C5Error(
            _("{file} exists already; nothing is written over").format(file=file), _("Choose another name.")
        ) from error
    except OSError as error:
        raise C5Error(
            _("{file} can't be written: {reason}").format(file=file, reason=error.strerror),
            _("Check that the stick is mounted, has room, and that you may write to it."),
        ) from error
    return records, size


def _new(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _sync(folder: Path) -> None:
    """Have the name itself on the disk: a stick is pulled out as soon as the command says that it is done."""
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    except OSError:  # a file system that can't do that for a folder (some of FUSE): for everything, then
        os.sync()
    finally:
        os.close(directory)
