"""A GPIO chip for real processes: the kernel's uAPI v2, played over a Unix socket.

    async with GpioChip(folder / "gpiochip0", names={5: "BUTTON"}) as chip:
        gateway.environment |= preload.environment(folder)   # and in its settings: chip = "<folder>/gpiochip0"
        chip.drive(5, 0)                            # the contact closes to ground
        chip.outputs                                # {6: 1}: what the gateway drives, as a meter on the pin reads it

The program under test is started with `LD_PRELOAD` (preload/gpiochip.c), which takes every ioctl here. Modelled: line
names, who holds what, bias, active level, edges with monotonic times, debounce, sequence numbers, and a buffer that
drops its oldest edges in silence. Closing the chip is what unplugging one is.

It is a model of what linux/Documentation/userspace-api/gpio says, not the kernel (docs/decisions/0038). Source:
linux/gpio.h.
"""

import array
import asyncio
import errno
import fcntl
import os
import socket
import struct
import termios
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Self

LINES: Final = 32
_ACTIVE_LOW, _INPUT, _OUTPUT, _RISING, _FALLING = 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5
_USED, _PULL_UP, _REALTIME = 1 << 0, 1 << 8, 1 << 11
_FLAGS, _VALUES, _DEBOUNCE = 1, 2, 3  # attributes
_CHIP_INFO, _LINE_INFO, _REQUEST, _SET_CONFIG, _GET, _SET = 0x01, 0x05, 0x07, 0x0D, 0x0E, 0x0F
_CHIP: Final = struct.Struct("32s32sI")
_INFO: Final = struct.Struct("32s32sIIQ")  # then ten attributes of 16 bytes, and padding
_INFO_BYTES: Final = 256
_ATTRIBUTE: Final = struct.Struct("IIQ")
_CONFIG: Final = struct.Struct("QI20x")
_CONFIG_ATTRIBUTE: Final = struct.Struct("IIQQ")
_REQUEST_HEAD: Final = struct.Struct("64I32s")
_REQUEST_TAIL: Final = struct.Struct("II20xi")
_LINES_VALUES: Final = struct.Struct("QQ")
_EDGE: Final = struct.Struct("QIIII24x")
_CONFIG_BYTES: Final = 272
_UNREAD: Final = 16  # edges kept for a line that asks for no other number


@dataclass(slots=True)
class _Held:
    """A line that somebody holds."""

    request: "_Request"
    flags: int = 0
    debounce: float = 0.0  # seconds
    level: int = 0  # physical, as the debouncer has it
    seqno: int = 0
    settling: asyncio.TimerHandle | None = None


@dataclass(slots=True)
class _Request:
    """One request for lines: its ioctls' socket, and the pipe that edges go into."""

    consumer: bytes
    offsets: tuple[int, ...]
    unread: int
    control: socket.socket
    pipe: tuple[int, int]
    seqno: int = 0
    lines: dict[int, _Held] = field(default_factory=dict)


