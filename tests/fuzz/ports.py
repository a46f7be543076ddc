"""What a port says while the technician looks for it: recognition, from any bytes."""

from functools import reduce
from operator import xor

from firmware_sim.modbus import crc16
from gateway.fieldlink import framing
from gateway.fieldlink.framing import Decoder, Frame
from gateway.fieldlink.seal import Header, read_header
from gateway.sensing.recognise import (
    BYTES_MAX,
    TOLD_MAX,
    FieldLinkHeard,
    ModbusHeard,
    NmeaHeard,
    Noise,
    OsdpHeard,
    Silence,
    osdp_poll,
    recognised,
)
from tests.fuzz.target import Target
from tests.fuzz.vectors import wires

RMC = b"$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A\r\n"
REPLIES = (bytes.fromhex("5385080004400e8f"), bytes.fromhex("53850900044106c197"))
QUESTION = bytes.fromhex("010300000001840a")
WRITTEN = bytes.fromhex("0110000a000204000a0102")  # function 16
WRITTEN += crc16(WRITTEN)
HEARTBEAT = framing.encode(bytes.fromhex("13000c500042000000070000000000") + bytes(15))  # a head, and any seal


def ports(data: bytes) -> None:
    """One answer, which the bytes bear out; a sentence or a frame after them is found, and noise stays counted."""
    match recognised(data):
        case Silence():
            assert data == b""
        case Noise(count):
            assert count == len(data) > 0
            # Not behind a zero: that would end a frame of Field Link.
            assert isinstance(recognised(data + b"\n" + RMC), NmeaHeard) or len(data) + len(RMC) >= BYTES_MAX
        case FieldLinkHeard(frames, devices):
            heads = [read_header(found.body) for found in Decoder().feed(data) if isinstance(found, Frame)]
            known = [head.device for head in heads if isinstance(head, Header)]
            assert (len(known), set(devices) <= set(known), len(devices) <= TOLD_MAX) == (frames, True, True)
        case NmeaHeard(sentences, kinds):
            assert 0 < len(kinds) <= min(sentences, TOLD_MAX)
            for kind in kinds:
                bodies = [part.partition(b"*")[0] for part in data.replace(b"!", b"$").split(b"$" + kind.encode())[1:]]
                assert any(b"%02X" % reduce(xor, kind.encode() + body) in data.upper() for body in bodies)
        case OsdpHeard(addresses, asked):
            assert addresses or asked
            assert all(0 <= address <= 0x7F for address in addresses)
        case ModbusHeard(addresses):
            assert all(data.count(bytes([address])) > 1 for address in addresses)


TARGETS = (
    Target(
        "ports",
        ports,
        lambda: [
            *wires("field-link", "frames", "rejected"),
            RMC,
            RMC[30:] + b"!AIVDM,1,1,,A,13u?etPv2;0n:dDPwUM1U1Cb069D,0*24\r\n",
            framing.encode(b"no head"),
            HEARTBEAT[:-1],
            *REPLIES,
            osdp_poll(5) + REPLIES[0],
            QUESTION + b"\x01\x03\x02\0\x07\xf9\x86" + QUESTION,
            WRITTEN + WRITTEN,
            b"\x80\xfe",
        ],
        ("gateway.sensing.recognise",),
        words=(b"$GP", b"*", b"\x53", b"\xff\x53", QUESTION, *REPLIES, b"\0"),
    ),
)
