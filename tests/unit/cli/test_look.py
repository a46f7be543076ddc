"""What `status` prints of a device is in one language: the session's, whatever the service's is."""

from typing import Any

import pytest

from gateway.cli import look
from gateway.tasks import wrong


def test_what_is_wrong_with_a_device_is_put_into_words_where_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    device: dict[str, Any] = {
        "id": "0c500042", "name": "lobby", "model": "PB-1", "heard_s": 600.0, "battery_mv": 2400,
        "troubles": ["in the service's words"],
        "wrong": [
            {"what": "lost", "silent_s": 600}, {"what": "battery"}, {"what": "chattering", "count": 61},
            {"what": "what newer software finds"},
        ],
    }  # fmt: skip
    assert look._device(device) == (
        "0c500042   lobby: heard 600.0 s ago, 2400 mV, lost, nothing heard for 10 min: a press would not be heard, "
        "battery low, sends too much, 61 events in a minute, what newer software finds"
    )
    monkeypatch.setattr(wrong, "_", lambda text: f"<{text}>")
    monkeypatch.setattr(look, "_", lambda text: f"<{text}>")
    assert look._device(device | {"wrong": [{"what": "tamper"}, {"what": "stuck"}]}) == (
        "0c500042   lobby: <heard 600.0 s ago>, 2400 mV, "
        "<its case is open>, <its button is held down: it can't call again>"
    )
