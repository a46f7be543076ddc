"""The receiver's settings: `receiver.toml` (docs/operate/receiver.md)."""

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from gateway.settings import (
    PART,
    BrokerSettings,
    ExistingFile,
    Folder,
    IdentitySettings,
    Mistake,
    Part,
    Strict,
    load_toml,
    refuse_bad_transport,
)
from gateway.text import _
from gateway.topics import is_part

VARIABLE: Final = "C5_RECEIVER_CONFIG"
DEFAULT: Final = Path("/etc/c5-receiver/receiver.toml")


def _agency(text: str) -> str:
    if text != "+" and not is_part(text):
        raise Mistake("agency", _('an agency\'s name ({part}), or "+" for all'), {"part": PART})
    return text


class ReceiverTable(Strict):
    """`[receiver]`."""

    name: Part
    state_dir: Folder = Path("/var/lib/c5-receiver")


class SubscribeTable(Strict):
    """`[subscribe]`."""

    agencies: tuple[Annotated[str, AfterValidator(_agency)], ...] = Field(default=("+",), min_length=1)


class SinkTable(Strict):
    """One `[[sink]]`: a file that lines are added to, or "-" for standard output."""

    type: Literal["jsonl"]
    path: str = Field(min_length=1)


class LogTable(Strict):
    """`[log]`."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class CommanderTable(Strict):
    """`[commander]`: who signs what `c5-receiver command` sends."""

    signing_certificate: ExistingFile
    signing_key: ExistingFile


class ReceiverSettings(Strict):
    """All of it."""

    receiver: ReceiverTable
    identity: IdentitySettings
    broker: tuple[BrokerSettings, ...] = Field(min_length=1)
    subscribe: SubscribeTable = SubscribeTable()
    commander: CommanderTable | None = None
    sink: tuple[SinkTable, ...] = ()
    log: LogTable = LogTable()


def load_settings(path: Path) -> ReceiverSettings:
    """Read the receiver's settings, or raise SettingsError."""
    settings = load_toml(path, ReceiverSettings)
    refuse_bad_transport(settings.broker, settings.identity)
    return settings
