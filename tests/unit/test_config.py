"""The gateway's settings: each mistake is refused with the key's full name and what is allowed."""

from pathlib import Path

import pytest

from gateway.config import GatewaySettings, load
from gateway.errors import SettingsError
from gateway.event import Position
from gateway.sensing.policy import Policy

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
        (WHOLE + 'port = "8883"\n', "broker[0].port: Input should be a whole number"),
        (WHOLE + "port = 8883.0\n", "broker[0].port: Input should be a whole number"),
        (WHOLE + 'tls = "off"\n', "broker[0].tls: Input should be true or false"),
        (WHOLE + "tls = 0\n", "broker[0].tls: Input should be true or false"),
        *((WHOLE.replace("c5-a.example", host), "broker[0].host: a DNS name, an IPv4 address, or an IPv6 address w")
          for host in ("[::1]", "a b", "mqtt://x", "c5-a.example:8883", "c5-a.example.", "-a", "a..b", "10.0.0.256",
                       "::1::", "a" * 64, "señal.example", "x/y", "u@x")),
        (WHOLE + BROKER, "broker[1].host: c5-a.example, port 8883, is used twice"),
        (WHOLE + BROKER.replace("c5-a", "C5-A"), "broker[1].host: C5-A.example, port 8883, is used twice"),
        (WHOLE + 'protocol = "4"\n', "broker[0].protocol: "),
        (WHOLE + "tls = false\n", "broker[0].tls: false is accepted for loopback addresses alone"),
        (WHOLE + 'password = "x"\n', "broker[0].password: no such setting; allowed here: host, port, protocol, tls"),
        (WHOLE + "[delivery]\nprofile = 2\n", "delivery.profile: "),
        (WHOLE + '[delivery]\nprofile = "90"\n', "delivery.profile: Input should be a whole number"),
        (WHOLE + '[delivery]\ncloud_events = "no"\n', "delivery.cloud_events: Input should be true or false"),
        (WHOLE + "[delivery]\nreceivers = []\n", "delivery.receivers: Input should have at least this many items: 1"),
        (WHOLE + '[delivery]\nconfirmation = "nobody"\n', "delivery.confirmation: "),
        (WHOLE + '[delivery]\nconfirmation = "broker"\n', 'delivery.confirmation: "broker" asks for protocol = "5"'),
        (WHOLE + '[delivery]\nreceivers = ["C5"]\n', 'delivery.receivers[0]: "*" or a receiver'),
        (WHOLE + '[delivery]\ncommanders = ["*"]\n', "delivery.commanders[0]: "),
        (WHOLE + "[outbox]\nmax_mb = 1\n", "outbox.max_mb: "),
        (WHOLE + '[outbox]\nmax_mb = "1024"\n', "outbox.max_mb: Input should be a whole number"),
        (WHOLE + '[outbox]\nalarm_reserve_mb = "64"\n', "outbox.alarm_reserve_mb: Input should be a whole number"),
        (WHOLE + "[outbox]\nmax_mb = 64\n", "outbox.alarm_reserve_mb: less than outbox.max_mb, which is 64"),
        (WHOLE + "[outbox]\nmax_mb = 100\nalarm_reserve_mb = 100\n",
         "outbox.alarm_reserve_mb: less than outbox.max_mb, which is 100"),
        (WHOLE + '[[port]]\nname = "a"\ndevice = "/dev/x"\nbaud = "9600"\n', "port[0].baud: Input should be a whole n"),
        (WHOLE + '[[port]]\nname = "a"\ndevice = "/dev/x"\n' + '[[port]]\nname = "b"\ndevice = "/dev/../dev/x"\n',
         "port[1].device: /dev/../dev/x is the device of the port a too"),
        (GATEWAY + 'position = { latitude = "8", longitude = 0 }\n' + IDENTITY + BROKER,
         "gateway.position.latitude: Input should be a number"),
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


BUTTON = '[[input]]\nname = "lobby"\nchip = "/dev/gpiochip0"\nline = 17\non = "panic.pressed"\n'
SIREN = '[[output]]\nname = "siren"\nchip = "/dev/gpiochip0"\nline = "GPIO22"\nkind = "siren"\n'


