"""`[local_input]` and `[[source]]`: the HTTPS port for what a tower already has, and who may raise what there."""

import ipaddress
import re
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, Field

from gateway.errors import SettingsError
from gateway.field_settings import OwnName, PositionSettings
from gateway.sensing.local import TYPES
from gateway.settings import Folder, Mistake, Strict
from gateway.text import _

if TYPE_CHECKING:
    from gateway.config import GatewaySettings

SOURCES_MAX: Final = 64


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        allowed = _('an address of this machine, as 192.168.1.1; "0.0.0.0" and "::" are all of them')
        raise Mistake("address", allowed) from None


def _types(types: tuple[str, ...]) -> tuple[str, ...]:
    if not set(types) <= set(TYPES):
        raise Mistake("types", _("one of {types}"), {"types": ", ".join(TYPES)})
    return types


def _sha256(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise Mistake("sha256", _("64 of 0-9, a-f: what sha256sum makes of the token"))
    return text


Path = Folder  # placed beside the settings; looked at when the port is opened, so that alarms start without it


class LocalInputTable(Strict):
    """`[local_input]`: without it nothing listens."""

    address: Annotated[str, AfterValidator(_address)]
    port: int = Field(default=8443, ge=1024, le=65_535, strict=True)
    certificate: Path
    key: Path
    client_anchors: Path | None = None
    name: OwnName = "local-input"


class SourceTable(Strict):
    """One `[[source]]`: who may raise events, and how it shows who it is."""

    name: OwnName
    types: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_types)]
    token_file: Path | None = None
    token_sha256: Annotated[str, AfterValidator(_sha256)] | None = None
    certificate: str | None = Field(default=None, min_length=1, max_length=253)
    position: PositionSettings | None = None
    per_minute: int = Field(default=60, ge=1, le=6000, strict=True)
    burst: int = Field(default=20, ge=1, le=1000, strict=True)


def refuse_bad_sources(settings: "GatewaySettings") -> None:
    """Raise SettingsError where a source can't show who it is, or two would be taken for each other."""
    if settings.source and settings.local_input is None:
        raise SettingsError(
            "source: " + _("there is no [local_input] to hear it"), _("add that table: docs/operate/local-input.md")
        )
    if len(settings.source) > SOURCES_MAX:
        raise SettingsError("source: " + _("at most {most}").format(most=SOURCES_MAX))
    used: dict[tuple[str, str], str] = {}
    for index, source in enumerate(settings.source):
        key = f"source[{index}]"
        given = {
            "token_file": source.token_file,
            "token_sha256": source.token_sha256,
            "certificate": source.certificate,
        }
        shown = {name: str(value) for name, value in given.items() if value is not None}
        if not shown or len(shown.keys() & {"token_file", "token_sha256"}) > 1:
            raise SettingsError(
                f"{key}: " + _("token_file, token_sha256 or certificate is required, and of the first two only one"),
                _("a token is made with: openssl rand -hex 32"),
            )
        if source.certificate is not None and settings.local_input and settings.local_input.client_anchors is None:
            raise SettingsError(
                f"{key}.certificate: " + _("only with local_input.client_anchors"),
                _("name the trust anchors under which the certificates of sources are issued"),
            )
        for name, value in shown.items():
            if (before := used.setdefault((name, value), source.name)) != source.name:
                raise SettingsError(
                    f"{key}.{name}: " + _("this is how {name} shows who it is").format(name=before),
                    _("give each source a token or a certificate of its own"),
                )
