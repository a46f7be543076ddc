"""GPIO lines by the kernel's character device: the one home of libgpiod.

A line is requested for itself, and its request's descriptor waits on the event loop. The kernel debounces, numbers the
edges of each line from 1 (`line_seqno`) and stamps them with its monotonic clock. Of an unread buffer it drops the
oldest edges in silence: only a gap in the numbers tells.

What fails is an `OSError`, as the kernel's own: EBUSY carries the name of who holds the line, ECHRNG says that the chip
has no such line. A simulated chip stands behind the same `Chip`.

Source: linux/Documentation/userspace-api/gpio/chardev.rst; libgpiod 2.
"""

import asyncio
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Final, Literal, Protocol

import gpiod
from gpiod.line import Bias, Clock, Direction, Value
from gpiod.line import Edge as Edges

CONSUMER: Final = "c5-gateway"  # what `gpioinfo` shows of a line that we hold
UNREAD_MAX: Final = 256  # edges that the kernel keeps for us: ten seconds of a contact that flutters at 25 Hz
DRAINED_MAX: Final = 4  # times that its buffer is read before the event loop has its turn
BIASES: Final = {
    "as-is": Bias.AS_IS,
    "pull-up": Bias.PULL_UP,
    "pull-down": Bias.PULL_DOWN,
    "disabled": Bias.DISABLED,
}

BiasName = Literal["as-is", "pull-up", "pull-down", "disabled"]
Edge = tuple[int, bool, int]  # the kernel's monotonic time in ns, whether the line is active since, its number


class Input(Protocol):
    """An input line that is ours."""

    def level(self) -> bool:
        """Hand over what edges there are, then say whether the line is active. Raises OSError."""

    def close(self) -> None:
        """Give it back."""


class Output(Protocol):
    """An output line that is ours."""

    def put(self, active: bool) -> None:
        """Set it. Raises OSError."""

    def check(self) -> None:
        """Raise OSError if the line is gone."""

    def close(self) -> None:
        """Give it back; what it drives then is the chip's affair (docs/operate/gpio.md)."""


class Chip(Protocol):
    """Where lines come from, by their chip's path, and their number there or their name."""

    def input(
        self,
        path: str,
        line: int | str,
        *,
        active_low: bool,
        bias: BiasName,
        debounce_ms: int,
        edges: Callable[[Sequence[Edge]], None],
        failed: Callable[[OSError], None],
    ) -> Input:
        """Take a line; its edges are handed over as the event loop comes round. Raises OSError."""

    def output(self, path: str, line: int | str, *, active_low: bool) -> Output:
        """Take a line and set it inactive in the same moment. Raises OSError."""


class Gpiod:
    """This machine's chips."""

    def input(
        self,
        path: str,
        line: int | str,
        *,
        active_low: bool,
        bias: BiasName,
        debounce_ms: int,
        edges: Callable[[Sequence[Edge]], None],
        failed: Callable[[OSError], None],
    ) -> "HeldInput":
        """Take a line; its edges are handed over as the event loop comes round. Raises OSError."""
        settings = gpiod.LineSettings(
            direction=Direction.INPUT,
            edge_detection=Edges.BOTH,
            bias=BIASES[bias],
            active_low=active_low,
            debounce_period=timedelta(milliseconds=debounce_ms),
            event_clock=Clock.MONOTONIC,
        )
        return HeldInput(*_request(path, line, settings), edges, failed)

    def output(self, path: str, line: int | str, *, active_low: bool) -> "HeldOutput":
        """Take a line and set it inactive in the same moment. Raises OSError."""
        settings = gpiod.LineSettings(direction=Direction.OUTPUT, active_low=active_low, output_value=Value.INACTIVE)
        return HeldOutput(*_request(path, line, settings))


class HeldInput:
    """An input line that is ours, read whenever the event loop says that there is an edge."""

    def __init__(
        self,
        request: gpiod.LineRequest,
        offset: int,
        edges: Callable[[Sequence[Edge]], None],
        failed: Callable[[OSError], None],
    ) -> None:
        self._request = request
        self._offset = offset
        self._edges = edges
        self._failed = failed
        os.set_blocking(request.fd, False)
        asyncio.get_running_loop().add_reader(request.fd, self._readable)

    def level(self) -> bool:
        """Hand over what edges there are, then say whether the line is active. Raises OSError."""
        self._drain()
        with _as_errors():
            return bool(self._request.get_value(self._offset))

    def close(self) -> None:
        """Give the line back; again is nothing."""
        if self._request:
            asyncio.get_running_loop().remove_reader(self._request.fd)
            self._request.release()

    def _readable(self) -> None:
        try:
            self._drain()
        except OSError as error:
            self._failed(error)

    def _drain(self) -> None:
        for _turn in range(DRAINED_MAX):  # what comes faster than that is read when the loop has come round
            if not self._request:  # whoever was told has given the line back
                return
            try:
                with _as_errors():
                    events = self._request.read_edge_events(UNREAD_MAX)
            except BlockingIOError:
                return
            self._edges(
                [(event.timestamp_ns, event.event_type is event.Type.RISING_EDGE, event.line_seqno) for event in events]
            )


class HeldOutput:
    """An output line that is ours."""

    def __init__(self, request: gpiod.LineRequest, offset: int) -> None:
        self._request = request
        self._offset = offset

    def put(self, active: bool) -> None:
        """Set it. Raises OSError."""
        with _as_errors():
            self._request.set_value(self._offset, Value.ACTIVE if active else Value.INACTIVE)

    def check(self) -> None:
        """Raise OSError if the line is gone."""
        with _as_errors():
            self._request.get_value(self._offset)

    def close(self) -> None:
        """Give it back."""
        self._request.release()


def _request(path: str, line: int | str, settings: gpiod.LineSettings) -> tuple[gpiod.LineRequest, int]:
    unread = UNREAD_MAX if settings.direction is Direction.INPUT else None
    with _as_errors(), gpiod.Chip(path) as chip:
        offset = _offset(chip, line)
        try:
            return chip.request_lines({offset: settings}, consumer=CONSUMER, event_buffer_size=unread), offset
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            raise OSError(errno.EBUSY, chip.get_line_info(offset).consumer) from error


@contextmanager
def _as_errors() -> Iterator[None]:
    """Raise as the kernel's error what the library makes of EINVAL and EOPNOTSUPP."""
    try:
        yield
    except (ValueError, NotImplementedError) as error:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL)) from error


def holder(path: str, line: int | str) -> tuple[int, str | None]:
    """Return a line's number, and who holds it ("" if they have no name) or None. Raises OSError."""
    with _as_errors(), gpiod.Chip(path) as chip:
        info = chip.get_line_info(_offset(chip, line))
        return info.offset, info.consumer if info.used else None


def _offset(chip: gpiod.Chip, line: int | str) -> int:
    try:
        return chip.line_offset_from_id(line)
    except (FileNotFoundError, ValueError) as error:
        raise OSError(errno.ECHRNG, os.strerror(errno.ECHRNG)) from error
