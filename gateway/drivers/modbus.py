"""Modbus RTU on a serial line and Modbus TCP: one question at a time, and its answer or what became of it.

pymodbus frames, checks and connects, without retries of its own: when a unit is asked again is decided in
`sensing.polling`. What can become of a question is told apart, because a technician mends each of them elsewhere: an
answer, an exception (the unit understood and refuses), silence, bytes that are no frame (CRC, echo, a second unit with
the same address), and a line that is gone.

pymodbus is imported when the first line is opened: a gateway without Modbus never loads it.
"""

import asyncio
import logging
import termios
import traceback
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from gateway.drivers.serial_port import no_line, try_open
from gateway.sensing.profile import COILS, DISCRETE, HOLDING, WRITE_COIL
from gateway.sensing.reply import Answer, Exceptional, Garbled, Gone, Reply, Silent
from gateway.text import _

if TYPE_CHECKING:
    from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient

TCP: Final = "tcp:"
TCP_PORT: Final = 502
CONNECT: Final = 3.0  # seconds for a TCP connection
QUIET: Final = 3.5  # characters of silence between two frames (Modbus over Serial Line V1.02, 2.5.1.1)
QUIET_MIN: Final = 0.00175  # seconds, the same above 19 200 baud
DEAF: Final = 5  # questions in a row without a byte, after which a TCP connection is made anew