def test_an_input_s_defaults_are_a_button_to_ground_and_an_output_s_five_minutes(tmp_path: Path) -> None:
    settings = _load(tmp_path, WHOLE + BUTTON + SIREN)
    (button,), (siren,) = settings.input, settings.output
    assert (button.line, button.active_low, button.bias, button.debounce_ms) == (17, True, "pull-up", 30)
    assert (button.off, button.indicator, button.buzzer, button.position) == (None, None, None, None)
    assert (siren.line, siren.active_low, siren.longest_s) == ("GPIO22", False, 300)


@pytest.mark.parametrize(
    ("kind", "said", "longest"),
    [("led", "", None), ("led", "max_on_s = 4\n", 4), ("siren", "", 300), ("siren", "max_on_s = 4\n", 4)],
)
def test_the_settings_limit_every_output_and_without_them_a_light_alone_has_no_limit(
    tmp_path: Path, kind: str, said: str, longest: int | None
) -> None:
    (output,) = _load(tmp_path, WHOLE + SIREN.replace('kind = "siren"', f'kind = "{kind}"') + said).output
    assert output.longest_s == longest


@pytest.mark.parametrize(
    ("said", "on", "after"),
    [
        ("", "panic.pressed", 600.0),
        ("", "door.opened", None),
        ("stuck_s = 5\n", "door.opened", 5),
        ("stuck_s = 0\n", "panic.pressed", None),
    ],
)
def test_what_a_hand_holds_is_stuck_after_a_time_and_a_door_may_stay_open(
    tmp_path: Path, said: str, on: str, after: float | None
) -> None:
    settings = _load(tmp_path, WHOLE + BUTTON.replace("panic.pressed", on) + said)
    assert settings.input[0].stuck_after(600.0) == after


def test_an_input_shows_what_becomes_of_a_press_on_outputs_of_the_file(tmp_path: Path) -> None:
    shown = 'off = "panic.released"\nindicator = "lamp"\nbuzzer = "beeper"\n'
    lamp, beeper = (
        SIREN.replace('"siren"', f'"{name}"', 1).replace("22", line).replace('kind = "siren"', f'kind = "{kind}"')
        for name, line, kind in (("lamp", "23", "led"), ("beeper", "24", "buzzer"))
    )
    (button,) = _load(tmp_path, WHOLE + BUTTON + shown + lamp + beeper).input
    assert (button.off, button.indicator, button.buzzer) == ("panic.released", "lamp", "beeper")


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        (BUTTON.replace("17", "-1"), "input[0].line: a line's number on its chip, or its name in quotes"),
        (BUTTON.replace("17", '"17"'), "input[0].line: a line's number"),
        (BUTTON.replace("17", "true"), "input[0].line: a line's number"),
        (BUTTON.replace("panic.pressed", "panic.released"), "input[0].on: one of panic.pressed, panic.silent, "),
        (BUTTON.replace("panic.pressed", "link.failed"), "input[0].on: one of "),
        (BUTTON + 'off = "door.closed"\n', "input[0].off: panic.released, the end of panic.pressed, or nothing"),
        (BUTTON.replace("panic.pressed", "panic.silent") + 'off = "panic.released"\n',
         "input[0].off: nothing: panic.silent has no end of its own"),
        (BUTTON + 'bias = "up"\n', "input[0].bias: "),
        (BUTTON + "debounce_ms = 5000\n", "input[0].debounce_ms: "),
        (BUTTON.replace('"lobby"', '"0c500042"'), "input[0].name: a name that is no device id"),
        (BUTTON.replace('"lobby"', '"pa-dar-0017"'), "input[0].name: pa-dar-0017 is used twice"),
        (BUTTON + SIREN.replace('"siren"', '"lobby"', 1), "output[0].name: lobby is used twice"),
        (BUTTON + '[[port]]\nname = "lobby"\ndevice = "/dev/x"\n', "input[0].name: lobby is used twice"),
        (BUTTON + SIREN.replace('"GPIO22"', "17"), "output[0].line: line 17 of /dev/gpiochip0 is used by lobby too"),
        (BUTTON + SIREN + SIREN.replace('name = "siren"', 'name = "b"'), "output[1].line: line GPIO22 of "),
        (BUTTON + 'indicator = "lamp"\n' + SIREN, "input[0].indicator: no output lamp is a led"),
        (BUTTON + 'indicator = "siren"\n' + SIREN, "input[0].indicator: no output siren is a led"),
        (BUTTON + 'buzzer = "siren"\n' + SIREN, "input[0].buzzer: no output siren is a buzzer"),
        (BUTTON + 'buzzer = "lobby"\n', "input[0].buzzer: no output lobby is a buzzer"),
        (SIREN.replace('kind = "siren"', 'kind = "lamp"'), "output[0].kind: "),
        (SIREN + "max_on_s = 0\n", "output[0].max_on_s: "),
        (SIREN.replace('kind = "siren"\n', ""), "output[0].kind: is required"),
    ],
)  # fmt: skip
def test_each_refusal_of_a_contact_names_the_key_too(tmp_path: Path, wrong: str, names: str) -> None:
    refusal = _refusal(tmp_path, WHOLE + wrong)
    assert any(line.startswith(names) for line in refusal.splitlines()), refusal


