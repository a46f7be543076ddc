"""Settings as TOML: what the gateway's and the receiver's files share, and how a mistake in one is told.

A file is read once, at the start, and refused as a whole: with the full name of the key, and what is allowed there. A
relative path in it is relative to the file's own folder.
"""

import ipaddress
import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from gateway.errors import SettingsError
from gateway.text import _
from gateway.topics import is_part

Model = TypeVar("Model", bound=BaseModel)
Mistake = PydanticCustomError  # a validator raises it with what is allowed

PART: Final = "[a-z0-9][a-z0-9-]{0,62}"
_LABEL: Final = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME: Final = re.compile(rf"(?:{_LABEL}\.)*(?![0-9]+$){_LABEL}")  # what ends in a number is an address, or a mistake
MISTAKES_TOLD: Final = 8  # of one file at once; the rest follows from these more often than not


def _part(text: str) -> str:
    if not is_part(text):
        raise Mistake("topic_part", _("lower-case letters, digits and hyphens: {part}"), {"part": PART})
    return text


def _host(text: str) -> str:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        if not _NAME.fullmatch(text):
            allowed = _("a DNS name, an IPv4 address, or an IPv6 address without brackets; nothing else")
            raise Mistake("host", allowed) from None
    return text


def _existing(path: Path, info: ValidationInfo) -> Path:
    if str(path).startswith("pkcs11:"):
        raise Mistake("no_pkcs11", _("the path of a file (keys in hardware are not supported yet)"))
    path = _placed(path, info)
    if not path.is_file():
        raise Mistake("no_file", _("the path of an existing file; there is none at {path}"), {"path": str(path)})
    return path


def _placed(path: Path, info: ValidationInfo) -> Path:
    return Path(info.context["folder"], path) if info.context else path


Host = Annotated[str, Field(min_length=1, max_length=253), AfterValidator(_host)]
Part = Annotated[str, AfterValidator(_part)]  # a name that a topic can hold
ExistingFile = Annotated[Path, AfterValidator(_existing)]
Folder = Annotated[Path, AfterValidator(_placed)]  # made when it isn't there


class Strict(BaseModel):
    """A table of settings: unknown keys are mistakes, and nothing changes after the start."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BrokerSettings(Strict):
    """One `[[broker]]`."""

    host: Host
    port: int = Field(default=8883, ge=1, le=65535, strict=True)
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    tls: bool = Field(default=True, strict=True)

    @property
    def loopback(self) -> bool:
        """Whether the broker is on this machine."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


class IdentitySettings(Strict):
    """`[identity]`: files in PEM form; certificates as chains, the holder's first and the trust anchor left out."""

    trust_anchors: ExistingFile
    tls_certificate: ExistingFile | None = None
    tls_key: ExistingFile | None = None
    signing_certificate: ExistingFile
    signing_key: ExistingFile
    revocation_list: ExistingFile | None = None


def refuse_bad_transport(brokers: Sequence[BrokerSettings], identity: IdentitySettings) -> None:
    """Raise SettingsError where a broker is used twice, or without TLS over a network, or with it but without a key."""
    reached: set[tuple[str, int]] = set()
    for index, broker in enumerate(brokers):
        if (place := (broker.host.lower(), broker.port)) in reached:
            raise SettingsError(
                f"broker[{index}].host: "
                + _("{host}, port {port}, is used twice").format(host=broker.host, port=broker.port),
                _("name each broker once; a second path is another host or port"),
            )
        reached.add(place)
        if not broker.tls and not broker.loopback:
            raise SettingsError(
                f"broker[{index}].tls: " + _("false is accepted for loopback addresses alone"),
                _("set it to true, or give 127.0.0.1, ::1 or localhost as the host"),
            )
    for key in ("tls_certificate", "tls_key"):
        if any(broker.tls for broker in brokers) and getattr(identity, key) is None:
            raise SettingsError(f"identity.{key}: " + _("is required"), _("a broker with tls = true asks for it"))


def find_settings(option: Path | None, variable: str, default: Path) -> Path:
    """Return the settings file to use: the option's, else the environment variable's, else the default."""
    if option is not None:
        return option
    named = os.environ.get(variable)
    return Path(named) if named else default


