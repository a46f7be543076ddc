"""OSDP frames: whole, of the right check, and allowed where they are; and whose turn the line is."""

import binascii

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sensing.osdp import CRC_START, Asked, Frame, Frames, Keys, allowed
from gateway.sensing.turns import ANSWER, LOST_AFTER, POLL, Turns

# A poll of libosdp's control panel to a peripheral with the address 1, and its peripheral's identity and challenge.
POLL_1 = bytes.fromhex("ff530109000461006023")
IDENTITY = bytes.fromhex("538114000445010000010101000000000001e65c")
CHALLENGE = bytes.fromhex("53812b000e031201760100010001000000478d7aa05d83f3ea727246cbdd9235feeea8270b98343cde4b9f")
BY_DEFAULT = bytes.fromhex("53812b000f031200760100010001000000a2b7249b043e23cdf60110c08df8108f2a83408a264d2e15d154")


def reply(code: int, block: int | None = None, data: bytes = b"", sequence: int = 0) -> bytes:
    """Return a frame of the peripheral 1."""
    security = b"" if block is None else bytes((2, block))
    control = 0x04 | sequence | (0x08 if security else 0)
    body = security + bytes((code,)) + data
    head = bytes((0x53, 0x81)) + (5 + len(body) + 2).to_bytes(2, "little") + bytes((control,))
    return head + body + binascii.crc_hqx(head + body, CRC_START).to_bytes(2, "little")


def test_frames_are_found_among_marks_noise_and_what_is_cut_off() -> None:
    frames = Frames()
    assert frames.feed(b"\x00\xff" + POLL_1 + IDENTITY[:9]) == [Frame(1, False, 0x61, None, b"\x00", POLL_1[1:])]
    assert frames.feed(IDENTITY[9:] + b"\x53\x81") == [Frame(1, True, 0x45, None, IDENTITY[6:-2], IDENTITY)]
    assert frames.noise == 1
    assert frames.feed(CHALLENGE + BY_DEFAULT) == [
        Frame(1, True, 0x76, 0x12, CHALLENGE[9:-2], CHALLENGE),
        Frame(1, True, 0x76, 0x12, BY_DEFAULT[9:-2], BY_DEFAULT),
    ]
    assert frames.feed(IDENTITY[:9]) == []
    frames.clear()
    assert (frames.feed(IDENTITY[9:]), frames.noise) == ([], 11)
    frames.clear()
    assert not frames.damaged
    assert (frames.feed(IDENTITY[:-1]), frames.noise, frames.damaged) == ([], 0, True), "it ended too early"


