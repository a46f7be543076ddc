"""What a broker's codes mean to a technician: each in words of its own, and each with what to do."""

from gateway.mqtt.explain import explain_end, explain_refusal
from gateway.tasks.said import explain_refusal as explain_publish

TOPIC = "c5/v1/senafront/tower-3/gw-1/event/alarm"
DISCONNECTS = (0x87, 0x89, 0x8A, 0x8B, 0x8D, 0x8E, 0x90, 0x93, 0x95, 0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C)
CONNACKS = (0x84, 0x85, 0x87, 0x88, 0x8A, 0x90, 0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9D)
PUBACKS = (0x80, 0x87, 0x90, 0x95, 0x97, 0x99)


def test_every_reason_for_ending_a_connection_is_told_apart_with_what_to_do() -> None:
    told = [explain_end(code, "a name") for code in DISCONNECTS]
    assert len(set(told)) == len(DISCONNECTS)
    assert all(hint for _what, hint in told)
    assert all(f"(0x{code:02X})" in what for code, (what, _hint) in zip(DISCONNECTS, told, strict=True))
    assert explain_end(0x82, "Protocol error") == ("it ended the connection: protocol error (0x82)", "")


def test_every_refused_connection_is_told_apart_with_what_to_do() -> None:
    told = [explain_refusal(code) for code in CONNACKS]
    assert len(set(told)) == len(CONNACKS)
    assert all(hint for _what, hint in told)
    assert explain_refusal(0x80) == ("it refused the connection (0x80)", "The broker's log says why.")
    assert explain_refusal(0x8A) == (
        "this machine is banned there (0x8A)",
        "Ask who runs the broker why, and to let it in again.",
    )


def test_every_refused_message_is_told_apart_with_its_topic() -> None:
    told = [explain_publish(TOPIC, code) for code in PUBACKS]
    assert len(set(told)) == len(PUBACKS)
    assert all(TOPIC in text for text in told)