class Master:
    """The one that asks on a line: `device` is a serial port's path, or `tcp:host` or `tcp:host:port`."""

    def __init__(self, device: str, baud: int, parity: str, stop_bits: int, timeout: float) -> None:
        self.device = device
        self._baud = baud
        self._parity = parity
        self._stop_bits = stop_bits
        self._timeout = timeout
        self._client: AsyncModbusSerialClient | AsyncModbusTcpClient | None = None
        self._heard = b""
        self._sent = b""
        self._deaf = 0
        self._connected = False

    async def open(self) -> str | None:
        """Open the line; return why it can't be, in words, or None."""
        from pymodbus.client import (  # noqa: PLC0415  # a gateway without Modbus starts without it
            AsyncModbusSerialClient,
            AsyncModbusTcpClient,
        )

        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # each timeout is an error to it; we tell them once
        self.close()
        common: dict[str, Any] = {
            "retries": 0,
            "reconnect_delay": 0,
            "trace_packet": self._trace,
            "trace_connect": self._trace_connect,
        }
        if self.tcp:
            host, port = address(self.device)
            self._client = AsyncModbusTcpClient(host, port=port, timeout=CONNECT, **common)
        elif no_line(self.device):
            return try_open(self.device, self._baud)
        else:
            self._client = AsyncModbusSerialClient(
                self.device,
                baudrate=self._baud,
                parity=self._parity[0].upper(),
                stopbits=self._stop_bits,
                timeout=CONNECT,
                **common,
            )
        client = self._client
        client.set_max_no_responses(2**31)  # a dead unit is no reason to lose the line
        client.ctx.callback_data = _guarded(client.ctx.callback_data)  # type: ignore[method-assign]
        try:
            async with asyncio.timeout(CONNECT):
                opened = await client.connect()
        except (TimeoutError, OSError, ValueError):
            opened = False
        except termios.error as error:  # a Pi's mini UART has no parity
            traceback.clear_frames(error.__traceback__)  # in one of them pymodbus has left the port, open
            self.close()
            text = _("{device} can't do {baud} baud with {parity}: take another port, or another setting")
            return text.format(device=self.device, baud=self._baud, parity=parity_words(self._parity))
        if not opened:
            self.close()
            if self.tcp:
                text = _("{device} can't be reached: is it switched on, and is this its address?")
                return text.format(device=self.device)
            return try_open(self.device, self._baud) or _("{device} can't be opened").format(device=self.device)
        client.ctx.comm_params.timeout_connect = self._timeout  # pymodbus's name of the time for an answer, too
        self._deaf = 0
        return None

    @property
    def tcp(self) -> bool:
        """Whether it is no serial line."""
        return self.device.startswith(TCP)

    async def read(self, unit: int, function: int, register: int, count: int) -> Reply:
        """Ask for registers or bits."""
        client = self._client
        if client is None:
            return self._gone()
        if function == COILS:
            ask = client.read_coils
        elif function == DISCRETE:
            ask = client.read_discrete_inputs
        else:
            ask = client.read_holding_registers if function == HOLDING else client.read_input_registers
        found = await self._ask(lambda: ask(register, count=count, device_id=unit))
        if not isinstance(found, Exceptional | Silent | Garbled | Gone):
            values = tuple(int(value) for value in (found.bits if function in (COILS, DISCRETE) else found.registers))
            # Bits come in whole bytes; of registers there are as many as were asked for, or it is another's answer.
            return Answer(values[:count]) if len(values) >= count else Garbled()
        return found

    async def write(self, unit: int, function: int, register: int, value: int) -> Reply:
        """Write one coil (0 or 1) or one register."""
        client = self._client
        if client is None:
            return self._gone()
        if function == WRITE_COIL:
            found = await self._ask(lambda: client.write_coil(register, bool(value), device_id=unit))
        else:
            found = await self._ask(lambda: client.write_register(register, value, device_id=unit))
        return found if isinstance(found, Exceptional | Silent | Garbled | Gone) else Answer(())

    async def _ask(self, question: Callable[[], Awaitable[Any]]) -> Any:
        """Return pymodbus's answer, or what became of the question."""
        from pymodbus.exceptions import ModbusException  # noqa: PLC0415  # loaded by `open`
        from pymodbus.pdu import ExceptionResponse  # noqa: PLC0415

        self._heard = self._sent = b""
        if not self.tcp:
            await asyncio.sleep(max(QUIET_MIN, QUIET * 11 / self._baud))
        try:
            found = await question()
        except (ModbusException, TimeoutError, OSError):
            return await self._unanswered()
        if not self._connected:
            return self._gone()
        self._deaf = 0
        return Exceptional(found.exception_code) if isinstance(found, ExceptionResponse) else found

    async def _unanswered(self) -> Reply:
        if not self._connected:
            return self._gone()
        if self._heard:
            self._deaf = 0
            return Garbled(echo=bool(self._sent) and self._heard.startswith(self._sent))
        self._deaf += 1
        if self.tcp and self._deaf >= DEAF:  # its other end may be long gone: nothing else would tell
            reason = await self.open()
            return Silent() if reason is None else Gone(reason)
        return Silent()

    def _gone(self) -> Gone:
        text = _("{device} closed the connection") if self.tcp else _("{device} was unplugged")
        return Gone(text.format(device=self.device))

    def _trace(self, sending: bool, data: bytes) -> bytes:
        if sending:
            self._sent = data
        else:
            self._heard = data  # all since the question
        return data

    def _trace_connect(self, connected: bool) -> None:
        self._connected = connected

    def close(self) -> None:
        """Let go of the line."""
        client, self._client = self._client, None
        self._connected = False
        if client is not None:
            client.close()


def _guarded(hear: Callable[..., int]) -> Callable[..., int]:
    """Return what hears, and lets no answer that is well framed but wrong inside through to the event loop."""
    from pymodbus.exceptions import ModbusException  # noqa: PLC0415  # loaded by `open`

    def heard(data: bytes, addr: Any = None) -> int:
        try:
            return hear(data, addr)
        except ModbusException:
            return len(data)

    return heard


def parity_words(parity: str) -> str:
    """Return a parity of the settings as people say it."""
    return {"none": _("no parity"), "even": _("even parity")}.get(parity, _("odd parity"))


def address(device: str) -> tuple[str, int]:
    """Return the host and port of a `tcp:` device; raises ValueError if it names none."""
    host, _colon, port = device.removeprefix(TCP).partition(":")
    if not host:
        raise ValueError(device)
    number = int(port) if port else TCP_PORT
    if not 1 <= number <= 65_535:
        raise ValueError(device)
    return host, number
