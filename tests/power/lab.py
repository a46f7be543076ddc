"""A disk with a volatile write cache, after the fact: a program's system calls are recorded, and its power cut at will.

What a cut may leave (POSIX, read strictly; ext4 gives more):

1. What was written to a file before a completed fsync or fdatasync of it is there.
2. Of what was written after that, each write is there, is not, or is there in part: whole sectors of 512 bytes.
3. A name that was made, moved or taken away is durable once its folder was synced; of those after that, the first few
   are, in order.

`strace` orders what several threads do. A write counts from its beginning, a barrier when it has returned: the store
has one thread that writes, which does nothing between the two.
"""

import os
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
SECTOR: Final = 512
CALLS: Final = "openat,pwrite64,write,fdatasync,fsync,ftruncate,rename,renameat,renameat2,unlink,unlinkat,link,linkat"
_LINE: Final = re.compile(r"^(\d+) +(.*)$")
_TEXT: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_FD: Final = re.compile(r"<((?:\\x[0-9a-f]{2})+)>")


@dataclass(frozen=True)
class Call:
    """One system call on a file of the folder; `path` and `to` are names in it."""

    name: str  # create, write, truncate, sync, sync folder, move, link, remove, say
    path: str = ""
    to: str = ""
    data: bytes = b""
    offset: int = 0


def strace() -> tuple[str, dict[str, str]]:
    """Return the program, and the environment that it needs where `packaging/fetch_strace.sh` has unpacked it."""
    if (installed := shutil.which("strace")) is not None:
        return installed, {}
    unpacked = Path(os.environ.get("C5_CACHE") or ROOT / ".cache") / "strace"
    program = unpacked / "usr" / "bin" / "strace"
    assert program.exists(), "no strace: run packaging/fetch_strace.sh"
    return str(program), {"LD_LIBRARY_PATH": ":".join(map(str, unpacked.glob("usr/lib/*-linux-*")))}


def record(folder: Path, command: list[str], log: Path) -> list[Call]:
    """Run a command under strace; return what it did to the folder, and what it said."""
    program, environment = strace()
    subprocess.run(
        [program, "-f", "-qq", "-y", "-xx", "-s", "1000000", "-e", f"trace={CALLS}", "-o", log, *command],
        check=True, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, timeout=100,
    )  # fmt: skip
    return list(_calls(log.read_text().splitlines(), str(folder)))


def _calls(lines: list[str], folder: str) -> Iterator[Call]:
    unfinished: dict[str, str] = {}
    for line in lines:
        match = _LINE.match(line)
        assert match, line
        thread, text = match.groups()
        if text.endswith("<unfinished ...>"):
            text = text.removesuffix("<unfinished ...>")
            unfinished[thread] = text
            if not text.startswith(("fdatasync", "fsync")):
                yield from _call(text, folder)
            continue
        if text.startswith("<..."):
            text = unfinished.pop(thread)
            if not text.startswith(("fdatasync", "fsync")):
                continue
        elif re.search(r"= -1 E", text):
            continue
        yield from _call(text, folder)


def _call(text: str, folder: str) -> Iterator[Call]:
    name = text.partition("(")[0]
    texts = [bytes.fromhex(found.replace("\\x", "")) for found in _TEXT.findall(text)]
    files = [bytes.fromhex(found.replace("\\x", "")).decode() for found in _FD.findall(text)]
    inside = [_inside(path.decode(errors="replace"), folder) for path in texts[:2]]
    match name:
        case "openat" if inside and inside[0] and ("O_CREAT" in text):
            yield Call("create", inside[0])
        case "pwrite64" if (path := _inside(files[0], folder)) and not path.endswith("-shm"):
            yield Call("write", path, data=texts[0], offset=int(text.rpartition(", ")[2].split(")")[0]))
        case "write" if text.startswith("write(1<") and texts:
            yield Call("say", texts[0].decode().rstrip("\n"))
        case "ftruncate" if (path := _inside(files[0], folder)) and not path.endswith("-shm"):
            yield Call("truncate", path, offset=int(text.rpartition(", ")[2].split(")")[0]))
        case "fdatasync" | "fsync" if files[0] == folder:
            yield Call("sync folder")
        case "fdatasync" | "fsync" if path := _inside(files[0], folder):
            yield Call("sync", path)
        case "unlink" | "unlinkat" if inside and inside[-1]:
            yield Call("remove", inside[-1])
        case "rename" | "renameat" | "renameat2" if len(inside) > 1 and inside[0] and inside[1]:
            yield Call("move", inside[0], inside[1])
        case "link" | "linkat" if len(inside) > 1 and inside[0] and inside[1]:
            yield Call("link", inside[0], inside[1])


def _inside(path: str, folder: str) -> str:
    path = path.removesuffix(" (deleted)")
    return path[len(folder) + 1 :] if path.startswith(f"{folder}/") else ""


@dataclass
class _File:
    durable: bytearray = field(default_factory=bytearray)
    cached: list[Call] = field(default_factory=list)


class CachedDisk:
    """The state of the folder after each call, cache and platter. `lies`: its barriers do nothing (a red control)."""

    def __init__(self, *, lies: bool = False) -> None:
        self._lies = lies
        self._names: dict[str, _File] = {}  # as the program sees them
        self._durable: dict[str, _File] = {}
        self._moves: list[dict[str, _File]] = []  # the names after each change that no barrier covers

    def do(self, call: Call) -> None:
        """Take in the next call."""
        names = dict(self._names)
        match call.name:
            case "create":
                names.setdefault(call.path, _File())
            case "write" | "truncate":
                names[call.path].cached.append(call)
            case "sync" if not self._lies:
                file = names[call.path]
                for write in file.cached:
                    _apply(file.durable, write)
                file.cached.clear()
            case "sync folder" if not self._lies:
                self._durable = names
                self._moves.clear()
            case "move":
                names[call.to] = names.pop(call.path)
            case "link":
                names[call.to] = names[call.path]
            case "remove":
                names.pop(call.path, None)
        if names != self._names:
            self._names = names
            self._moves.append(names)

    def cut(self, folder: Path, chance: random.Random) -> None:
        """Write what a power cut leaves into a folder."""
        names = [self._durable, *self._moves][chance.randrange(len(self._moves) + 1)]
        most = chance.choice((0.0, 0.5, 0.9, 1.0))  # of the cache: nothing, half, most, all
        for name, file in names.items():
            content = bytearray(file.durable)
            for write in file.cached:
                if chance.random() < most:
                    _apply(content, write)
                elif write.name == "write" and chance.random() < 0.3:
                    _apply_torn(content, write, chance)
            (folder / name).write_bytes(content)


def _apply(content: bytearray, call: Call) -> None:
    if call.name == "truncate":
        content[call.offset :] = bytes(max(0, call.offset - len(content)))
        return
    content.extend(bytes(max(0, call.offset - len(content))))
    content[call.offset : call.offset + len(call.data)] = call.data


def _apply_torn(content: bytearray, call: Call, chance: random.Random) -> None:
    """Apply some of the sectors that a write touches."""
    at = call.offset
    while at < call.offset + len(call.data):
        end = min(at // SECTOR * SECTOR + SECTOR, call.offset + len(call.data))
        if chance.random() < 0.5:
            data = call.data[at - call.offset : end - call.offset]
            _apply(content, Call("write", data=data, offset=at))
        at = end
