"""What the fuzzer found, each mended in its parser."""

import base64
import time
from io import BytesIO
from pathlib import Path

import cbor2
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_crl

from firmware_sim import scenario
from gateway import applied, config, status
from gateway.errors import C5Error, CertificateError, Refused, SettingsError
from gateway.signing import export, message
from gateway.signing.certificate import Revocations
from gateway.tasks.orders.field import Field
from gateway.tasks.orders.order import Done, Order
from tests.fuzz.people import NOW, revocations
from tests.fuzz.spoken import _Field

BRACKETS = "a = " + "[" * 3000 + "]" * 3000


@pytest.mark.parametrize("key", [True, 1.0, b"1", "1"])
def test_a_key_that_only_equals_a_number_is_no_key_of_a_message(key: object) -> None:
    payload = cbor2.dumps({key: "c5-a", 2: 5}, canonical=True)
    assert isinstance(message.decode("centre", payload), Refused)


def test_a_revocation_list_whose_issuer_cannot_be_read_is_refused_when_it_is_loaded_and_not_at_the_first_alarm() -> (
    None
):
    der = load_pem_x509_crl(revocations(7, NOW)).public_bytes(Encoding.DER)
    at = der.index(b"\x0c\x07issuing")
    odd = der[:at] + b"\xc7" + der[at + 1 :]
    with pytest.raises(CertificateError, match="can't be read"):
        Revocations.load(_pem(odd))


def _pem(der: bytes) -> bytes:
    return b"-----BEGIN X509 CRL-----\n" + base64.encodebytes(der) + b"-----END X509 CRL-----\n"


@pytest.mark.parametrize("beginning", [b"\x86\x69c5-export\x01", b"\x82\x6dc5-export-end"])
def test_a_file_of_beginnings_within_beginnings_is_read_in_a_time_that_grows_with_it(beginning: bytes) -> None:
    file = b"\xff" * 70_000 + beginning * 20_000
    began = time.process_time()
    assert len(list(export.items(BytesIO(file).read))) == 1
    assert time.process_time() - began < 20  # it took minutes


def test_brackets_in_brackets_are_a_mistake_in_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(BRACKETS)
    with pytest.raises(SettingsError, match="is not TOML"):
        config.load(file)
    with pytest.raises(SettingsError, match="this is not TOML"):
        applied._read(BRACKETS)
    with pytest.raises(ValueError, match="too deep"):
        scenario.load(file)


def test_a_device_that_is_a_list_is_no_device_and_no_mistake_of_ours() -> None:
    answers: list[Done] = []
    nothing = _Field("meter")
    Field("gw-1", nothing, nothing, nothing, nothing).set_output(
        Order("output.set", {"device": [], "output": 1, "on": True}, "boss"), answers.append
    )
    assert [done.text for done in answers] == ["device must be a device that is enrolled here"]


def test_true_and_false_are_no_degrees() -> None:
    label = "C5D1:66da149b:PB-1:UKHW76YZFLAAAA3XAWWIU6INOA:03f6"
    with pytest.raises(C5Error, match="this is no position"):
        status.enrolment(label, "bar", [True, False])
