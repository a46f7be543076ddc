"""A broker that turned out to speak MQTT 3.1.1 alone is not asked twice each time, and is asked again some day."""

from gateway.mqtt.version import Version


def test_what_a_broker_speaks_is_remembered_for_an_hour() -> None:
    version = Version("b:8883", "auto")
    assert version.ask(0.0) == "auto"
    version.spoken("3.1.1", 1.0)
    assert version.ask(2.0) == "3.1.1"
    version.spoken("3.1.1", 2.0)
    assert version.ask(3600.9) == "3.1.1"
    assert version.ask(3601.0) == "auto"
    version.spoken("5", 3601.0)
    assert version.ask(3602.0) == "auto"


def test_a_failure_forgets_it() -> None:
    version = Version("b:8883", "auto")
    version.spoken("3.1.1", 1.0)
    version.failed()
    assert version.ask(2.0) == "auto"


def test_what_the_settings_ask_for_is_asked_for() -> None:
    for asked in ("5", "3.1.1"):
        version = Version("b:8883", asked)
        version.spoken("3.1.1", 0.0)
        assert version.ask(1.0) == asked
