"""Sentences out of a stream: what receivers send, and everything else that a line can bring."""

import asyncio
import time
from dataclasses import replace
from datetime import date
from functools import reduce
from operator import xor
from typing import Any

import pytest

from gateway.drivers.nmea import READ_MAX, SENTENCE_MAX, Nmea, Sentences
from gateway.sensing.fix import Said

RMC = "GNRMC,142233.00,A,0809.42000,N,07741.40000,W,0.02,,221126,,,A,V"
GGA = "GPGGA,142233.00,0809.42000,N,07741.40000,W,1,09,0.9,42.5,M,12.3,M,,"
HERE = Said(8.157, -77.69, valid=True, second=51_753.0)


def line(body: str) -> bytes:
    return f"${body}*{reduce(xor, body.encode(), 0):02X}\r\n".encode()


def heard(*bodies: str) -> list[Said]:
    return Sentences().feed(b"".join(map(line, bodies)))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (RMC, replace(HERE, day=date(2026, 11, 22))),
        (GGA, replace(HERE, quality=1, satellites=9, hdop=0.9)),
        ("GNGNS,142233.00,0809.42000,N,07741.40000,W,AAN,14,0.8,42.5,12.3,,,V",
         replace(HERE, satellites=14, hdop=0.8)),
        ("GLGLL,0809.42000,N,07741.40000,W,142233.00,A,A", HERE),
        ("GAGSA,A,3,01,02,03,04,,,,,,,,,1.8,0.9,1.6", Said(hdop=0.9)),
        ("BDZDA,142233.00,22,11,2026,00,00", Said(second=51_753.0, day=date(2026, 11, 22))),
        ("GQGLL,0809.42000,S,07741.40000,E,142233.00,A,D",
         Said(latitude=-8.157, longitude=77.69, second=51_753.0, valid=True)),
        ("IIVTG,224.44,T,224.44,M,5.81,N,,,D", Said()),
        ("PUBX,00,081350.00,4717.113210,N,00833.915187,E,546.589,G3,2.1,2.0,0.007,77.52,0.007,,0.92", Said()),
        # A receiver without a fix, and what it fills the fields with.
        ("GPRMC,000416.984,V,36000.0000,N,72000.0000,E,0.000000,,260120,,", Said(valid=False)),
        ("GPRMC,000000.00,V,,,,,,,000000,,,N", Said(valid=False)),
        ("GPGGA,,,,,,0,,,,M,,M,,", Said(valid=False, quality=0)),
        ("GPGGA,250000.00,,,,,0,00,-1.0,,M,,M,,", Said(valid=False, quality=0)),
        ("GAGSA,A,1,,,,,,,,,,,,,-1.0,-1.0,-1.0", Said()),
        ("GPRMC,,V,,,,,,,,,,N", Said(valid=False)),
        # Reckoned, set by hand, simulated: nothing that a receiver vouches for.
        (RMC.replace(",A,V", ",E,V"), Said(valid=False)),
        (GGA.replace("W,1,", "W,6,"), Said(valid=False, quality=6)),
        # A leap second, and a year of two digits that the library takes for one before there was any GPS.
        (RMC.replace("142233.00", "235960.00"), replace(HERE, second=86_400.0, day=date(2026, 11, 22))),
        (RMC.replace("221126", "290272"), replace(HERE, day=date(2072, 2, 29))),
        (RMC.replace("221126", "221179"), replace(HERE, day=date(2079, 11, 22))),
    ],
)  # fmt: skip
def test_a_sentence_of_any_talker_says_what_it_says(body: str, said: Said) -> None:
    (found,) = heard(body)
    assert found.latitude == pytest.approx(said.latitude)
    assert found.longitude == pytest.approx(said.longitude)
    rest = ("valid", "quality", "satellites", "hdop", "second", "day")
    assert {name: getattr(found, name) for name in rest} == {name: getattr(said, name) for name in rest}


@pytest.mark.parametrize(
    "body",
    [
        RMC.replace("0809.42000", "9100.00000"),
        RMC.replace("0809.42000", "9000.00001"),
        RMC.replace("0809.42000", "0860.00000"),
        RMC.replace("0809.42000", "nan"),
        RMC.replace("0809.42000", "inf"),
        RMC.replace("0809.42000", "-809.42"),
        RMC.replace("0809.42000", ""),
        RMC.replace("0809.42000,N", ","),
        RMC.replace("07741.40000", "18000.00001"),
        RMC.replace(",N,", ",X,"),
        RMC.replace(",N,", ",NS,"),
        RMC.replace("221126", "000000"),
        RMC.replace("221126", "320126"),
        RMC.replace("221126", "2211-6"),
        RMC.replace("142233.00", "246000.00"),
        RMC.replace("142233.00", "240060.00"),
        RMC.replace("142233.00", "142261.00"),
        RMC.replace("142233.00", "x"),
        GGA.replace(",09,", ",-9,"),
        GGA.replace(",09,", ",1e3,"),
        GGA.replace(",0.9,", ",NaN,"),
        GGA.replace(",0.9,", ",0x1,"),
        GGA.replace("W,1,", "W,ten,"),
        "GPZDA,142233.00,31,02,2026,00,00",
        "GPZDA,142233.00,22,11,99999,00,00",
        "GPZDA,235959.00,31,12,9999,00,00",
        "GPZDA,235959.00,01,01,2100,00,00",
        "GPZDA,142233.00,22,11,1979,00,00",
        "GPZDA,142233.00,22,,2026,00,00",
    ],
)
def test_a_field_that_can_not_be_is_refused_with_its_sentence_which_was_heard(body: str) -> None:
    sentences = Sentences()
    assert sentences.feed(line(body)) == [Said()]
    assert (dict(sentences.refused), sentences.read) == ({"range": 1}, 1)


