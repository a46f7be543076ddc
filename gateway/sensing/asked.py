"""A request and its answer, as whoever decides about them sees them: no sockets, no HTTP library.

Sources: RFC 9110 (status codes), RFC 9457 (problem details).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"
TITLES: Final = {
    200: "OK",
    202: "Accepted",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
}


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Header names are lower case; `repeated` are those that came more than once."""

    method: str
    target: str
    headers: Mapping[str, str]
    repeated: frozenset[str] = frozenset()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    """Its answer; `slow` seconds are let pass before anything else is read from who has asked."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    slow: float = 0.0


def answer(status: int, document: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON answer."""
    return Response(status, json.dumps(document).encode() + b"\n", JSON, headers or {})


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None, *, slow: float = 0.0) -> Response:
    """Return an answer that says what is wrong."""
    said = {"title": TITLES[status], "status": status, "detail": detail}
    return Response(status, json.dumps(said).encode() + b"\n", PROBLEM, headers or {}, slow)
