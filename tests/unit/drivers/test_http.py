"""HTTP/1.1 at the server's seam: bytes go in whole or one at a time, requests and answers come out."""

import pytest

from gateway.drivers.http import (
    ALL_MAX,
    BODY_MAX,
    HEAD_MAX,
    READ,
    READS_MAX,
    Bad,
    Conversation,
    Head,
    More,
    Over,
    Whole,
)
from gateway.sensing.asked import Request, answer, problem

HEADERS = b"Host: a\r\nAuthorization: Bearer x\r\n"
POST = b"POST /v1/events HTTP/1.1\r\n" + HEADERS + b"Content-Length: 4\r\n\r\nbody"
CHUNKED = (
    b"POST /v1/events HTTP/1.1\r\n" + HEADERS + b"Transfer-Encoding: chunked\r\n\r\n1\r\nb\r\n3;x=y\r\nody\r\n0\r\n\r\n"
)
OLD = b"GET /v1/schema HTTP/1.0\r\nAuthorization: Bearer x\r\n\r\n"


def talk(data: bytes, step: int) -> tuple[list[Request], list[int], bytes, bool]:
    """Answer each request with 404; return what was heard whole, what was refused, and whether it goes on."""
    conversation, at = Conversation(), 0
    whole: list[Request] = []
    refused: list[int] = []
    said = b""
    while True:
        match conversation.next():
            case More():
                if at >= len(data):
                    return whole, refused, said, conversation.open
                conversation.feed(data[at : at + step])
                at += step
            case Head():
                said += conversation.go_on()
            case Whole(request):
                whole.append(request)
                said += conversation.reply(problem(404, "x"), close=False)
            case Bad(response):
                refused.append(response.status)
                said += conversation.reply(response, close=True)
            case Over():
                return whole, refused, said, conversation.open


def _request(method: str, target: str, body: bytes = b"", **headers: str) -> Request:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(method, target, names, frozenset(), body)


AUTH = {"host": "a", "authorization": "Bearer x"}


@pytest.mark.parametrize("step", [READ, 7, 1])
@pytest.mark.parametrize(
    ("data", "heard", "goes_on"),
    [
        (POST, [_request("POST", "/v1/events", b"body", **AUTH, content_length="4")], True),
        (CHUNKED, [_request("POST", "/v1/events", b"body", **AUTH, transfer_encoding="chunked")], True),
        (OLD, [_request("GET", "/v1/schema", authorization="Bearer x")], False),
        (POST + CHUNKED + OLD + POST, [
            _request("POST", "/v1/events", b"body", **AUTH, content_length="4"),
            _request("POST", "/v1/events", b"body", **AUTH, transfer_encoding="chunked"),
            _request("GET", "/v1/schema", authorization="Bearer x"),
        ], False),
        (b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + POST, [
            _request("HEAD", "/", host="a"), _request("POST", "/v1/events", b"body", **AUTH, content_length="4"),
        ], True),
    ],
)  # fmt: skip
def test_requests_are_heard_however_they_are_cut(
    data: bytes, heard: list[Request], step: int, *, goes_on: bool
) -> None:
    whole, refused, said, open_ = talk(data, step)
    assert (whole, refused, open_) == (heard, [], goes_on)
    assert said.count(b"HTTP/1.1 404 Not Found\r\n") == len(heard)


@pytest.mark.parametrize("step", [READ, 32])
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n  folded\r\nX : y\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"G" * (HEAD_MAX + 2), 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * HEAD_MAX, 431),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET / HTTP/9.1\r\nHost: a\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"%d" % (BODY_MAX + 1) + b"\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1000\r\n" + b"x" * 4096 + b"\r\n"
         + b"3001\r\n" + b"x" * 12289, 413),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"1;" + b"x" * 4000 + b"\r\na\r\n")
         * (ALL_MAX // 4000 + 1), 413),
    ],
)  # fmt: skip
def test_what_is_too_much_or_no_http_is_refused_and_ends_the_connection(data: bytes, status: int, step: int) -> None:
    _whole, refused, said, open_ = talk(data, step)
    assert (refused, open_) == ([status], False)
    assert b"connection: close\r\n" in said
    assert b"h11" not in said
    assert b"server:" not in said.lower()


def test_a_request_that_comes_byte_by_byte_costs_so_many_turns_and_no_more() -> None:
    _whole, refused, _said, open_ = talk(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * (READS_MAX - 32), 1)
    assert (refused, open_) == ([], True)
    _whole, refused, _said, open_ = talk(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * READS_MAX, 1)
    assert (refused, open_) == ([413], False)


@pytest.mark.parametrize("cut", range(1, len(POST)))
def test_half_a_request_is_none_and_its_end_ends_the_talk(cut: int) -> None:
    conversation = Conversation()
    conversation.feed(POST[:cut])
    head = conversation.next()
    if isinstance(head, Head):
        assert isinstance(conversation.next(), More)
    else:
        assert isinstance(head, More)
    assert conversation.begun
    conversation.feed(b"")
    ended = conversation.next()
    assert isinstance(ended, Bad | Over)


def test_who_waits_to_be_told_so_sends_his_body_then() -> None:
    conversation = Conversation()
    conversation.feed(POST.replace(b"Content-Length", b"Expect: 100-continue\r\nContent-Length")[:-4])
    assert isinstance(conversation.next(), Head)
    assert conversation.go_on().startswith(b"HTTP/1.1 100 ")
    conversation.feed(b"body")
    heard = conversation.next()
    assert isinstance(heard, Whole)
    assert heard.request.body == b"body"
    assert conversation.go_on() == b""


def test_who_is_refused_before_his_body_is_cut_off() -> None:
    conversation = Conversation()
    conversation.feed(POST[:-4])
    assert isinstance(conversation.next(), Head)
    said = conversation.reply(problem(401, "nobody", {"www-authenticate": "Bearer"}), close=False)
    assert said == (
        b"HTTP/1.1 401 Unauthorized\r\ncontent-type: application/problem+json\r\ncontent-length: 61\r\n"
        b"cache-control: no-store\r\nwww-authenticate: Bearer\r\nconnection: close\r\n\r\n"
        b'{"title": "Unauthorized", "status": 401, "detail": "nobody"}\n'
    )
    assert not conversation.open
    assert isinstance(conversation.next(), Over)


def test_a_header_that_comes_twice_is_known_as_such() -> None:
    conversation = Conversation()
    conversation.feed(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nx-a: 2\r\n\r\n")
    head = conversation.next()
    assert isinstance(head, Head)
    assert head.request == Request("GET", "/", {"host": "a", "x-a": "1"}, frozenset({"x-a"}))
    assert isinstance(conversation.next(), Whole)
    assert conversation.reply(answer(200, {}), close=True).startswith(b"HTTP/1.1 200 OK\r\n")
    assert not conversation.open
