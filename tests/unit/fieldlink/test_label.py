"""Labels, and how one can be wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Refused
from gateway.fieldlink import label
from gateway.fieldlink.framing import crc16
from gateway.fieldlink.label import Label

MALFORMED = "not C5D1:id:model:key:check (the key has letters A to Z, digits 2 to 7)"


def with_check(said: str) -> str:
    return f"{said}:{crc16(said.encode()):04x}"


@given(
    device=st.integers(1, 2**32 - 1),
    model=st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-", min_size=1, max_size=16),
    key=st.binary(min_size=16, max_size=16),
)
def test_every_label_is_read_as_it_was_written(device: int, model: str, key: bytes) -> None:
    written = Label(f"{device:08x}", model, key)
    assert label.parse(label.render(written)) == written


def test_a_label_shown_does_not_show_its_key() -> None:
    assert repr(Label("0c500042", "PB-1", bytes(range(16)))) == "Label(device='0c500042', model='PB-1')"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (with_check("C5D1:00000000:PB-1:AAAAAAAAAAAAAAAAAAAAAAAAAA"), "00000000 is no device id"),
        (with_check("C5D1:0C500042:PB-1:AAAAAAAAAAAAAAAAAAAAAAAAAA"), MALFORMED),
        (with_check("C5D1:0c500042:pb-1:AAAAAAAAAAAAAAAAAAAAAAAAAA"), MALFORMED),
        (with_check("C5D1:0c500042::AAAAAAAAAAAAAAAAAAAAAAAAAA"), MALFORMED),
        (with_check("C5D1:0c500042:PB-1:AAAAAAAAAAAAAAAAAAAAAAAAA"), MALFORMED),
        (with_check("C5D1:0c500042:PB-1:AAAAAAAAAAAAAAAAAAAAAAAAAB"), "the label's key is not in its shortest form"),
        (with_check("C5D1:0c500042:PB-1:AAAAAAAAAAAAAAAAAAAAAAAAAA") + "\n", MALFORMED),
        ("C5D1:0c500042:PB-1:AAAAAAAAAAAAAAAAAAAAAAAAAA:0000", "the label's check does not match"),
    ],
)
def test_a_label_that_is_not_exact_is_refused(text: str, reason: str) -> None:
    assert label.parse(text) == Refused(reason)
