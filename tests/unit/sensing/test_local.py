"""Who may raise what over HTTPS, and what makes two requests the same."""

import hashlib

import pytest

from gateway.errors import Refused
from gateway.sensing.bucket import Bucket
from gateway.sensing.local import Happening, Source, identify, names_in, number_of, read_key

TOKEN = "5f2d7a1c9b3e4f608172a3b4c5d6e7f8"
BY_TOKEN = Source("analytics", frozenset({"intrusion.detected"}), token=hashlib.sha256(TOKEN.encode()).digest())
BY_NAME = Source("help", frozenset({"panic.pressed"}), certificate="urn:c5:source:help")
SOURCES = (BY_TOKEN, BY_NAME)


@pytest.mark.parametrize("header", [f"Bearer {TOKEN}", f"bearer  {TOKEN}", f" BEARER {TOKEN} "])
def test_a_source_is_known_by_its_token(header: str) -> None:
    assert identify(SOURCES, header, ()) == BY_TOKEN


def test_a_source_is_known_by_a_name_in_its_certificate() -> None:
    assert identify(SOURCES, None, ("help.example", "urn:c5:source:help")) == BY_NAME


@pytest.mark.parametrize(
    ("header", "names"),
    [
        (None, ()),
        (None, ("help",)),
        ("Bearer " + "f" * 32, ("urn:c5:source:help",)),  # a wrong token isn't made good by a certificate
        (f"Basic {TOKEN}", ()),
        (TOKEN, ()),
        ("Bearer ", ()),
        ("Bearer " + "a" * 513, ()),
        (f"Bearer {TOKEN} {TOKEN}", ()),
        ("Bearer " + hashlib.sha256(TOKEN.encode()).hexdigest(), ()),
    ],
)
def test_whoever_shows_nothing_that_fits_is_nobody(header: str | None, names: tuple[str, ...]) -> None:
    assert isinstance(identify(SOURCES, header, names), Refused)


def test_what_names_two_sources_names_neither() -> None:
    twin = Source("twin", frozenset(), token=BY_TOKEN.token, certificate="urn:c5:source:help")
    assert isinstance(identify((*SOURCES, twin), f"Bearer {TOKEN}", ()), Refused)
    assert isinstance(identify((*SOURCES, twin), None, ("urn:c5:source:help",)), Refused)


def test_a_certificate_is_known_by_its_alternative_names_and_by_its_common_name_only_without_them() -> None:
    subject = ((("organizationName", "C5"),), (("commonName", "help"),))
    assert names_in(None) == names_in({}) == ()
    assert names_in({"subject": subject}) == ("help",)
    others = (("DNS", "help.example"), ("URI", "urn:c5:source:help"), ("IP Address", "10.0.0.1"))
    assert names_in({"subject": subject, "subjectAltName": others}) == ("help.example", "urn:c5:source:help")


@pytest.mark.parametrize("header", ['"8e03978e-40d5-43dd-bc93-6894a57f9324"', "8e03978e-40d5-43dd-bc93-6894a57f9324 "])
def test_a_key_is_read_with_its_quotes_and_without(header: str) -> None:
    assert read_key(header) == "8e03978e-40d5-43dd-bc93-6894a57f9324"


@pytest.mark.parametrize("header", [None, "", '""', "1", "0" * 15, "0" * 65, "01234567 89abcdef", "ключключключключ"])
def test_a_key_that_could_come_twice_is_refused(header: str | None) -> None:
    assert isinstance(read_key(header), Refused)


def test_an_event_number_comes_from_source_and_key_and_fits_a_record() -> None:
    first = number_of("help", "8e03978e-40d5-43dd-bc93-6894a57f9324")
    assert first == 0x1786E775AC2EE5 < 2**53
    assert number_of("help", "8e03978e-40d5-43dd-bc93-6894a57f9324") == first
    assert number_of("help2", "8e03978e-40d5-43dd-bc93-6894a57f9324") != first
    assert number_of("help", "8e03978e-40d5-43dd-bc93-6894a57f9325") != first


def test_the_same_request_later_is_the_same_and_with_other_data_another() -> None:
    digest = Happening("panic.pressed", 0, {"a": 1, "b": "x"}).digest
    assert Happening("panic.pressed", 9000, {"b": "x", "a": 1}).digest == digest
    assert Happening("panic.silent", 0, {"a": 1, "b": "x"}).digest != digest
    assert Happening("panic.pressed", 0, {"a": 1.5, "b": "x"}).digest != digest


def test_a_bucket_gives_so_many_at_once_and_then_as_many_a_minute() -> None:
    bucket = Bucket(per_minute=60, burst=3, now=0.0)
    assert [bucket.take(0.0) for _ in range(4)] == [0.0, 0.0, 0.0, 1.0]
    assert bucket.take(0.5) == 0.5
    assert bucket.take(1.0) == 0.0
    assert [bucket.take(1000.0) for _ in range(4)] == [0.0, 0.0, 0.0, 1.0]
    assert bucket.take(500.0) == 1.0  # a clock that goes back gives nothing