def load_toml(path: Path, model: type[Model]) -> Model:
    """Read a settings file, or raise SettingsError naming each wrong key in full and what is allowed there."""
    return check_tables(read_toml(path), model, path)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a file's tables, not looking at what they say. Raises SettingsError."""
    try:
        return tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise SettingsError(
            _("the settings file {path} can't be read: {reason}").format(path=path, reason=error.strerror),
            _("name one with --config FILE"),
        ) from error
    except (ValueError, RecursionError) as error:  # of no TOML, no text, too long a number; brackets in brackets
        raise SettingsError(
            _("{path} is not TOML: {reason}").format(path=path, reason=error),
            _("correct that line; docs/operate/install.md, step 3, has an example"),
        ) from error


def check_tables(tables: dict[str, Any], model: type[Model], path: Path, source: str | None = None) -> Model:
    """Read settings that are TOML already, of the file `path`; `source` is what to correct, if not that."""
    try:
        return model.model_validate(tables, context={"folder": path.absolute().parent})
    except ValidationError as error:
        mistakes = error.errors(include_url=False)
        told = [_mistake(mistake, model) for mistake in mistakes[:MISTAKES_TOLD]]
        raise SettingsError("\n".join(told), _("correct {path}").format(path=source or path)) from error


def _mistake(mistake: ErrorDetails, model: type[BaseModel]) -> str:
    """Return `full.key: what is allowed` for one of pydantic's findings."""
    key = ""
    for step in mistake["loc"]:
        key += f"[{step}]" if isinstance(step, int) else f".{step}" if key else step
    allowed = _allowed(mistake, model)
    return f"{key}: {allowed}" if key else allowed


def _allowed(mistake: ErrorDetails, model: type[BaseModel]) -> str:
    """Return what is allowed there. The sentences are pydantic's, here so that they can be translated."""
    match mistake["type"], mistake.get("ctx", {}):
        case "missing", _ctx:
            return _("is required")
        case "extra_forbidden", _ctx:
            table = _table(model, mistake["loc"][:-1])
            names = ", ".join(table.model_fields) if table else ""
            return _("no such setting; allowed here: {names}").format(names=names)
        case "literal_error", {"expected": expected}:
            return _("Input should be {expected}").format(expected=expected.replace(" or ", _(" or ")))
        case "greater_than_equal", {"ge": least}:
            return _("Input should be greater than or equal to {least}").format(least=least)
        case "less_than_equal", {"le": most}:
            return _("Input should be less than or equal to {most}").format(most=most)
        case "string_too_short", {"min_length": least}:
            return _("Input should have at least this many characters: {least}").format(least=least)
        case "string_too_long", {"max_length": most}:
            return _("Input should have at most this many characters: {most}").format(most=most)
        case "too_short", {"min_length": least}:
            return _("Input should have at least this many items: {least}").format(least=least)
        case "too_long", {"max_length": most}:
            return _("Input should have at most this many items: {most}").format(most=most)
        case "int_type" | "int_parsing" | "int_from_float", _ctx:
            return _("Input should be a whole number")
        case "float_type" | "float_parsing" | "finite_number", _ctx:
            return _("Input should be a number")
        case "bool_type" | "bool_parsing", _ctx:
            return _("Input should be true or false")
        case "string_type" | "path_type", _ctx:
            return _("Input should be a text in quotes")
        case "list_type" | "tuple_type", _ctx:
            return _("Input should be a list")
        case "model_type", _ctx:
            return _("Input should be a table")
        case _:
            return mistake["msg"]


def _table(model: type[BaseModel], steps: Sequence[int | str]) -> type[BaseModel] | None:
    """Find the model of the table at these steps below another."""
    found: type[BaseModel] | None = model
    for step in steps:
        if isinstance(step, int):
            continue
        entry = found.model_fields.get(step) if found else None
        found = _model_in(entry.annotation) if entry else None
    return found


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model inside an annotation such as `list[BrokerSettings]`."""
    if isinstance(annotation, type) and not get_origin(annotation) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in {list, tuple, Union, UnionType, Annotated}:
        return next((found for part in get_args(annotation) if (found := _model_in(part))), None)
    return None