class GpioChip:
    """One chip at `path`, whose file name begins with "gpiochip"; `names` are its lines'."""

    def __init__(self, path: Path, *, lines: int = LINES, names: Mapping[int, str] | None = None) -> None:
        assert path.name.startswith("gpiochip"), path
        self.path = path
        self.outputs: dict[int, int] = {}  # what somebody drives, physical; what was driven last stays
        self.changes: list[tuple[int, int, int]] = []  # line, level, monotonic ns: all that was driven
        self._lines = lines
        self._names = dict(names or {})
        self._driven: dict[int, int | None] = {}
        self._held: dict[int, _Held] = {}
        self._requests: list[_Request] = []
        self._callers: list[socket.socket] = []
        self._listening: socket.socket | None = None

    async def __aenter__(self) -> Self:
        self.plug()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.unplug()

    def plug(self) -> None:
        """Be there."""
        self.path.unlink(missing_ok=True)
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listening.setblocking(False)
        self._listening.bind(str(self.path))
        self._listening.listen()
        asyncio.get_running_loop().add_reader(self._listening, self._accept)

    def unplug(self) -> None:
        """Be gone: whoever holds a line gets an error."""
        if self._listening is None:
            return
        self.path.unlink(missing_ok=True)
        for request in list(self._requests):
            self._release(request)
        for caller in list(self._callers):
            self._hang_up(caller)
        asyncio.get_running_loop().remove_reader(self._listening)
        self._listening.close()
        self._listening = None

    # The world outside.

    def drive(self, line: int, level: int | None) -> None:
        """Connect a line to ground (0) or supply (1), or let it float (None): then its bias decides."""
        self._driven[line] = level
        if (held := self._held.get(line)) is not None:
            self._moved(line, held)

    def level(self, line: int) -> int:
        """What a meter on the pin reads."""
        held, driven = self._held.get(line), self._driven.get(line)
        if line in self.outputs and (held is None or held.flags & _OUTPUT):
            return self.outputs[line]
        return driven if driven is not None else int(held is not None and bool(held.flags & _PULL_UP))

    def holder(self, line: int) -> str | None:
        """Who holds a line."""
        held = self._held.get(line)
        return None if held is None else held.request.consumer.rstrip(b"\0").decode(errors="replace")

    # Edges.

    def _moved(self, line: int, held: _Held) -> None:
        if held.flags & _OUTPUT:
            return
        if held.debounce == 0:
            self._settled(line, held)
            return
        if held.settling is not None:
            held.settling.cancel()
        held.settling = asyncio.get_running_loop().call_later(held.debounce, self._settled, line, held)

    def _settled(self, line: int, held: _Held) -> None:
        held.settling = None
        level = self.level(line)
        if level == held.level:
            return
        held.level = level
        rising = bool(level) != bool(held.flags & _ACTIVE_LOW)
        if not held.flags & (_RISING if rising else _FALLING):
            return
        request = held.request
        request.seqno += 1
        held.seqno += 1
        at = time.time_ns() if held.flags & _REALTIME else time.monotonic_ns()
        edge = _EDGE.pack(at, 1 if rising else 2, line, request.seqno, held.seqno)
        reading, writing = request.pipe
        while _waiting(reading) >= request.unread * _EDGE.size:  # the oldest goes, and only its number tells
            with suppress(BlockingIOError):
                os.read(reading, _EDGE.size)
        with suppress(BrokenPipeError):
            os.write(writing, edge)

    # The kernel's side of the ioctls.

    def _accept(self) -> None:
        assert self._listening is not None
        caller, _ = self._listening.accept()
        self._callers.append(caller)
        asyncio.get_running_loop().add_reader(caller, partial(self._asked, caller, None))

    def _hang_up(self, caller: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(caller)
        caller.close()
        if caller in self._callers:
            self._callers.remove(caller)

    def _asked(self, caller: socket.socket, request: _Request | None) -> None:
        try:
            message = caller.recv(4096)
        except ConnectionError:
            message = b""
        if len(message) < 4:  # it was closed
            if request is None:
                self._hang_up(caller)
            else:
                self._release(request)
            return
        number, argument = int.from_bytes(message[:4], "little") & 0xFF, message[4:]
        fds: list[int] = []
        try:
            if request is None:
                answer, fds = self._of_the_chip(number, argument)
            else:
                answer = self._of_lines(request, number, argument)
        except OSError as error:
            answer, failed = argument, error.errno or errno.EIO
        else:
            failed = 0
        try:
            if fds:
                socket.send_fds(caller, [failed.to_bytes(4, "little") + answer], fds)
            else:
                caller.send(failed.to_bytes(4, "little") + answer)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has gone meanwhile; its end is read next
        finally:
            for fd in fds:  # the caller has its own now, or never will
                os.close(fd)

    def _of_the_chip(self, number: int, argument: bytes) -> tuple[bytes, list[int]]:
        for request in list(self._requests):  # what was given back before this was asked is free, as in the kernel
            with suppress(BlockingIOError):
                if not _peek(request.control):
                    self._release(request)
        match number:
            case n if n == _CHIP_INFO:
                return _CHIP.pack(self.path.name[:31].encode(), b"firmware-sim", self._lines), []
            case n if n == _LINE_INFO:
                return self._line_info(_INFO.unpack_from(argument)[2]), []
            case n if n == _REQUEST:
                return self._request(argument)
        raise OSError(errno.ENOTTY, "not of a chip")

    def _line_info(self, line: int) -> bytes:
        if line >= self._lines:
            raise OSError(errno.EINVAL, "no such line")
        held = self._held.get(line)
        name = self._names.get(line, "").encode()[:31]
        if held is None:
            return _INFO.pack(name, b"", line, 0, _INPUT).ljust(_INFO_BYTES, b"\0")
        debounce = _ATTRIBUTE.pack(_DEBOUNCE, 0, round(held.debounce * 1e6)) if held.debounce else b""
        info = _INFO.pack(name, held.request.consumer, line, int(bool(debounce)), held.flags | _USED)
        return (info + debounce).ljust(_INFO_BYTES, b"\0")

    def _request(self, argument: bytes) -> tuple[bytes, list[int]]:
        *places, consumer = _REQUEST_HEAD.unpack_from(argument)
        config = argument[_REQUEST_HEAD.size : _REQUEST_HEAD.size + _CONFIG_BYTES]
        count, unread, _ = _REQUEST_TAIL.unpack_from(argument, _REQUEST_HEAD.size + _CONFIG_BYTES)
        offsets = tuple(places[:count])
        if not offsets or len(set(offsets)) < count or any(line >= self._lines for line in offsets):
            raise OSError(errno.EINVAL, "lines")
        if any(line in self._held for line in offsets):
            raise OSError(errno.EBUSY, "held")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        reading, writing = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(writing, False)
        # For dropping the oldest edges, the pipe opened once more: the program's end may block.
        dropping = os.open(f"/proc/self/fd/{reading}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        request = _Request(consumer, offsets, unread or _UNREAD * count, ours, (dropping, writing))
        for line in offsets:
            request.lines[line] = self._held[line] = _Held(request)
        self._requests.append(request)
        self._configure(request, config)
        asyncio.get_running_loop().add_reader(ours, partial(self._asked, ours, request))
        return argument, [reading, theirs.detach()]

    def _configure(self, request: _Request, config: bytes) -> None:
        flags, attributes = _CONFIG.unpack_from(config)
        found = [
            _CONFIG_ATTRIBUTE.unpack_from(config, _CONFIG.size + index * _CONFIG_ATTRIBUTE.size)
            for index in range(attributes)
        ]
        for index, line in enumerate(request.offsets):
            held = request.lines[line]
            held.flags, held.debounce = flags, 0.0
            for attribute, _, value, mask in found:
                if mask >> index & 1:
                    if attribute == _FLAGS:
                        held.flags = value
                    elif attribute == _DEBOUNCE:
                        held.debounce = (value & 0xFFFFFFFF) / 1e6
            if held.flags & _OUTPUT:
                values = [value for attribute, _, value, mask in found if attribute == _VALUES and mask >> index & 1]
                self._put(line, held, values[0] >> index & 1 if values else 0)
            else:
                self.outputs.pop(line, None)
                held.level = self.level(line)

    def _of_lines(self, request: _Request, number: int, argument: bytes) -> bytes:
        if number == _SET_CONFIG:
            self._configure(request, argument)
            return argument
        bits, mask = _LINES_VALUES.unpack(argument)
        asked = [(index, line, request.lines[line]) for index, line in enumerate(request.offsets) if mask >> index & 1]
        if number == _GET:
            values = sum(
                ((self.level(line) if held.flags & _OUTPUT else held.level) != bool(held.flags & _ACTIVE_LOW)) << index
                for index, line, held in asked
            )
            return _LINES_VALUES.pack(values, mask)
        if number == _SET:
            if any(not held.flags & _OUTPUT for _, _, held in asked):
                raise OSError(errno.EPERM, "an input")
            for index, line, held in asked:
                self._put(line, held, bits >> index & 1)
            return argument
        raise OSError(errno.ENOTTY, "not of lines")

    def _put(self, line: int, held: _Held, active: int) -> None:
        level = int(bool(active) != bool(held.flags & _ACTIVE_LOW))
        if self.outputs.get(line) != level:
            self.outputs[line] = level
            self.changes.append((line, level, time.monotonic_ns()))

    def _release(self, request: _Request) -> None:
        asyncio.get_running_loop().remove_reader(request.control)
        request.control.close()
        for fd in request.pipe:
            os.close(fd)
        for line, held in request.lines.items():
            if held.settling is not None:
                held.settling.cancel()
            del self._held[line]
        self._requests.remove(request)


def _peek(control: socket.socket) -> bytes:
    try:
        return control.recv(1, socket.MSG_PEEK)
    except ConnectionError:
        return b""


def _waiting(pipe: int) -> int:
    """Return how many bytes nobody has read."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]