def test_supervision_s_defaults_are_those_of_the_wire_and_a_lithium_cell(tmp_path: Path) -> None:
    assert _load(tmp_path, WHOLE).supervision.policy() == Policy()
    said = "[supervision]\ninterval_s = 20\ngrace = 4\nbattery_low_mv = 0\njam_s = 60\n"
    policy = Policy(interval_s=20.0, grace=4.0, battery_low_mv=0, jam_s=60.0)
    assert _load(tmp_path, WHOLE + said).supervision.policy() == policy


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ("grace = 1", "supervision.grace"),
        ("interval_s = 0", "supervision.interval_s"),
        ("battery_low_mv = 2600", "supervision.battery_restored_mv: more than supervision.battery_low_mv"),
        ("quiet = true", "supervision.quiet"),
        ("jam_bytes_s = 1.5", "supervision.jam_bytes_s"),
    ],
)
def test_each_refusal_of_supervision_names_the_key_too(tmp_path: Path, wrong: str, names: str) -> None:
    assert names in _refusal(tmp_path, f"{WHOLE}[supervision]\n{wrong}\n")


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    refusal = _refusal(tmp_path, WHOLE.replace("pa-dar-0017", "PA") + "[delivery]\nprofile = 1\n")
    assert [line.partition(":")[0] for line in refusal.splitlines()] == ["gateway.id", "delivery.profile"]


def test_a_loopback_broker_may_be_without_tls(tmp_path: Path) -> None:
    for host in ("127.0.0.1", "::1", "localhost"):
        plain = WHOLE.replace("c5-a.example", host).replace('tls_key = "tls.key"\n', "")
        assert not _load(tmp_path, plain + "tls = false\n").broker[0].tls


@pytest.mark.parametrize(
    "host", ["c5", "c5_b.internal", "C5-A.Example", "10.0.0.7", "fd00::7", "fe80::1%eth0", "7up.pa"]
)
def test_a_broker_is_a_name_or_an_address(tmp_path: Path, host: str) -> None:
    assert _load(tmp_path, WHOLE.replace("c5-a.example", host)).broker[0].host == host


def test_one_host_may_have_two_brokers_and_a_whole_number_is_a_number(tmp_path: Path) -> None:
    place = "position = { latitude = 8, longitude = -77 }\n"
    settings = _load(tmp_path, GATEWAY + place + IDENTITY + BROKER + BROKER + "port = 8884\n")
    assert [broker.port for broker in settings.broker] == [8883, 8884]
    assert settings.gateway.position is not None
    assert settings.gateway.position.latitude == 8.0


def test_two_names_of_one_device_are_one_device(tmp_path: Path) -> None:
    (tmp_path / "by-id").symlink_to(tmp_path / "ttyUSB0")
    ports = "".join(f'[[port]]\nname = "{name}"\ndevice = "{tmp_path / name}"\n' for name in ("by-id", "ttyusb"))
    assert "is the device of the port by-id too" in _refusal(tmp_path, WHOLE + ports.replace("/ttyusb", "/ttyUSB0"))


def test_a_file_that_is_missing_or_no_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml can't be read") as raised:
        load(tmp_path / "nowhere.toml")
    assert raised.value.hint
    assert "is not TOML" in _refusal(tmp_path, "[gateway\n")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="is not TOML"):
        load(tmp_path / "bytes.toml")