def test_a_frame_with_one_wrong_bit_is_noise_and_the_next_is_found() -> None:
    for bit in range(8 * len(IDENTITY)):
        wrong = bytearray(IDENTITY)
        wrong[bit // 8] ^= 1 << bit % 8
        frames = Frames()
        found = frames.feed(bytes(wrong)) + frames.feed(bytes(300)) + frames.feed(IDENTITY)
        assert [frame.raw for frame in found] == [IDENTITY], bit
        assert frames.noise


@given(st.lists(st.binary(max_size=300)))
def test_no_bytes_are_too_strange_and_nothing_piles_up(chunks: list[bytes]) -> None:
    frames = Frames()
    for chunk in chunks:
        for frame in frames.feed(chunk):
            assert len(frame.raw) <= 255
    frames.feed(b"\x53" * 300)
    assert frames.feed(bytes(300) + IDENTITY)[-1].raw == IDENTITY


@pytest.mark.parametrize(
    ("code", "block", "asked", "secure", "so"),
    [
        (0x54, None, Asked.IDENTITY, False, False),  # libosdp would ask another address from then on
        (0x54, 0x16, Asked.POLL, True, False),
        (0x46, None, Asked.IDENTITY, False, False),
        (0x79, None, Asked.IDENTITY, False, False),  # libosdp would lose count
        (0x79, 0x16, Asked.POLL, True, False),
        (0x49, 0x18, Asked.OUTPUT, True, False),
        (0x41, 0x16, Asked.OUTPUT, True, True),
        (0x40, None, Asked.POLL, False, True),
        (0x40, None, Asked.POLL, True, False),  # in clear on a secure channel
        (0x41, None, Asked.POLL, True, True),  # it has lost the channel
        (0x79, None, Asked.POLL, True, False),
        (0x40, None, Asked.KEYSET, True, True),  # libosdp: some forget the channel with the old key
        (0x40, 0x16, Asked.POLL, True, True),
        (0x49, 0x18, Asked.POLL, True, True),
        (0x49, 0x12, Asked.POLL, True, False),  # no MAC is asked of a handshake
        (0x49, 0x14, Asked.POLL, True, False),
        (0x76, 0x12, Asked.CHALLENGE, False, True),
        (0x78, 0x14, Asked.CRYPTOGRAM, False, True),
        (0x78, 0x14, Asked.CHALLENGE, False, False),
        (0x49, 0x17, Asked.POLL, True, False),  # a panel's
    ],
)
def test_an_answer_is_allowed_only_where_its_security_block_may_be(
    code: int, block: int | None, asked: int, secure: bool, so: bool
) -> None:
    (frame,) = Frames().feed(reply(code, block))
    assert allowed(frame, asked, secure=secure) is so


@pytest.mark.parametrize(
    ("code", "data", "asked", "so"),
    [
        (0x46, (9, 1, 1, 10, 1, 0), Asked.CAPABILITIES, False),  # room for one byte
        (0x46, (9, 1, 1, 10, 127, 0), Asked.CAPABILITIES, False),
        (0x46, (9, 1, 1, 10, 128, 0), Asked.CAPABILITIES, True),
        (0x46, (10, 0, 1, 9, 1, 1), Asked.CAPABILITIES, True),
        (0x46, (10, 0, 0), Asked.CAPABILITIES, True),  # it doesn't say
        (0x41, (1,), Asked.POLL, False),  # a damaged question: asked again, and by a CRC
        (0x41, (6,), Asked.POLL, True),
    ],
)
def test_what_libosdp_would_be_lamed_by_is_kept_from_it(code: int, data: tuple[int, ...], asked: int, so: bool) -> None:
    (frame,) = Frames().feed(reply(code, None, bytes(data)))
    assert allowed(frame, asked, secure=False) is so


def test_keys_say_nothing_of_themselves() -> None:
    keys = Keys(b"0123456789abcdef", b"fedcba9876543210")
    assert keys.known == (b"0123456789abcdef", b"fedcba9876543210")
    assert "0123" not in f"{keys!r} {keys}"


def test_those_that_answer_are_asked_in_turn_once_a_poll() -> None:
    turns = Turns(("a", "b"), 10.0)
    assert turns.next(10.0) == "a"
    turns.answered("a", 10.02, more=False)
    assert turns.next(10.02) == "b"
    turns.answered("b", 10.04, more=True)
    assert turns.next(10.04) == "b", "a connection is being set up"
    turns.answered("b", 10.05, more=False)
    assert turns.next(10.05) is None
    assert turns.deadline(10.05) == 10.02 + POLL
    turns.hurry("b", 10.06)
    assert turns.next(10.06) == "b", "it is to be told something"


def test_a_dead_one_is_lost_after_three_questions_and_takes_a_twelfth_of_the_line_at_most() -> None:
    turns, now, asked, lost_at = Turns(("dead",), 0.0), 0.0, list[float](), list[float]()
    while now < 60:
        now = max(now, turns.deadline(now))
        assert turns.next(now) == "dead"
        asked.append(now)
        now += ANSWER
        if turns.failed("dead", now):
            lost_at.append(now)
    assert asked[:4] == pytest.approx([0.0, 1.008, 2.016, 4.719])
    assert len(lost_at) == len(asked) - (LOST_AFTER - 1)
    assert lost_at[0] == pytest.approx(2.219)
    assert len([at for at in asked if at > 3]) * ANSWER / 57 < 1 / 12
    turns.hurry("dead", now)
    assert turns.next(now) is None, "an order doesn't hurry one that is silent"
    turns.answered("dead", now, more=False)
    assert not turns.failed("dead", now), "it begins anew"
