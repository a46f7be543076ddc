"""The gateway's settings: each mistake is refused with the key's full name and what is allowed."""

from pathlib import Path

import pytest

from gateway.config import GatewaySettings, load
from gateway.errors import SettingsError
from gateway.event import Position

GATEWAY = '[gateway]\nid = "pa-dar-0017"\nagency = "senafront"\nsite = "yaviza-tower-3"\n'
IDENTITY = """[identity]
trust_anchors = "anchors.pem"
tls_certificate = "tls.pem"
tls_key = "tls.key"
signing_certificate = "signing.pem"
signing_key = "signing.key"
"""
BROKER = '[[broker]]\nhost = "c5-a.example"\n'
WHOLE = GATEWAY + IDENTITY + BROKER


def _load(folder: Path, text: str) -> GatewaySettings:
    for name in ("anchors.pem", "tls.pem", "tls.key", "signing.pem", "signing.key"):
        (folder / name).touch()
    path = folder / "gateway.toml"
    path.write_text(text)
    return load(path)


def _refusal(folder: Path, text: str) -> str:
    with pytest.raises(SettingsError) as raised:
        _load(folder, text)
    return raised.value.what


def test_what_is_required_is_enough(tmp_path: Path) -> None:
    settings = _load(tmp_path, WHOLE)
    assert (settings.gateway.id, str(settings.gateway.state_dir)) == ("pa-dar-0017", "/var/lib/c5-gateway")
    assert (settings.broker[0].port, settings.broker[0].protocol, settings.broker[0].tls) == (8883, "auto", True)
    assert (settings.delivery.profile, settings.delivery.receivers, settings.delivery.commanders) == (90, ("*",), ())
    assert settings.identity.signing_key == tmp_path / "signing.key", "relative to the file's own folder"


def test_a_position_is_carried_in_units_of_a_record(tmp_path: Path) -> None:
    place = "position = { latitude = 8.157, longitude = -77.690, accuracy_m = 5 }\n"
    settings = _load(tmp_path, GATEWAY + place + IDENTITY + BROKER)
    assert settings.gateway.position is not None
    assert settings.gateway.position.position() == Position(81_570_000, -776_900_000, 500)


@pytest.mark.parametrize(
    ("profile", "interval", "keepalive"), [(90, 30, 30), (20, 6, 10), (3, 1, 1), (3600, 1200, 1200)]
)
def test_interval_and_keepalive_follow_from_the_profile(
    tmp_path: Path, profile: int, interval: int, keepalive: int
) -> None:
    settings = _load(tmp_path, f"{WHOLE}[delivery]\nprofile = {profile}\n")
    assert (settings.delivery.interval, settings.delivery.keepalive) == (interval, keepalive)


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        (WHOLE.replace('id = "pa-dar-0017"', 'id = "PA DAR"'), "gateway.id: lower-case letters, digits"),
        (WHOLE.replace('id = "pa-dar-0017"\n', ""), "gateway.id: is required"),
        (WHOLE.replace('site = "yaviza-tower-3"', 'site = "a/b"'), "gateway.site: "),
        (WHOLE.replace("agency", "agencie"), "gateway.agencie: no such setting; allowed here: id, agency, site"),
        (GATEWAY + "position = { latitude = 91, longitude = 0 }\n" + IDENTITY + BROKER, "gateway.position.latitude: "),
        (GATEWAY + "position = { latitude = 1, longitude = 0, height = 5 }\n" + IDENTITY + BROKER,
         "gateway.position.height: no such setting; allowed here: latitude, longitude, accuracy_m"),
        (WHOLE.replace('"signing.key"', '"other.key"'), "identity.signing_key: the path of an existing file"),
        (WHOLE.replace('"signing.key"', '"pkcs11:token=x"'), "identity.signing_key: the path of a file"),
        (WHOLE.replace('tls_key = "tls.key"\n', ""), "identity.tls_key: is required"),
        (GATEWAY + IDENTITY, "broker: is required"),
        ("broker = []\n" + GATEWAY + IDENTITY, "broker: "),
        (WHOLE + "port = 70000\n", "broker[0].port: "),
        (WHOLE + 'protocol = "4"\n', "broker[0].protocol: "),
        (WHOLE + "tls = false\n", "broker[0].tls: false is accepted for loopback addresses alone"),
        (WHOLE + 'password = "x"\n', "broker[0].password: no such setting; allowed here: host, port, protocol, tls"),
        (WHOLE + "[delivery]\nprofile = 2\n", "delivery.profile: "),
        (WHOLE + '[delivery]\nconfirmation = "nobody"\n', "delivery.confirmation: "),
        (WHOLE + '[delivery]\nconfirmation = "broker"\n', 'delivery.confirmation: "broker" asks for protocol = "5"'),
        (WHOLE + '[delivery]\nreceivers = ["C5"]\n', 'delivery.receivers[0]: "*" or a receiver'),
        (WHOLE + '[delivery]\ncommanders = ["*"]\n', "delivery.commanders[0]: "),
        (WHOLE + "[outbox]\nmax_mb = 1\n", "outbox.max_mb: "),
        (WHOLE + '[[port]]\nname = "a"\ndevice = "/dev/x"\nbaud = 115201\n', "port[0].baud: one of 1200, "),
        (WHOLE + '[[port]]\nname = "a"\ndevice = "/dev/x"\n' + '[[port]]\nname = "a"\ndevice = "/dev/y"\n',
         "port[1].name: a is used twice"),
        (WHOLE + '[[port]]\nname = "a"\ndriver = "telex"\ndevice = "/dev/x"\n', "port[0].driver: "),
        (WHOLE + '[log]\nlevel = "loud"\n', "log.level: "),
        (WHOLE + "[weather]\nsunny = true\n", "weather: no such setting; allowed here: gateway, identity, broker"),
        ("gateway = 5\n" + IDENTITY + BROKER, "gateway: "),
    ],
)  # fmt: skip
def test_each_refusal_names_the_key_in_full_and_what_is_allowed(tmp_path: Path, wrong: str, names: str) -> None:
    refusal = _refusal(tmp_path, wrong)
    assert any(line.startswith(names) for line in refusal.splitlines()), refusal


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    refusal = _refusal(tmp_path, WHOLE.replace("pa-dar-0017", "PA") + "[delivery]\nprofile = 1\n")
    assert [line.partition(":")[0] for line in refusal.splitlines()] == ["gateway.id", "delivery.profile"]


def test_a_loopback_broker_may_be_without_tls(tmp_path: Path) -> None:
    for host in ("127.0.0.1", "::1", "localhost"):
        plain = WHOLE.replace("c5-a.example", host).replace('tls_key = "tls.key"\n', "")
        assert not _load(tmp_path, plain + "tls = false\n").broker[0].tls


def test_a_file_that_is_missing_or_no_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml can't be read") as raised:
        load(tmp_path / "nowhere.toml")
    assert raised.value.hint
    assert "is not TOML" in _refusal(tmp_path, "[gateway\n")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="is not TOML"):
        load(tmp_path / "bytes.toml")
