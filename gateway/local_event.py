"""What `POST /v1/events` takes: one model, by which bodies are read, and of which the JSON Schema is made.

What JSON leaves open is refused before: a name twice, a number that others round, more names than there may be.
"""

import json
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from gateway.errors import Refused
from gateway.sensing.local import TYPES, Happening
from gateway.settings import Mistake

AGE_MAX: Final = 86_400_000  # ms: a day
DATA_MAX: Final = 1024  # bytes of JSON: with its cameras a record stays below 4 KiB
NAMES_MAX: Final = 16
TEXT_MAX: Final = 256  # characters
INT_MAX: Final = 2**53 - 1
# What the gateway itself says in a record, or what tells C5 one trouble from others: a source has one of a type.
OURS: Final = ("age_ms", "kind", "limit", "payload", "point", "quantity", "video")
TOLD_MAX: Final = 4  # mistakes
QUOTED_MAX: Final = 80  # characters of where a mistake is


def _type(type_: str) -> str:
    if type_ not in TYPES:
        raise Mistake("type", "one of {types}", {"types": ", ".join(TYPES)})
    return type_


def _data(data: dict[str, Any]) -> dict[str, Any]:
    if taken := data.keys() & set(OURS):
        raise Mistake("taken", "{names} are the gateway's own", {"names": ", ".join(sorted(taken))})
    if len(json.dumps(data, ensure_ascii=False).encode()) > DATA_MAX:
        raise Mistake("size", "at most {most} bytes as JSON", {"most": DATA_MAX})
    return data


NAME: Final = "^[a-z][a-z0-9_]{0,31}$"
# No control characters, nor those that turn around how the rest is read.
TEXT: Final = "^[^\\x00-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]*$"
Name = Annotated[str, Field(pattern=NAME)]
Text = Annotated[str, Field(max_length=TEXT_MAX, pattern=TEXT)]
Whole = Annotated[int, Field(ge=-INT_MAX, le=INT_MAX)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class LocalEvent(BaseModel):
    """An event that a source in the tower raises."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, title="C5 local input: an event")

    type: Annotated[str, AfterValidator(_type)] = Field(
        description="What happened; the gateway's settings say which of them a source may raise.",
        json_schema_extra={"enum": list(TYPES)},
    )
    age_ms: int = Field(
        default=0, ge=0, le=AGE_MAX, description="How long ago it happened, in milliseconds; grows with each try."
    )
    data: Annotated[dict[Name, bool | Whole | Number | Text], AfterValidator(_data)] = Field(
        default_factory=dict,
        max_length=NAMES_MAX,
        description=f"What else is known, single values; at most {DATA_MAX} bytes as JSON.",
        json_schema_extra={"propertyNames": {"pattern": NAME, "not": {"enum": list(OURS)}}},
    )


def read(body: bytes) -> Happening | Refused:
    """Read a request's body; what is refused says where and why, and quotes nothing but the names of keys."""
    try:
        said = LocalEvent.model_validate(
            json.loads(body.decode(), object_pairs_hook=_object, parse_int=_integer, parse_constant=_constant)
        )
    except ValidationError as error:
        mistakes = error.errors(include_url=False, include_input=False)
        told = (f"{_place(mistake['loc'])}{mistake['msg']}" for mistake in mistakes[:TOLD_MAX])
        return Refused("; ".join(told))
    except UnicodeDecodeError:
        return Refused("the body must be JSON in UTF-8")
    except json.JSONDecodeError as error:
        return Refused(f"no JSON: {error.msg} at line {error.lineno}, column {error.colno}")
    except RecursionError:
        return Refused("no JSON that may be: too deep")
    except _Unfit as error:
        return Refused(str(error))
    return Happening(said.type, said.age_ms, said.data)


class _Unfit(Exception):  # noqa: N818  # a value on its way out of json.loads
    """What is JSON, and taken by none."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > NAMES_MAX:
        raise _Unfit(f"at most {NAMES_MAX} names")
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Unfit("a name twice")
    return found


def _integer(digits: str) -> int:
    if len(digits) > 17 or abs(number := int(digits)) > INT_MAX:
        raise _Unfit("an integer beyond 2^53 - 1")
    return number


def _constant(name: str) -> float:
    raise _Unfit(f"{name} is no JSON")


def _place(loc: tuple[int | str, ...]) -> str:
    """Return where a mistake is; what a union tried there is nobody's business."""
    key = ".".join(str(step) for step in loc[:2])[:QUOTED_MAX]
    return f"{key}: " if key else ""


def schema() -> str:
    """Return the JSON Schema, as docs/reference/local-input.schema.json has it."""
    made = {"$schema": "https://json-schema.org/draft/2020-12/schema", **LocalEvent.model_json_schema()}
    return json.dumps(made, indent=2) + "\n"
