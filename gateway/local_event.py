"""What `POST /v1/events` takes: one model, by which bodies are read, and of which the JSON Schema is made."""

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
OURS: Final = ("age_ms", "kind", "payload", "video")  # what the gateway itself says in a record
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
Name = Annotated[str, Field(pattern=NAME)]
Text = Annotated[str, Field(max_length=TEXT_MAX, pattern="^[^\\x00-\\x1f\\x7f]*$")]
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
        said = LocalEvent.model_validate_json(body)
    except ValidationError as error:
        mistakes = error.errors(include_url=False, include_input=False)
        told = (f"{_place(mistake['loc'])}{mistake['msg']}" for mistake in mistakes[:TOLD_MAX])
        return Refused("; ".join(told))
    except UnicodeDecodeError:
        return Refused("the body must be JSON in UTF-8")
    return Happening(said.type, said.age_ms, said.data)


def _place(loc: tuple[int | str, ...]) -> str:
    """Return where a mistake is; what a union tried there is nobody's business."""
    key = ".".join(str(step) for step in loc[:2])[:QUOTED_MAX]
    return f"{key}: " if key else ""


def schema() -> str:
    """Return the JSON Schema, as docs/reference/local-input.schema.json has it."""
    made = {"$schema": "https://json-schema.org/draft/2020-12/schema", **LocalEvent.model_json_schema()}
    return json.dumps(made, indent=2) + "\n"