@pytest.mark.parametrize(
    ("data", "refused", "noise"),
    [
        (line(GGA)[:-4] + b"00\r\n", {"checksum": 1}, 0),
        (b"$" + GGA.encode() + b"\r\n", {"unchecked": 1}, 0),
        (line("hello"), {"malformed": 1}, 0),
        (b"$\r\n$GP\r\n$GPRMC.\r\n", {"malformed": 3}, 0),
        (line(GGA)[:-3] + b"\r\n", {"malformed": 1}, 0),
        (b"$*00\r\n", {"malformed": 1}, 0),
        (line(GGA)[:30], {"partial": 1}, 0),
        (b"$GP" + b"x" * 10_000 + b"\r\n", {"long": 1}, 0),
        (b"$GPGGA,\x00\x01,1*00\r\n", {"garbled": 1}, 0),
        (b"\xb5\x62\x01\x07\x5c\x00\x0a\x0d" + b"\x00" * 40, {}, 46),
        (b"\x00\xff\x00", {}, 3),
        (b"!AIVDM,1,1,,A,133m@ogP00PD;88MD5MTDww@2D7k,0*46\r\n", {}, 47),
        (b"\r\n\n\r", {}, 0),
        (b"", {}, 0),
    ],
)  # fmt: skip
def test_what_is_no_sentence_is_counted_by_its_kind_and_the_next_one_is_read(
    data: bytes, refused: dict[str, int], noise: int
) -> None:
    whole = Sentences()
    assert whole.feed(data + line(RMC)) == heard(RMC)
    assert (dict(whole.refused), whole.noise, whole.read) == (refused, noise, 1)
    cut = Sentences()
    found = [said for at in range(len(data)) for said in cut.feed(data[at : at + 1])]
    assert found + cut.feed(line(RMC)) == heard(RMC)
    assert (cut.refused, cut.noise, cut.read) == (whole.refused, noise, 1)


def test_a_right_checksum_is_heard_whatever_is_under_it() -> None:
    sentences = Sentences()
    assert sentences.feed(line("GPXYZ,1") + line("hello!") + line(RMC) + b"$GPXYZ,1*00\r\n") == [
        Said(), Said(), *heard(RMC)
    ]  # fmt: skip
    assert (dict(sentences.refused), sentences.read) == ({"unknown": 1, "malformed": 1, "checksum": 1}, 3)


@pytest.mark.parametrize("body", [b"$GPRMC," + b" " * 240 + b"*zz\n", b"$\n", b"$GPRMC," + b" " * 240 + b"\n"])
def test_a_second_of_a_fast_line_s_rubbish_is_a_matter_of_milliseconds(body: bytes) -> None:
    sentences, pieces = Sentences(), [body * (4096 // len(body))] * 23
    began = time.process_time()
    for piece in pieces:
        sentences.feed(piece)
    assert time.process_time() - began < 0.15


def test_of_one_reading_that_is_too_much_the_newest_counts() -> None:
    sentences = Sentences()
    assert sentences.feed(b"$\n" * READ_MAX + line(RMC)) == heard(RMC)
    assert sentences.noise == READ_MAX + len(line(RMC))
    assert sentences.refused["malformed"] < READ_MAX / 2


def test_no_more_than_a_sentence_is_kept_of_a_line_that_never_ends() -> None:
    sentences = Sentences()
    sentences.feed(b"$GPTXT," + b"x" * (SENTENCE_MAX - 7))
    assert len(sentences._open or b"") == SENTENCE_MAX  # what is kept is the promise
    for _ in range(100):
        sentences.feed(b"x" * 4096)
        assert sentences._open is None
    assert dict(sentences.refused) == {"long": 1}


def test_whatever_the_library_raises_ends_at_the_parser() -> None:
    class Library:
        class SentenceTypeError(Exception):
            pass

        wrong: type[Exception]

        def parse(self, _text: str) -> Any:
            raise self.wrong

    sentences, library = Sentences(), Library()
    sentences._library = library
    for library.wrong in (AttributeError, TypeError, ValueError, KeyError, IndexError, OverflowError, RecursionError):
        assert sentences.feed(line(RMC)) == [Said()]
    assert dict(sentences.refused) == {"malformed": 7}


def test_a_run_that_was_abandoned_reaches_nobody_and_half_a_sentence_ends_with_its_line() -> None:
    made: list[dict[str, Any]] = []

    class Line:
        trouble = None

        def __init__(self, _device: str, _baud: int, **calls: Any) -> None:
            made.append(calls)

        async def run(self, _beat: object) -> None:
            pass

        def close(self) -> None:
            pass

    said: list[Said] = []
    told: list[str] = []
    nmea = Nmea(
        "/dev/gps", 9600, said=said.append, lost=told.append, restored=lambda: told.append("restored"),
        random=lambda: 0.5, line=Line,  # type: ignore[arg-type]  # a line is what is called like one
    )  # fmt: skip
    asyncio.run(nmea.run(lambda: None))
    first, second = made
    first["received"](line(RMC))
    first["lost"]("pulled out")
    assert (said, told) == ([], [])
    second["received"](line(RMC)[:20])
    second["lost"]("pulled out")
    second["received"](line(RMC)[20:] + line(GGA))
    second["restored"]()
    assert (said, told) == (heard(GGA), ["pulled out", "restored"])
