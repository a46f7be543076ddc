"""What C5 sets from afar: laid over the technician's file, never in its place."""

from hashlib import sha256
from pathlib import Path

import pytest

from gateway import applied
from gateway.errors import SettingsError, StoreError

BASE = """
[gateway]
id = "gw-1"
agency = "senafront"
site = "yaviza"
state_dir = "state"

[identity]
trust_anchors = "a.pem"
signing_certificate = "s.pem"
signing_key = "s.key"

[[broker]]
host = "127.0.0.1"
tls = false

[delivery]
profile = 20
commanders = ["boss"]

[[port]]
name = "radio"
device = "/dev/null"
"""
OVER = '[outbox]\nmax_mb = 2048\n[delivery]\nprofile = 90\n[[port]]\nname = "other"\ndevice = "/dev/zero"\n'
UNIT = """
[[port]]
name = "meters"
driver = "modbus"
device = "/dev/zero"
[[unit]]
name = "supply"
port = "meters"
address = 1
profile = "made-up"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    for name in ("a.pem", "s.pem", "s.key"):
        (tmp_path / name).touch()
    (tmp_path / "state").mkdir()
    (tmp_path / "gateway.toml").write_text(BASE)
    return tmp_path / "gateway.toml"


def test_nothing_applied_is_the_technician_s_file_alone(file: Path) -> None:
    loaded = applied.load(file)
    assert (loaded.keys, loaded.sha256, loaded.refused) == ((), None, None)
    assert loaded.settings.delivery.profile == 20


def test_what_is_applied_counts_key_by_key_from_the_next_start_on_and_a_list_takes_a_list_s_place(file: Path) -> None:
    digest = sha256(OVER.encode()).hexdigest()
    assert applied.load(file).apply(OVER) == digest
    loaded = applied.load(file)
    assert (loaded.keys, loaded.sha256, loaded.refused) == (
        ("outbox.max_mb", "delivery.profile", "port"),
        digest,
        None,
    )
    settings = loaded.settings
    assert (settings.outbox.max_mb, settings.outbox.alarm_reserve_mb, settings.delivery.profile) == (2048, 64, 90)
    assert settings.delivery.commanders == ("boss",), "what isn't named stays"
    assert [port.name for port in settings.port] == ["other"]
    assert file.read_text() == BASE


def test_what_is_applied_takes_the_place_of_what_was_and_an_empty_text_takes_it_back(file: Path) -> None:
    applied.load(file).apply(OVER)
    applied.load(file).apply('[log]\nlevel = "debug"')
    assert applied.load(file).keys == ("log.level",)
    assert applied.load(file).settings.delivery.profile == 20
    applied.load(file).apply("")
    assert (applied.load(file).keys, applied.load(file).sha256) == ((), None)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('[identity]\nsigning_key = "/tmp/k"', "identity: only a technician"),
        ('[[broker]]\nhost = "evil.example"', "broker: only a technician"),
        ("broker = []", "broker: only a technician"),
        ('[gateway]\nid = "gw-2"', "gateway.id: only a technician"),
        ('[gateway]\nstate_dir = "/tmp"', "gateway.state_dir: only a technician"),
        ('gateway.state_dir = "/tmp"', "gateway.state_dir: only a technician"),
        ('[delivery]\nreceivers = ["evil"]', "delivery.receivers: only a technician"),
        ('[delivery]\ncommanders = ["evil"]\nprofile = 30', "delivery.commanders: only a technician"),
        ("delivery = 7", "delivery: "),
        ('gateway = {id = "gw-1"}', "gateway.id: only a technician"),
        ("[outbox]\nmax_mb = 1", "outbox.max_mb: "),
        ("[outbox]\nsize = 1", "outbox.size: no such setting"),
        ('[[port]]\nname = "a"\ndevice = "/dev/null"\n[[port]]\nname = "a"\ndevice = "/dev/zero"', "port[1].name: "),
        ('[delivery]\nconfirmation = "broker"', "delivery.confirmation: only a technician"),
        ('[delivery]\nconfirmation = "receiver"', "delivery.confirmation: only a technician"),
        ("[outbox]\nmax_mb = 1000001", "outbox.max_mb: "),
        (f"[outbox]\nmax_mb = 1{'0' * 400}", "outbox.max_mb: "),
        ('[[port]]\nname = "a"\ndevice = "/dev/\\u0000"', "port[0].device: "),
        ('[[input]]\nname = "a"\nchip = "/dev/\\u0000"\nline = 1\non = "panic.pressed"', "input[0].chip: "),
        (UNIT, "there is no profile made-up"),
        ("[outbox", "toml: this is not TOML"),
        (f"[outbox]\nmax_mb = 1{'0' * 5000}", "toml: this is not TOML"),
        (f"x = {'[' * 5000}", "toml: this is not TOML"),
        ("#" * 12_001, "toml: at most 12000 bytes"),
    ],
)  # fmt: skip
def test_what_gives_the_gateway_away_or_would_not_run_is_refused_and_nothing_changes(
    file: Path, text: str, names: str
) -> None:
    applied.load(file).apply(OVER)
    before = applied.load(file)
    with pytest.raises(SettingsError) as refused:
        before.apply(text)
    assert names in refused.value.what
    assert "gateway.toml" not in refused.value.what + refused.value.hint, "not that one is to be corrected"
    assert applied.load(file) == before


def test_a_technician_s_change_with_which_it_no_longer_goes_together_sets_it_aside(file: Path) -> None:
    applied.load(file).apply("[outbox]\nalarm_reserve_mb = 100")
    file.write_text(BASE + "[outbox]\nmax_mb = 90\n")
    loaded = applied.load(file)
    assert (loaded.settings.outbox.max_mb, loaded.settings.outbox.alarm_reserve_mb, loaded.keys) == (90, 64, ())
    assert loaded.refused is not None
    assert "outbox.alarm_reserve_mb" in loaded.refused


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe", b"[outbox", b'[gateway]\nid = "gw-2"\n', b"x = " + b"[" * 5000, b"x = 1" + b"0" * 5000],
    ids=["no text", "no TOML", "another gateway", "too deep", "too long a number"],
)
def test_an_overlay_that_was_damaged_or_forged_stops_nothing(file: Path, content: bytes) -> None:
    (file.parent / "state" / applied.FILE).write_bytes(content)
    loaded = applied.load(file)
    assert loaded.refused
    assert (loaded.settings.gateway.id, loaded.keys) == ("gw-1", ())


def test_a_folder_that_can_t_be_written_changes_nothing_and_says_so(file: Path) -> None:
    loaded = applied.load(file)
    (file.parent / "state").rmdir()
    with pytest.raises(StoreError, match="can't be written"):
        loaded.apply(OVER)


def test_what_is_applied_is_on_trial_until_it_is_kept_and_what_stood_before_can_come_back(file: Path) -> None:
    first = applied.load(file).apply('[log]\nlevel = "debug"\n')
    assert applied.load(file).on_trial
    applied.load(file).keep()
    assert not applied.load(file).on_trial
    for text in ('[gateway]\nagency = "elsewhere"\n', '[gateway]\nagency = "nowhere"\n'):
        applied.load(file).apply(text)
    assert applied.load(file).settings.gateway.agency == "nowhere"
    applied.load(file).fall_back()
    loaded = applied.load(file)
    assert (loaded.sha256, loaded.on_trial, loaded.settings.gateway.agency) == (first, False, "senafront")
    assert sorted(path.name for path in (file.parent / "state").iterdir()) == ["applied.toml"]


def test_the_first_that_is_applied_falls_back_to_the_technician_s_file_alone(file: Path) -> None:
    applied.load(file).apply(OVER)
    applied.load(file).fall_back()
    loaded = applied.load(file)
    assert (loaded.sha256, loaded.keys, loaded.refused, loaded.on_trial) == (None, (), None, False)


def test_what_is_applied_while_a_trial_ends_is_on_trial_itself(file: Path) -> None:
    applied.load(file).apply('[gateway]\nsite = "first"\n')
    running = applied.load(file)
    running.apply('[gateway]\nsite = "typo"\n')
    running.keep()  # C5 was heard under the first
    loaded = applied.load(file)
    assert (loaded.settings.gateway.site, loaded.on_trial) == ("typo", True)
    running.fall_back()  # nor would the end of the first's time end the next one's
    assert applied.load(file) == loaded


def test_what_a_technician_deletes_does_not_come_back(file: Path) -> None:
    for text in ('[gateway]\nagency = "first"\n', '[gateway]\nagency = "typo"\n'):
        applied.load(file).apply(text)
        if "first" in text:
            applied.load(file).keep()
    running = applied.load(file)
    (file.parent / "state" / applied.FILE).unlink()
    running.fall_back()
    loaded = applied.load(file)
    assert (loaded.settings.gateway.agency, loaded.on_trial) == ("senafront", False)
    loaded.apply('[gateway]\nagency = "third"\n')
    applied.load(file).fall_back()
    assert applied.load(file).settings.gateway.agency == "senafront", "what was there before, not what was deleted"


def test_what_the_disk_did_not_take_leaves_nothing_on_trial(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    applied.load(file).apply(OVER)
    applied.load(file).keep()
    replace = applied._replace

    def full(path: Path, content: bytes) -> None:
        if path.name == applied.FILE:
            raise OSError(28, "No space left on device")
        replace(path, content)

    monkeypatch.setattr(applied, "_replace", full)
    with pytest.raises(StoreError):
        applied.load(file).apply('[gateway]\nagency = "next"\n')
    assert not applied.load(file).on_trial


def test_what_is_refused_stands_no_trial(file: Path) -> None:
    applied.load(file).apply("[outbox]\nalarm_reserve_mb = 100")
    file.write_text(BASE + "[outbox]\nmax_mb = 90\n")
    refused = applied.load(file)
    assert not refused.on_trial
    refused.keep()
    file.write_text(BASE)
    assert applied.load(file).on_trial, "it goes together again, and C5 was never heard under it"


def test_a_disk_that_can_t_be_read_stands_no_trial_and_stops_nothing(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied.load(file).apply(OVER)
    loaded = applied.load(file)

    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "stat", fail)
    assert not loaded.on_trial


def test_a_disk_that_refuses_leaves_settings_on_trial(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    applied.load(file).apply(OVER)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "replace", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(StoreError, match="Read-only"):
        applied.load(file).fall_back()
    with pytest.raises(StoreError, match="Read-only"):
        applied.load(file).keep()
    assert applied.load(file).on_trial
