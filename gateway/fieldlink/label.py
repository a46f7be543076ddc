"""Device labels: the QR code and the text below it, from which a technician enrols a device.

`C5D1:<device id>:<model>:<key, base32>:<CRC16>`. The key on it is in the device and nowhere else until it is scanned,
so a label is never logged, and its key never shown.

Source: wire.md, section 1, "Identity and label".
"""

import re
from base64 import b32decode, b32encode
from dataclasses import dataclass, field
from typing import Final

from gateway.errors import Refused
from gateway.fieldlink.framing import crc16

KEY_BYTES: Final = 16
_FORM: Final = re.compile(r"C5D1:([0-9a-f]{8}):([A-Z0-9-]{1,16}):([A-Z2-7]{26}):([0-9a-f]{4})", re.ASCII)
_PADDING: Final = "======"  # what base32 leaves out of 16 bytes


@dataclass(frozen=True, slots=True)
class Label:
    """What a device's label says: who it is, what it is, and its key."""

    device: str
    model: str
    key: bytes = field(repr=False)


def parse(text: str) -> Label | Refused:
    """Read a label's text, which must be exact: a mistyped letter fails the check."""
    match = _FORM.fullmatch(text)
    if match is None:
        return Refused("not C5D1:id:model:key:check (the key has letters A to Z, digits 2 to 7)")
    device, model, key_text, check = match.groups()
    if f"{crc16(text.rpartition(':')[0].encode()):04x}" != check:
        return Refused("the label's check does not match")
    if device == "00000000":
        return Refused("00000000 is no device id")
    label = Label(device, model, b32decode(key_text + _PADDING))
    if render(label) != text:
        return Refused("the label's key is not in its shortest form")
    return label


def render(label: Label) -> str:
    """Return the label's text. It holds the key."""
    key_text = b32encode(label.key).decode().rstrip("=")
    said = f"C5D1:{label.device}:{label.model}:{key_text}"
    return f"{said}:{crc16(said.encode()):04x}"
