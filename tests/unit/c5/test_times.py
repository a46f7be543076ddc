"""When something occurred, by the best clock of its epoch."""

from gateway.c5.times import began_us, corrected
from gateway.signing import cose, record
from gateway.signing.record import Clock, Record
from tests.unit.c5.kit import NOON_US, Gateway


def content(wire: bytes) -> Record:
    envelope = cose.parse(wire, "record")
    assert isinstance(envelope, cose.Envelope)
    read = record.decode(envelope.payload)
    assert isinstance(read, Record)
    return read


def test_one_record_of_a_synchronised_clock_fixes_those_before_and_after_it(gateway: Gateway) -> None:
    anchor = content(gateway.record(clock=Clock(2, 20, 60_000), occurred_us=NOON_US))
    began = began_us(anchor)
    assert began == NOON_US - 60_000_000
    for source in (0, 1):
        before = content(gateway.record(clock=Clock(source, 2**32 - 1, -500), occurred_us=77))
        after = content(gateway.record(clock=Clock(source, 2**32 - 1, 61_001), occurred_us=78))
        assert (corrected(before, began), corrected(after, began)) == (began - 500_000, NOON_US + 1_001_000)


def test_a_synchronised_record_keeps_its_own_time_and_without_an_anchor_all_do(gateway: Gateway) -> None:
    for source in (2, 3):
        assert corrected(content(gateway.record(clock=Clock(source, 90, 5), occurred_us=77)), NOON_US) == 77
    assert corrected(content(gateway.record(clock=Clock(0, 2**32 - 1, 5), occurred_us=77)), None) == 77
