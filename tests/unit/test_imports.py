"""Who may import whom, read from the source: docs/explain/architecture.md as a table, one row per package.

A module belongs to the row with the longest name that is its own or a package above it. It may import its own row, the
rows that its row names, the standard library (a pure one: without what has effects), and a third-party library only
where that library is at home.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("gateway", "firmware_sim", "certs")

# I/O, clocks, randomness, the event loop; and importlib, by which any of them could be had unseen.
EFFECTS: Final = frozenset(
    {
        *("asyncio", "select", "socket", "ssl", "serial", "sqlite3", "os", "subprocess", "threading"),
        *("time", "random", "secrets", "logging", "importlib"),
    }
)


@dataclass(frozen=True, slots=True)
class Row:
    """What a package may import of ours, beside itself."""

    ours: frozenset[str]
    pure: bool = False  # ring 0 and 1: no effects
    types: bool = False  # tasks: any shell, but for its type alone, under TYPE_CHECKING


VOCABULARY: Final = frozenset(
    {"gateway.errors", "gateway.event", "gateway.topics", "gateway.ranges", "gateway.text"}
    | {"gateway.__version__", "gateway.RELEASED"}
)
CORE: Final = frozenset(
    {"gateway.fieldlink", "gateway.sensing", "gateway.signing", "gateway.delivery", "gateway.control", "gateway.c5"}
    | {"gateway.wall"}
)
SHELLS: Final = frozenset(
    {
        *("gateway.drivers", "gateway.outbox", "gateway.registry", "gateway.identity", "gateway.database"),
        *("gateway.mqtt", "gateway.tls", "gateway.clock", "gateway.notify", "gateway.metrics", "gateway.console"),
        *("gateway.aside", "gateway.c5.ledger", "gateway.c5.sinks"),
    }
)
TASKS: Final = frozenset({"gateway.tasks", "gateway.c5.receiver"})
# What both ends' settings share is wiring of the centre's too.
CENTRE_WIRING: Final = frozenset(
    {"gateway.settings", "gateway.c5.app", "gateway.c5.config", "gateway.c5.cli", "gateway.c5.watch"}
    | {"gateway.c5.command", "gateway.c5.desk", "gateway.c5.importing"}
)
WIRING: Final = frozenset(
    {
        "gateway.app",
        "gateway.applied",
        "gateway.buses",
        "gateway.bus_settings",
        "gateway.contact_settings",
        "gateway.field_settings",
        "gateway.fieldside",
        "gateway.osdp_settings",
        "gateway.peripherals",
        "gateway.local_event",
        "gateway.local_input",
        "gateway.local_settings",
        "gateway.site",
        "gateway.gnss",
        "gateway.gnss_settings",
        "gateway.commanding",
        "gateway.contacts",
        "gateway.credentials",
        "gateway.dialling",
        "gateway.world",
        "gateway.config",
        "gateway.cli",
        "gateway.status",
        "gateway.demo",
    }
)
# The centre's end is installed without device libraries.
CENTRE_MAY_USE: Final = frozenset(
    {
        *("gateway.signing", "gateway.delivery", "gateway.database", "gateway.mqtt", "gateway.tls", "gateway.clock"),
        *("gateway.identity", "gateway.notify", "gateway.metrics"),
        *("gateway.c5", "gateway.c5.ledger", "gateway.c5.sinks", "gateway.c5.receiver"),
    }
)

ROWS: Final[dict[str, Row]] = {
    # 0: vocabulary
    **dict.fromkeys(VOCABULARY, Row(VOCABULARY)),
    "gateway": Row(frozenset()),
    # 1: core. `gateway.c5` is every module of it that has no row of its own: the verifier and its like.
    **dict.fromkeys(CORE, Row(VOCABULARY, pure=True)),
    "gateway.sensing": Row(VOCABULARY | {"gateway.fieldlink"}, pure=True),
    "gateway.control": Row(VOCABULARY | {"gateway.signing"}, pure=True),
    "gateway.wall": Row(VOCABULARY | {"gateway.signing"}, pure=True),
    "gateway.c5": Row(VOCABULARY | {"gateway.signing"}, pure=True),
    # 2: shells. Not each other, but for mqtt → tls, and the one thread that SQLite runs on.
    **dict.fromkeys(SHELLS, Row(VOCABULARY | CORE)),
    "gateway.mqtt": Row(VOCABULARY | CORE | {"gateway.tls"}),
    "gateway.database": Row(VOCABULARY | CORE | {"gateway.aside"}),
    "gateway.outbox": Row(VOCABULARY | CORE | {"gateway.database"}),
    "gateway.registry": Row(VOCABULARY | CORE | {"gateway.database"}),
    "gateway.c5.ledger": Row(VOCABULARY | CORE | {"gateway.database"}),
    # 3: tasks
    **dict.fromkeys(TASKS, Row(VOCABULARY | CORE, types=True)),
    # 4: wiring, imported by nothing but wiring
    **dict.fromkeys(
        WIRING, Row(VOCABULARY | CORE | SHELLS | TASKS | WIRING | CENTRE_WIRING | {"certs", "firmware_sim"})
    ),
    **dict.fromkeys(CENTRE_WIRING, Row(VOCABULARY | CENTRE_MAY_USE | CENTRE_WIRING)),
    # Beside the gateway
    "certs": Row(VOCABULARY | {"gateway.signing.certificate"}),
    "firmware_sim": Row(frozenset({"gateway.fieldlink"})),
}

# One home for each library; of the standard library's, for those that own a resource.
HOMES: Final[dict[str, tuple[str, ...]]] = {
    "aiomqtt": (),  # the tests' own eyes on a broker
    "cbor2": ("gateway.signing", "gateway.fieldlink"),
    "cryptography": ("gateway.signing", "gateway.fieldlink", "gateway.identity", "gateway.tls", "certs"),
    "cwt": ("gateway.signing",),
    "gpiod": ("gateway.drivers",),
    "h11": ("gateway.drivers",),
    "iotcore": ("firmware_sim.broker",),
    "osdp": (),
    "osdp_sys": ("gateway.drivers", "firmware_sim.osdp"),
    "paho": ("gateway.mqtt",),
    "prometheus_client": ("gateway.metrics",),
    "pydantic": (
        "gateway.settings",
        "gateway.config",
        "gateway.bus_settings",
        "gateway.contact_settings",
        "gateway.field_settings",
        "gateway.osdp_settings",
        "gateway.local_event",
        "gateway.local_settings",
        "gateway.gnss_settings",
        "gateway.c5.config",
        "firmware_sim.scenario",
        "firmware_sim.kinds",
    ),
    "pydantic_core": ("gateway.settings",),
    "pymodbus": ("gateway.drivers",),
    "pynmea2": ("gateway.drivers",),
    "pytest": ("firmware_sim.pytest_plugin",),
    "rich": ("gateway.cli", "gateway.c5.cli", "gateway.c5.watch", "certs.cli", "firmware_sim.cli"),
    "serial": ("gateway.drivers",),
    "sqlite3": ("gateway.database", "gateway.outbox", "gateway.registry", "gateway.c5.ledger"),
    "ssl": ("gateway.tls", "gateway.mqtt", "firmware_sim.help_point"),
    "typer": ("gateway.cli", "gateway.c5.cli", "certs.cli", "firmware_sim.cli"),
}


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def row_of(name: str) -> str | None:
    return max((row for row in ROWS if within(name, row)), key=len, default=None)


def imports(source: str, module: str, *, is_package: bool) -> Iterator[tuple[str, bool]]:
    """Yield each imported name in full, and whether it is imported for the type checker alone."""
    tree = ast.parse(source)
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in guarded) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -(node.level - is_package) or None] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((f"{origin}.{alias.name}", id(node) in guarded) for alias in node.names)


def broken(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """Return a sentence for each import of this source that the table forbids."""
    own = row_of(module)
    if own is None:
        return [f"{module} has no row in the table"]
    row, sentences = ROWS[own], []
    for name, for_types in imports(source, module, is_package=is_package):
        library = name.partition(".")[0]
        if library in PACKAGES:
            target = row_of(name)
            allowed = target in {own, *row.ours} or any(within(name, ours) for ours in row.ours if ours not in ROWS)
            if not allowed and not (row.types and for_types and target in SHELLS):
                sentences.append(f"{module} imports {name}")
        elif row.pure and library in EFFECTS:
            sentences.append(f"{module} is pure and imports {name}")
        elif library in HOMES:
            if not any(within(module, home) for home in HOMES[library]):
                sentences.append(
                    f"{module} imports {name}, which is at home in {' and '.join(HOMES[library]) or 'tests'}"
                )
        elif library not in sys.stdlib_module_names:
            sentences.append(f"{module} imports {name}, which has no home in the table")
    return sentences


def modules() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def test_every_import_is_allowed_by_the_table() -> None:
    found = list(modules())
    assert len(found) > 10
    sentences = [
        sentence
        for module, path in found
        for sentence in broken(module, path.read_text(encoding="utf-8"), is_package=path.name == "__init__.py")
    ]
    assert sentences == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("gateway.errors", "from gateway.signing.cose import Signer"),
        ("gateway.fieldlink.session", "import asyncio"),
        ("gateway.fieldlink.session", "from time import monotonic"),
        ("gateway.fieldlink.session", "import os.path"),
        ("gateway.delivery.schedule", "def later():\n    import random"),
        ("gateway.delivery.schedule", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import asyncio"),
        ("gateway.control.feedback", "from gateway.fieldlink.message import Ack"),
        ("gateway.sensing.interpret", "from gateway.outbox.store import Store"),
        ("gateway.sensing.interpret", "import cbor2"),
        ("gateway.signing.record", "import logging"),
        ("gateway.c5.verifier", "import sqlite3"),
        ("gateway.c5.verifier", "from gateway.c5.ledger import Ledger"),
        ("gateway.c5.verifier", "from .ledger import Ledger"),
        ("gateway.c5.verifier", "from . import ledger"),
        ("gateway.c5.quarantine", "import time"),
        ("gateway.mqtt", "from gateway.outbox import store"),
        ("gateway.mqtt", "from gateway import outbox"),
        ("gateway.outbox.store", "import paho.mqtt.client"),
        ("gateway.outbox.store", "from gateway.app import App"),
        ("gateway.drivers.serial_port", "import gateway.clock"),
        ("gateway.tasks.uplink", "from gateway.mqtt import Connection"),
        ("gateway.tasks.uplink", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import gateway.app"),
        ("gateway.tasks.uplink", "if __debug__:\n    from gateway.mqtt import Connection"),
        ("gateway.c5.receiver", "import sqlite3"),
        ("gateway.c5.cli", "from gateway.drivers.serial_port import SerialPort"),
        ("gateway.cli.main", "import paho.mqtt.client"),
        ("gateway.cli.main", "import requests"),
        ("gateway.novelty", "import gateway.errors"),
        ("certs.authority", "from gateway.signing.cose import Signer"),
        ("certs.authority", "import typer"),
        ("firmware_sim.board", "from gateway.errors import Refused"),
        ("firmware_sim.board", "import aiomqtt"),
        ("stranger", ""),
    ],
)
def test_a_broken_rule_is_seen(module: str, source: str) -> None:
    assert len(broken(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("gateway.sensing.interpret", "from gateway.fieldlink.message import Event"),
        ("gateway.signing.cose", "import cwt, cbor2\nfrom cryptography.hazmat.primitives import hashes"),
        ("gateway.control.authorise", "from gateway.signing.cose import parse"),
        ("gateway.signing.record", "from .cose import Signer\nfrom . import cose\nfrom ..errors import Refused"),
        ("gateway.mqtt", "import asyncio, ssl\nimport paho.mqtt.client\nfrom gateway import tls, errors, __version__"),
        ("gateway.outbox.store", "from gateway.database import Database\nimport sqlite3"),
        ("gateway.tasks.uplink", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from gateway import mqtt"),
        ("gateway.app", "from gateway import mqtt, tasks\nfrom gateway.outbox.store import Store"),
        ("certs.authority", "from gateway.signing.certificate import judge"),
        ("firmware_sim.board", "from gateway.fieldlink.message import Event"),
    ],
)
def test_what_the_table_allows_is_allowed(module: str, source: str) -> None:
    assert broken(module, source) == []
