"""NMEA 0183: whatever a line brings is read or counted, however it is cut, and what is read can be."""

from collections.abc import Sequence
from datetime import date
from functools import reduce
from operator import xor

from gateway.drivers.nmea import SENTENCE_MAX, Sentences
from gateway.sensing.fix import Fix, Receiver, Said
from gateway.sensing.satellites import Satellites
from gateway.sensing.wander import Learning, Place, Wander
from tests.fuzz.target import Target

BODIES: Sequence[str] = (
    "GNRMC,142233.00,A,0809.42000,N,07741.40000,W,0.02,,221126,,,A,V",
    "GPGGA,142233.00,0809.42000,N,07741.40000,W,1,09,0.9,42.5,M,12.3,M,,",
    "GNGNS,142233.00,0809.42000,N,07741.40000,W,AAN,14,0.8,42.5,12.3,,,V",
    "GLGLL,0809.42000,S,07741.40000,E,142233.00,A,A",
    "GAGSA,A,3,01,02,03,04,,,,,,,,,1.8,0.9,1.6",
    "BDZDA,142233.00,22,11,2026,00,00",
    "GPGSV,3,1,10,01,71,044,45,04,55,312,43,07,38,187,40,10,33,095,41",
    "PUBX,00,081350.00,4717.113210,N,00833.915187,E,546.589,G3,2.1,2.0,0.007,77.52,0.007,,0.92",
    "PGRME,15.0,M,45.0,M,25.0,M",
    "GPRMC,000416.984,V,36000.0000,N,72000.0000,E,0.000000,,260120,,",
)
IN_STEP = Said(second=51_753.0, day=date(2026, 11, 22))


def line(body: str) -> bytes:
    return f"${body}*{reduce(xor, body.encode(), 0):02X}\r\n".encode()


def lines(data: bytes) -> None:
    """Bytes off a line: the same sentences however they are cut; each can be; the next one is read."""
    whole, cut = Sentences(), Sentences()
    found, again = whole.feed(data), list[Said]()
    at = 0
    while at < len(data):
        size = 1 + data[at] % 7
        again += cut.feed(data[at : at + size])
        assert len(cut._open or b"") <= SENTENCE_MAX
        at += size
    assert again == found
    assert (cut.refused, cut.noise, cut.read) == (whole.refused, whole.noise, whole.read)
    assert len(found) == whole.read
    means(found)
    assert whole.feed(b"\n" + line("GPZDA,142233.00,22,11,2026,00,00"))[-1:] == [IN_STEP]


def fields(data: bytes) -> None:
    """A sentence's body under a right checksum, which chance would seldom find."""
    body = bytes(byte for byte in data if 0x20 <= byte <= 0x7E and byte not in b"$*").decode()
    means(Sentences().feed(line(body)))


def means(found: Sequence[Said]) -> None:
    """Each sentence can be, and nothing that goes by them raises."""
    receiver, satellites, learning, wander = Receiver(), Satellites(400), Learning(50), Wander(Place(0, 0), 50, 10)
    for number, said in enumerate(found):
        assert said.latitude is None or -90 <= said.latitude <= 90
        assert said.longitude is None or -180 <= said.longitude <= 180
        assert (said.latitude is None) == (said.longitude is None)
        assert said.second is None or 0 <= said.second <= 86_400
        assert said.day is None or 1980 <= said.day.year < 2100
        assert said.hdop is None or 0 < said.hdop < 1e6
        fix = receiver.said(said, float(number))
        if said.utc_us is not None:
            satellites.heard(said.utc_us, float(number))
        satellites.at(float(number))
        if isinstance(fix, Fix):
            wander.fixed(fix)
            learning.fixed(fix)
            place = Place(fix.latitude, fix.longitude)
            assert abs(Place.unpack(place.pack()).latitude - place.latitude) < 1e-6


def _streams() -> list[bytes]:
    whole = [line(body) for body in BODIES]
    return [
        b"".join(whole),
        b"\xb5\x62\x01\x07\x5c\x00\x00\x00" + whole[0] + b"\x00\xff" + whole[1][:30] + whole[2],
        b"$" * 5 + whole[3] + b"$" + BODIES[0].encode() + b"\r\n" + b"$GP" + b"x" * 300 + b"\n" + whole[5],
        whole[0][:-4] + b"00\r\n" + b"!AIVDM,1,1,,A,133m@ogP00PD;88MD5MTDww@2D7k,0*46\r\n",
    ]


WATCHED = ("gateway.drivers.nmea", "gateway.sensing.fix", "gateway.sensing.wander", "gateway.sensing.satellites")
WORDS = tuple(f"{talker}{kind},".encode() for talker in ("GP", "GN") for kind in ("RMC", "GGA", "GNS", "GLL", "ZDA"))
TARGETS = (
    Target("nmea", lines, _streams, WATCHED, words=(b"$", b"*", b"\r\n", b"\x00", *WORDS)),
    Target(
        "nmea-fields", fields, lambda: [body.encode() for body in BODIES], WATCHED, shape="text",
        words=(*WORDS, b",", b"A", b"V", b"W", b"S", b"9000.0", b"18000.0", b"nan", b"1e9", b"000000", b"-"), most=200,
    ),
)  # fmt: skip
