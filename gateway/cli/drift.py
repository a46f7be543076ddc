"""Whether a running service goes by the settings that are in the file now, as far as its status shows them."""

from collections.abc import Iterator
from typing import Any, Final

from gateway import config
from gateway.config import GatewaySettings

_TABLES: Final = (  # of the settings, and of the status; and what both say of an entry
    ("input", "inputs", ("chip", "line", "on")),
    ("output", "outputs", ("chip", "line", "kind")),
    ("unit", "units", ("port", "address")),
    ("peripheral", "peripherals", ("port", "address")),
    ("source", "sources", ()),
)
_LINES: Final = {"modbus": "buses", "nmea": "gnss", "osdp": "osdp"}


def differing(settings: GatewaySettings, running: dict[str, Any]) -> list[str]:
    """Return the names of what one of them has and the other hasn't, or has in another way."""
    wanted, found = dict(_wanted(settings)), dict(_found(running))
    names = {**wanted, **found}
    return [f"{kind} {name}" for kind, name in names if wanted.get((kind, name)) != found.get((kind, name))]


def _wanted(settings: GatewaySettings) -> Iterator[tuple[tuple[str, str], Any]]:
    for key, value in config.summary(settings).items():
        yield ("gateway", key), value
    for broker in settings.broker:
        yield ("broker", f"{broker.host}:{broker.port}"), ()
    for port in settings.port:
        yield ("port", port.name), (None if port.driver == "field-link" else port.device, port.driver)
    if (local := settings.local_input) is not None:
        yield ("local_input", local.name), (local.address, local.port)
    for peripheral in settings.peripheral:
        for given in peripheral.input:
            yield ("peripheral.input", given.name), (peripheral.name, given.on)
    for kind, _table, keys in _TABLES:
        for entry in getattr(settings, kind):
            yield (kind, entry.name), tuple(getattr(entry, key) for key in keys)


def _found(running: dict[str, Any]) -> Iterator[tuple[tuple[str, str], Any]]:
    for key, value in running["gateway"].items():
        yield ("gateway", key), value
    for broker in running["brokers"]:
        yield ("broker", broker["broker"]), ()
    for port in running["ports"]:
        yield ("port", port["name"]), (None, "field-link")
    for driver, table in _LINES.items():
        for line in running[table]:
            yield ("port", line["name"]), (line["device"], driver)
    for local in running["local_inputs"]:
        yield ("local_input", local["name"]), (local["address"], local["port"])
    for peripheral in running["peripherals"]:
        for given in peripheral["inputs"]:
            yield ("peripheral.input", given["name"]), (peripheral["name"], given["on"])
    for kind, table, keys in _TABLES:
        for row in running[table]:
            yield (kind, row["name"]), tuple(row.get(key) for key in keys)
