"""What talks on a port is told from literal bytes: each kind whole, at the end of noise, and never from noise alone."""

import random

import pytest

from firmware_sim.modbus import crc16
from gateway.fieldlink import framing
from gateway.sensing.recognise import (
    BYTES_MAX,
    FieldLinkHeard,
    Heard,
    ModbusHeard,
    NmeaHeard,
    Noise,
    OsdpHeard,
    Silence,
    osdp_poll,
    recognised,
)

HEARTBEAT = framing.encode(bytes.fromhex("13000c500042000000070000000000") + bytes(15))  # a head, and any seal
RMC = b"$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A\r\n"
GGA = b"$GNGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*59\r\n"
UBX = b"$PUBX,41,1,0003,0003,9600,0*14\r\n"
ACK = bytes.fromhex("5385080004400e8f")  # what libosdp's peripheral with address 5 replies
REFUSED = bytes.fromhex("53850900044106c197")  # the same where a secure channel is enforced
QUESTION = bytes.fromhex("010300000001840a")
# The examples of functions 15, 16 and 23 in Modbus Application Protocol V1.1b3: 10 coils, two and three registers.
COILS = bytes.fromhex("010f0013000a02cd01")
COILS += crc16(COILS)
REGISTERS = bytes.fromhex("0110000100020400 0a0102")
REGISTERS += crc16(REGISTERS)
BOTH = bytes.fromhex("011700030006000e00030600ff00ff00ff")
BOTH += crc16(BOTH)


@pytest.mark.parametrize(
    ("kinds", "gnss"),
    [
        (("GNGSV", "GNRMC"), True), (("BDZDA",), True), (("GPGGA",), True), (("AIVDM",), False), (("HCHDG",), False),
        (("WIMWV", "WIXDR"), False), (("PGRMC",), False),
    ],
)  # fmt: skip
def test_not_all_that_speaks_nmea_is_a_gnss_receiver(kinds: tuple[str, ...], *, gnss: bool) -> None:
    assert NmeaHeard(9, kinds).gnss is gnss


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", Silence()),
        (HEARTBEAT, FieldLinkHeard(1, ("0c500042",))),
        (b"\xff\x00\x80\0" + HEARTBEAT * 3, FieldLinkHeard(3, ("0c500042",))),
        (framing.encode(b"a frame, and no head of ours"), Noise(32)),
        (HEARTBEAT[:10] + b"\x7e" + HEARTBEAT[11:], Noise(len(HEARTBEAT))),
        (RMC + GGA + GGA, NmeaHeard(3, ("GNGGA", "GPRMC"))),
        (RMC[20:] + UBX, NmeaHeard(1, ("PUBX",))),
        (RMC.replace(b"4807", b"4808"), Noise(len(RMC))),
        (RMC[:30], Noise(30)),
        (b"\xff" + ACK, OsdpHeard((5,), asked=False)),
        (osdp_poll(5) + b"\xff" + ACK, OsdpHeard((5,), asked=True)),
        (REFUSED, OsdpHeard((5,), asked=False, secure=True)),
        (osdp_poll(5), OsdpHeard((), asked=True)),
        (ACK[:-1] + b"\0", Noise(8)),
        (ACK[:-1], Noise(7)),
        (QUESTION + b"\x01\x03\x02\x00\x07\xf9\x86" + QUESTION, ModbusHeard((1,))),
        (QUESTION, Noise(8)),
        (COILS * 2, ModbusHeard((1,))),
        (REGISTERS * 2, ModbusHeard((1,))),
        (BOTH * 2, ModbusHeard((1,))),
        (REGISTERS + BOTH, Noise(len(REGISTERS + BOTH))),
        (b"login: ", Noise(7)),
    ],
)
def test_bytes_are_what_their_check_says(data: bytes, what: Heard) -> None:
    assert recognised(data) == what


def test_questions_are_the_standards_to_the_byte() -> None:
    assert osdp_poll(5).hex() == "ff530508000460bc89"
    assert crc16(QUESTION[:-2]) == QUESTION[-2:]


def test_noise_of_all_kinds_is_never_taken_for_anything() -> None:
    chance = random.Random(5)
    for size in (1, 7, 64, 4096):
        for _ in range(50):
            data = chance.randbytes(size)
            assert recognised(data) == Noise(size)


def test_a_port_that_never_stops_is_looked_at_as_far_as_the_bound_goes() -> None:
    assert recognised(bytes(BYTES_MAX) + RMC) == Noise(BYTES_MAX + len(RMC))
