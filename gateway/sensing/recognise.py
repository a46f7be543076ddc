"""What talks on a serial port, from the bytes alone: Field Link, NMEA 0183, OSDP, Modbus RTU; else noise, or silence.

Only what carries a check is believed: a CRC or a checksum that is right, in a frame whose head makes sense. Bytes at a
wrong rate are noise, and noise is no frame. Nothing of it is proven: whose device it is, is told by its key alone.

    Field Link   wire.md, section 1
    NMEA 0183    $ or !, an address of letters and digits, *, the XOR of what is between as two hex digits
    OSDP         SOM 0x53, address (with bit 7: a reply), length, control, content, CRC-16 that begins with 0x1D0F
                 (IEC 60839-11-5, as SIA OSDP 2.2: packet format, osdp_POLL, osdp_NAK)
    Modbus RTU   the questions of another master: address, function 1 to 6, two words, CRC-16 (Modbus over Serial Line
                 V1.02, 2.5.1), or function 15, 16 or 23 and the values that it writes, as many as it says (Modbus
                 Application Protocol V1.1b3, 6.11, 6.12, 6.17); one alone is nothing: an address and function have to
                 come twice

A checksum of eight bits is right by chance once in 256 times: OSDP with a checksum in the place of its CRC isn't known.
"""

import re
from binascii import crc_hqx
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import xor
from typing import Final, TypeVar

from gateway.fieldlink.framing import Decoder, Frame
from gateway.fieldlink.seal import Header, read_header

T = TypeVar("T", int, str)

TOLD_MAX: Final = 16  # devices, kinds of sentences or addresses that are told of one port
BYTES_MAX: Final = 65_536  # that are looked at: six seconds of a port at 115 200 baud
_SENTENCE: Final = re.compile(rb"[$!]([A-Z][A-Z0-9]{2,9})((?:,[ -)+-~]{0,200})?)\*([0-9A-Fa-f]{2})")
_QUESTION: Final = re.compile(rb"(?s)(?=([\x01-\xf7][\1-\6].{6}))")
_WRITING: Final = re.compile(rb"(?s)(?=[\x01-\xf7](?:[\x0f\x10]..|\x17.{6})(..)(.))")  # so many values, so many bytes

_OF_GNSS: Final = frozenset({"RMC", "GGA", "ZDA"})

SOM: Final = 0x53
BROADCAST: Final = 0x7F  # of OSDP: whoever is there answers
_REPLY: Final = 0x80
_CRC: Final = 0x04  # in the control byte: a CRC-16 at the end, not a checksum
_POLL, _NAK = 0x60, 0x41
_HEAD: Final = 5  # bytes before the command or the reply
_LEAST, _MOST = _HEAD + 3, 1440  # bytes of a packet
_COILS: Final = 0x0F  # the function that writes bits
_SECURE: Final = (b"\5", b"\6")  # reasons of a NAK: it speaks over a secure channel alone


@dataclass(frozen=True, slots=True)
class FieldLinkHeard:
    """Frames of these devices: `frames` of them, with a right CRC and a head that makes sense."""

    frames: int
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NmeaHeard:
    """Sentences with a right checksum; their talkers and types, as GPRMC."""

    sentences: int
    kinds: tuple[str, ...]

    @property
    def gnss(self) -> bool:
        """Whether a receiver of satellites speaks: compasses, weather stations and AIS speak NMEA 0183 too."""
        return any(kind[0] != "P" and kind[2:] in _OF_GNSS for kind in self.kinds)


@dataclass(frozen=True, slots=True)
class OsdpHeard:
    """Packets of OSDP: the addresses that replied; `asked`: a controller asks there already."""

    addresses: tuple[int, ...]
    asked: bool
    secure: bool = False  # one replied that it speaks over a secure channel alone


@dataclass(frozen=True, slots=True)
class ModbusHeard:
    """Another master asks these addresses."""

    addresses: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Noise:
    """So many bytes, and nothing in them that is known."""

    count: int


@dataclass(frozen=True, slots=True)
class Silence:
    """Not a byte."""


Heard = FieldLinkHeard | NmeaHeard | OsdpHeard | ModbusHeard | Noise | Silence


def recognised(data: bytes) -> Heard:
    """Return what these bytes are, as they came off a line at one rate."""
    if not data:
        return Silence()
    looked = data[:BYTES_MAX]
    return _field_link(looked) or _nmea(looked) or _osdp(looked) or _modbus(looked) or Noise(len(data))


def _field_link(data: bytes) -> FieldLinkHeard | None:
    heads = [read_header(found.body) for found in Decoder().feed(data) if isinstance(found, Frame)]
    devices = Counter(head.device for head in heads if isinstance(head, Header))
    return FieldLinkHeard(devices.total(), _first(devices)) if devices else None


def _nmea(data: bytes) -> NmeaHeard | None:
    kinds: Counter[str] = Counter()
    for address, rest, check in _SENTENCE.findall(data):
        if reduce(xor, address + rest) == int(check, 16):
            kinds[address.decode()] += 1
    return NmeaHeard(kinds.total(), _first(kinds)) if kinds else None


def _osdp(data: bytes) -> OsdpHeard | None:
    packets = list(_packets(data))
    replies = [packet for packet in packets if packet[1] & _REPLY]
    secure = any(packet[_HEAD] == _NAK and packet[_HEAD + 1 : -2][:1] in _SECURE for packet in replies)
    addresses = _first(Counter(packet[1] & ~_REPLY for packet in replies))
    return OsdpHeard(addresses, len(replies) < len(packets), secure) if packets else None


def _packets(data: bytes) -> Iterator[bytes]:
    at = data.find(SOM)
    while at >= 0:
        length = int.from_bytes(data[at + 2 : at + 4], "little")
        packet = data[at : at + length] if _LEAST <= length <= min(_MOST, len(data) - at) else b""
        if packet and packet[4] & _CRC and _crc(packet[:-2]) == packet[-2:]:
            yield packet
            at = data.find(SOM, at + length)
        else:
            at = data.find(SOM, at + 1)


def _modbus(data: bytes) -> ModbusHeard | None:
    asked: Counter[tuple[int, int]] = Counter()
    for question in _questions(data):
        if not _modbus_crc(question):  # over its own CRC it is zero
            asked[question[0], question[1]] += 1
    often = Counter(address for (address, _function), times in asked.items() if times > 1)
    return ModbusHeard(_first(often)) if often else None


def _questions(data: bytes) -> Iterator[bytes]:
    """Yield what would be a question if its CRC were right."""
    for found in _QUESTION.finditer(data):
        yield found[1]
    for found in _WRITING.finditer(data):
        values, size = int.from_bytes(found[1], "big"), found[2][0]
        if size == ((values + 7) // 8 if data[found.start() + 1] == _COILS else 2 * values):
            yield data[found.start() : found.end(2) + size + 2]


def _modbus_crc(data: bytes) -> int:
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _bit in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc


def osdp_poll(address: int) -> bytes:
    """Return osdp_POLL in clear, with sequence 0, by which a peripheral begins anew; after a byte of mark."""
    packet = bytes((SOM, address, _LEAST, 0, _CRC, _POLL))
    return b"\xff" + packet + _crc(packet)


def _crc(data: bytes) -> bytes:
    return crc_hqx(data, 0x1D0F).to_bytes(2, "little")


def _first(counted: Counter[T]) -> tuple[T, ...]:
    return tuple(sorted(counted)[:TOLD_MAX])
