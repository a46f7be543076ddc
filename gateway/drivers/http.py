"""One connection's HTTP/1.1 on the server's side, without a socket: bytes in, requests out, answers to bytes.

h11 reads and writes the protocol; here stands how much of it is taken. What is bounded: a head, a body, and all the
bytes of a request together, so that chunks of one byte with long extensions end too. A request is handed out twice:
when its head is there, so that who isn't let in is refused before his body is read, and when it is whole.

h11 is imported when the first connection is made: a gateway without local input never loads it.

Sources: RFC 9112; h11's own rules, "API reference".
"""

from dataclasses import dataclass, replace
from typing import Any, Final

from gateway.sensing.asked import TITLES, Request, Response, problem

SPOKEN: Final = (b"1.1", b"1.0")
HEAD_MAX: Final = 8 * 1024  # bytes of a request line and its headers
BODY_MAX: Final = 16 * 1024  # bytes
ALL_MAX: Final = HEAD_MAX + 2 * BODY_MAX  # bytes of one request on the wire
READS_MAX: Final = 512  # of one request: each costs a turn of the event loop, were it of one byte
READ: Final = 4 * 1024  # bytes to feed at once, so that little waits here unread


@dataclass(frozen=True, slots=True)
class Head:
    """A request whose body is still to come."""

    request: Request


@dataclass(frozen=True, slots=True)
class Whole:
    """A request with its body."""

    request: Request


@dataclass(frozen=True, slots=True)
class Bad:
    """What is no request, or too much of one: it is answered, and the connection ends."""

    response: Response


@dataclass(frozen=True, slots=True)
class More:
    """More bytes are needed."""


@dataclass(frozen=True, slots=True)
class Over:
    """The other side has nothing more to say."""


Heard = Head | Whole | Bad | More | Over


class Conversation:
    """What one connection says."""

    def __init__(self) -> None:
        import h11  # noqa: PLC0415  # a gateway without local input starts without it

        self._h11: Any = h11
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_MAX)
        self._request: Request | None = None
        self._body = bytearray()
        self._fed = 0
        self._reads = 0
        self._ended = False

    @property
    def begun(self) -> bool:
        """Whether a part of a request is here."""
        return self._request is not None or self._fed > 0

    def feed(self, data: bytes) -> None:
        """Take bytes, at most READ of them; none: the other side has ended."""
        self._fed += len(data)
        self._reads += 1
        self._connection.receive_data(data)

    def next(self) -> Heard:
        """Return what there is to do."""
        if self._ended:
            return Over()
        h11 = self._h11
        while True:
            try:
                event = self._connection.next_event()
            except h11.RemoteProtocolError as error:
                return Bad(problem(error.error_status_hint, "this is not HTTP/1.1 as it should be"))
            if self._fed > ALL_MAX or self._reads > READS_MAX or len(self._body) > BODY_MAX:
                return Bad(_too_much())
            if isinstance(event, h11.Request):
                self._request = _request(event)
                if event.http_version not in SPOKEN:
                    return Bad(problem(400, "this is neither HTTP/1.1 nor HTTP/1.0"))
                if {"content-length", "transfer-encoding"} <= self._request.headers.keys():  # RFC 9112, 6.1: smuggling
                    return Bad(problem(400, "Content-Length and Transfer-Encoding in one request"))
                if _length(self._request) > BODY_MAX:
                    return Bad(_too_much())
                return Head(self._request)
            if isinstance(event, h11.Data):
                self._body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert self._request is not None
                return Whole(replace(self._request, body=bytes(self._body)))
            elif event is h11.NEED_DATA:
                return More()
            else:  # it has ended, or wants another protocol, which nobody here speaks
                return Over()

    def go_on(self) -> bytes:
        """Return what tells the other side to send its body, if it waits for that."""
        if not self._connection.they_are_waiting_for_100_continue:
            return b""
        return self._connection.send(self._h11.InformationalResponse(status_code=100, headers=[])) or b""

    def reply(self, response: Response, *, close: bool) -> bytes:
        """Return the bytes of an answer; after it `open` says whether another request may come."""
        h11, connection = self._h11, self._connection
        if connection.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            self._ended = True
            return b""
        close = close or connection.their_state not in {h11.DONE, h11.MIGHT_SWITCH_PROTOCOL}
        headers = [
            ("content-type", response.content_type),
            ("content-length", str(len(response.body))),
            ("cache-control", "no-store"),
            *response.headers.items(),
            *([("connection", "close")] if close else []),
        ]
        said = (
            connection.send(h11.Response(status_code=response.status, headers=headers, reason=TITLES[response.status]))
            or b""
        )
        if self._request is None or self._request.method != "HEAD":
            said += connection.send(h11.Data(data=response.body)) or b""
        said += connection.send(h11.EndOfMessage()) or b""
        self._request = None
        self._body.clear()
        if connection.our_state is h11.DONE and connection.their_state is h11.DONE:
            connection.start_next_cycle()
            self._reads = 0
            self._fed = len(connection.trailing_data[0])  # what was sent before its turn counts for the next
        else:
            self._ended = True
        return said

    @property
    def open(self) -> bool:
        """Whether another request may come."""
        return not self._ended


def _request(event: Any) -> Request:
    headers: dict[str, str] = {}
    repeated: set[str] = set()
    for raw_name, raw_value in event.headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if name in headers:
            repeated.add(name)
        headers.setdefault(name, value)
    return Request(event.method.decode("latin-1"), event.target.decode("latin-1"), headers, frozenset(repeated))


def _length(request: Request) -> int:
    """Return how long a body is said to be; h11 has checked that it is digits."""
    return int(request.headers.get("content-length", "0"))


def _too_much() -> Response:
    return problem(413, f"a request has at most {BODY_MAX} bytes of body")
