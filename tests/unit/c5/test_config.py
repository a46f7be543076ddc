from pathlib import Path

import pytest

from gateway.c5.config import load_settings
from gateway.errors import SettingsError
from gateway.settings import find_settings

GOOD = """
[receiver]
name = "c5-a"
[identity]
trust_anchors = "anchors.pem"
tls_certificate = "tls.pem"
tls_key = "tls.key"
signing_certificate = "signing.pem"
signing_key = "signing.key"
[[broker]]
host = "127.0.0.1"
[[broker]]
host = "c5-b.example"
protocol = "3.1.1"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    for name in ("anchors.pem", "tls.pem", "tls.key", "signing.pem", "signing.key"):
        (tmp_path / name).touch()
    return tmp_path / "receiver.toml"


def test_the_least_settings_have_good_defaults(file: Path) -> None:
    file.write_text(GOOD)
    settings = load_settings(file)
    assert settings.receiver.state_dir == Path("/var/lib/c5-receiver")
    assert settings.identity.trust_anchors == file.parent / "anchors.pem"
    assert [(broker.host, broker.port, broker.protocol, broker.tls) for broker in settings.broker] == [
        ("127.0.0.1", 8883, "auto", True),
        ("c5-b.example", 8883, "3.1.1", True),
    ]
    assert settings.subscribe.agencies == ("+",)
    assert settings.sink == ()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[receiver]", "[reciever]", "reciever: no such setting; allowed here: receiver, identity, broker, "),
        ('name = "c5-a"', 'name = "C5 A"', "receiver.name: lower-case letters, digits and hyphens"),
        ('name = "c5-a"', "", "receiver.name: is required"),
        ('"anchors.pem"', '"none.pem"', "identity.trust_anchors: the path of an existing file; there is none at "),
        ('"signing.key"', '"pkcs11:object=c5"', "identity.signing_key: the path of a file (keys in hardware"),
        ('"3.1.1"', '"4"', "broker[1].protocol: Input should be 'auto', '5' or '3.1.1'"),
        ('"3.1.1"', '"5"\nport = 70000', "broker[1].port: Input should be less than or equal to 65535"),
        ('"3.1.1"', '"5"\nport = "8883"', "broker[1].port: Input should be a whole number"),
        ('"3.1.1"', '"5"\ntls = "off"', "broker[1].tls: Input should be true or false"),
        ("c5-b.example", "[::1]", "broker[1].host: a DNS name, an IPv4 address, or an IPv6 address without brackets"),
        ("c5-b.example", "127.0.0.1", "broker[1].host: 127.0.0.1, port 8883, is used twice"),
        ('"3.1.1"', '"5"\ntls = false', "broker[1].tls: false is accepted for loopback addresses alone"),
        ('"3.1.1"', '"5"\nhots = "x"', "broker[1].hots: no such setting; allowed here: host, port, protocol, tls"),
        ('tls_key = "tls.key"', "", "identity.tls_key: is required"),
        ('"3.1.1"', '"5"\n[subscribe]\nagencies = ["#"]', "subscribe.agencies[0]: an agency's name"),
        ('"3.1.1"', '"5"\n[[sink]]\ntype = "csv"\npath = "-"', "sink[0].type: Input should be 'jsonl'"),
        ('"3.1.1"', '"5', "is not TOML: "),
    ],
)
def test_a_mistake_is_told_with_the_keys_full_name_and_what_is_allowed(
    file: Path, old: str, new: str, told: str
) -> None:
    assert old in GOOD
    file.write_text(GOOD.replace(old, new))
    with pytest.raises(SettingsError) as raised:
        load_settings(file)
    assert told in raised.value.what
    assert raised.value.hint


def test_no_tls_is_accepted_on_this_machine(file: Path) -> None:
    plain = GOOD.replace('host = "127.0.0.1"', 'host = "127.0.0.1"\ntls = false').partition('[[broker]]\nhost = "c5-b')[
        0
    ]
    file.write_text(plain.replace('tls_certificate = "tls.pem"\ntls_key = "tls.key"\n', ""))
    assert not load_settings(file).broker[0].tls


def test_the_option_comes_before_the_variable_before_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    default = Path("/etc/x.toml")
    monkeypatch.delenv("C5_TEST_CONFIG", raising=False)
    assert find_settings(None, "C5_TEST_CONFIG", default) == default
    monkeypatch.setenv("C5_TEST_CONFIG", "/b.toml")
    assert find_settings(None, "C5_TEST_CONFIG", default) == Path("/b.toml")
    assert find_settings(Path("/a.toml"), "C5_TEST_CONFIG", default) == Path("/a.toml")
