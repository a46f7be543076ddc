"""`c5-gateway walk-test`: with a technician, each device is pressed, each stage seen, and the report written.

While it runs the whole gateway is under maintenance: what is pressed is flagged as a test inside its signature, travels
like any other press, and ends up at C5, whose operator may acknowledge it. It ends when every device has come as far as
it can, after its minutes, by Ctrl-C, or when the terminal goes; the report says what was seen until then, and names
what of the settings was not tried: a box that looks at pictures can't be pressed, and what the running service doesn't
know yet can't be heard.

Maintenance is the walk's own, begun for a few minutes and renewed while it lasts: whatever becomes of this program, no
real press is taken for a test for long. Where maintenance ends before the walk, so does the walk.
"""

import contextlib
import json
import secrets
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from gateway import __version__, applied, config
from gateway.cli.running import ask, not_running
from gateway.cli.said import print_json, say
from gateway.config import GatewaySettings
from gateway.errors import C5Error
from gateway.sensing.contact import MOMENTARY
from gateway.settings import find_settings
from gateway.text import _, ngettext

LOOK: Final = 0.5  # seconds between two looks at the service
LINGER: Final = 5.0  # seconds for an operator's acknowledgement, once every press is at C5
LEASE: Final = 3  # minutes for which maintenance goes on without us
RENEW: Final = 60.0  # seconds between two renewals
_GOING: Final = (signal.SIGHUP, signal.SIGTERM)
_STORED, _RECEIVED, _ACKNOWLEDGED = "1", "2", "3"


@dataclass(slots=True)
class Seen:
    """One device, and how far its press came."""

    id: str
    name: str
    model: str
    before: int | None  # the press that it had when we began
    type: str | None = None
    number: int | None = None
    stages_ms: dict[str, int] = field(default_factory=dict)

    def right(self, goal: str) -> bool:
        """Whether it was pressed, and its press came as far as it must."""
        return goal in self.stages_ms


class Walk:
    """What has been seen of all devices; `goal` is the stage that each must reach."""

    def __init__(self, devices: list[dict[str, Any]], goal: str) -> None:
        self.goal = goal
        self.seen = {
            one["id"]: Seen(one["id"], one["name"], one["model"], (one["last_press"] or {}).get("number"))
            for one in devices
        }

    @staticmethod
    def _in_order(stages_ms: dict[str, int]) -> dict[str, int]:
        """Return them with none earlier than the one below it: C5's receipt may come before the disk's answer."""
        ordered: dict[str, int] = {}
        for stage, ms in sorted(stages_ms.items()):
            ordered[stage] = max([ms, *ordered.values()])
        return ordered

    def look(self, devices: list[dict[str, Any]]) -> list[str]:
        """Take in a status; return what is new, a line each."""
        lines = []
        for one in devices:
            seen, press = self.seen.get(one["id"]), one["last_press"]
            if seen is None or press is None or press["number"] == seen.before:
                continue
            who = one["name"] or one["model"]
            if press["number"] != seen.number and not seen.right(self.goal):
                seen.number, seen.type, seen.stages_ms = press["number"], press["type"], {}
                lines.append(_("{id} {who}: pressed ({type})").format(id=seen.id, who=who, type=press["type"]))
            if press["number"] == seen.number:
                new = {stage: ms for stage, ms in press["stages_ms"].items() if stage not in seen.stages_ms}
                seen.stages_ms = self._in_order(seen.stages_ms | new)
                new = {stage: seen.stages_ms[stage] for stage in new}
                lines += [f"{seen.id} {who}: {_stage(stage, ms)}" for stage, ms in sorted(new.items())]
        return lines

    @property
    def missing(self) -> list[Seen]:
        """The devices that were not pressed, or whose press didn't come as far as it must."""
        return [seen for seen in self.seen.values() if not seen.right(self.goal)]

    @property
    def acknowledged(self) -> bool:
        """Whether an operator has acknowledged every press."""
        return all(_ACKNOWLEDGED in seen.stages_ms for seen in self.seen.values())


def run(path: Path | None, report: Path | None, *, minutes: int, technician: str, as_json: bool) -> bool:
    """Walk; True if every device has come as far as it must."""
    settings = applied.load(find_settings(path, config.VARIABLE, config.DEFAULT)).settings
    state_dir, goal = settings.gateway.state_dir, _RECEIVED if settings.delivery.confirmation == "receiver" else _STORED
    began = datetime.now(UTC)
    report = report or Path(f"walk-test-{settings.gateway.id}-{began:%Y%m%d-%H%M%S}")
    text_file, json_file = report.with_name(report.name + ".txt"), report.with_name(report.name + ".json")
    for file in (text_file, json_file):
        _write(file, "", mode="x")  # before anybody walks: what can't be written is told now
    buttons, others = _pressed(settings)
    walk = Walk(_points(_asked(state_dir, {"do": "status"}), buttons), goal)
    unknown = sorted(buttons - set(walk.seen))
    if not walk.seen:
        raise C5Error(_("no device is enrolled"), _("Enrol one from its label: c5-gateway device enrol C5D1:…"))
    reason = _("walk test by {technician}").format(technician=technician)
    work = Work(state_dir, secrets.token_hex(8))
    stopped: str | None = None
    with _as_ctrl_c():
        try:
            work.begin(reason)
            if not as_json:
                text = ngettext(
                    "{count} device: press it. Presses are marked as tests and go to C5. Ctrl-C ends it.",
                    "{count} devices: press each. Presses are marked as tests and go to C5. Ctrl-C ends it.",
                    len(walk.seen),
                )
                say(text.format(count=len(walk.seen)))
            _follow(work, walk, buttons, time.monotonic() + 60 * minutes, quiet=as_json)
        except KeyboardInterrupt:
            pass
        except C5Error as error:  # what was seen is kept
            stopped = error.what
        finally:
            for number in (signal.SIGINT, *_GOING):
                signal.signal(number, signal.SIG_IGN)  # what is left takes seconds
            unended = work.end()
    stopped = ". ".join(reason for reason in (stopped, unended) if reason is not None) or None
    document = {
        "gateway": dict(config.summary(settings)), "version": __version__, "technician": technician,
        "began": f"{began:%Y-%m-%dT%H:%M:%SZ}", "ended": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "goal": int(goal), "right": not walk.missing and not unknown and stopped is None,
        "stopped": stopped, "unknown": unknown, "untried": sorted(others),
        "devices": [
            {key: value for key, value in asdict(seen).items() if key != "before"} | {"right": seen.right(goal)}
            for seen in walk.seen.values()
        ],
    }  # fmt: skip
    lines = told(document)
    _write(text_file, "\n".join(lines) + "\n")
    _write(json_file, json.dumps(document, ensure_ascii=False, indent=2) + "\n")
    if as_json:
        print_json(document)
    else:
        for line in lines:
            say(line)
        say(_("written: {files}").format(files=f"{text_file}, {json_file}"))
    return bool(document["right"])


def told(document: dict[str, Any]) -> list[str]:
    """Return the report as a person reads it."""
    gateway = document["gateway"]
    lines = [
        _("Walk test of {id}, {agency}/{site}").format(**gateway),
        _("by {technician}, {began} to {ended}, version {version}").format(**document),
        "",
    ]
    for device in document["devices"]:
        mark = _("ok     ") if device["right"] else _("MISSING")
        stages = [_stage(stage, ms) for stage, ms in sorted(device["stages_ms"].items())]
        seen = [_("not pressed")] if device["type"] is None else [device["type"], *stages]
        lines.append(f"{mark} {device['id']}  {device['name'] or device['model']}: {', '.join(seen)}")
    right = sum(device["right"] for device in document["devices"])
    text = ngettext(
        "{right} of {count} device came as far as it must",
        "{right} of {count} devices came as far as they must",
        len(document["devices"]),
    )
    lines += ["", text.format(right=right, count=len(document["devices"]))]
    if document["unknown"]:
        text = _("Not tried: {names}. They are in the settings, and the running service doesn't know them: restart it")
        lines.append(text.format(names=", ".join(document["unknown"])))
    if document["untried"]:
        text = _("Not tried: {names}. Nobody presses them: have each raise an event, and look for it at C5")
        lines.append(text.format(names=", ".join(document["untried"])))
    if document["stopped"] is not None:
        lines.append(_("It was cut short: {reason}").format(reason=document["stopped"]))
    return lines


def _stage(stage: str, ms: int) -> str:
    text = {
        _STORED: _("stored after {ms} ms"),
        _RECEIVED: _("received at C5 after {ms} ms"),
        _ACKNOWLEDGED: _("acknowledged by an operator after {ms} ms"),
    }[stage]
    return text.format(ms=ms)


@dataclass(slots=True)
class Work:
    """Maintenance of the whole gateway, by this walk."""

    state_dir: Path
    walk: str

    def begin(self, reason: str) -> None:
        """Begin it, for a few minutes."""
        self._ask("maintenance.begin", {"minutes": LEASE, "reason": reason})

    def renew(self) -> None:
        """Go on. Raises C5Error if it has ended."""
        self._ask("maintenance.renew", {"minutes": LEASE})

    def end(self) -> str | None:
        """End it; return what is in the way. A service that is gone has none any more."""
        try:
            status = ask(self.state_dir, {"do": "status"})
            if status is not None and self.is_on(status):
                self._ask("maintenance.end", {})
        except C5Error as error:
            text = _("Maintenance could not be ended, and goes on for {minutes} minutes at most: {reason}")
            return text.format(minutes=LEASE, reason=error.what)
        return None

    def is_on(self, status: dict[str, Any]) -> bool:
        """Whether the gateway is under this maintenance, as its status says."""
        return any(work["walk"] == self.walk for work in status["maintenance"])

    def _ask(self, name: str, arguments: dict[str, Any]) -> None:
        _asked(self.state_dir, {"do": "maintenance", "name": name, "arguments": {**arguments, "walk": self.walk}})


@contextlib.contextmanager
def _as_ctrl_c() -> Iterator[None]:
    """Have a terminal that goes, and a polite kill, end it as Ctrl-C does."""
    numbers = (signal.SIGINT, *_GOING)
    before = [signal.getsignal(number) for number in numbers]
    for number in numbers:  # of Ctrl-C too: what is started in the background ignores it
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _follow(work: Work, walk: Walk, buttons: frozenset[str], until: float, *, quiet: bool) -> None:
    """Look until every device has come as far as it can, or the time is up. Raises C5Error if maintenance ends."""
    complete_at: float | None = None
    renewed_at = time.monotonic()
    while (now := time.monotonic()) < until:
        if now >= renewed_at + RENEW:
            work.renew()
            renewed_at = now
        status = _asked(work.state_dir, {"do": "status"})
        if not work.is_on(status):
            raise C5Error(_("maintenance has been ended by somebody else, or the service has started anew"))
        for line in walk.look(_points(status, buttons)):
            if not quiet:
                say(line)
        if not walk.missing:
            complete_at = complete_at or now
            if walk.acknowledged or now >= complete_at + LINGER:
                return
        time.sleep(LOOK)


def _pressed(settings: GatewaySettings) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names of all that can be pressed and is not enrolled but set; and of the sources that can't be."""
    help_points = {source.name for source in settings.source if MOMENTARY & set(source.types)}
    wired = {given.name for one in settings.peripheral for given in one.input} | {one.name for one in settings.input}
    return frozenset(wired | help_points), frozenset({source.name for source in settings.source} - help_points)


def _points(status: dict[str, Any], buttons: frozenset[str]) -> list[dict[str, Any]]:
    """Return all that can be pressed: devices, and under their names inputs, peripherals' inputs and help points."""
    wired = [(row, "GPIO") for row in status["inputs"]]
    wired += [(given, "OSDP") for one in status["peripherals"] for given in one["inputs"]]
    wired += [(row, "HTTPS") for row in status["sources"] if row["name"] in buttons]
    return [*status["devices"], *({**row, "id": row["name"], "name": "", "model": model} for row, model in wired)]


def _asked(state_dir: Path, request: dict[str, Any]) -> dict[str, Any]:
    answer = ask(state_dir, request)
    if answer is None:
        raise not_running()
    return answer


def _write(file: Path, text: str, mode: Literal["w", "x"] = "w") -> None:
    try:
        with file.open(mode, encoding="utf-8") as opened:
            opened.write(text)
    except OSError as error:
        raise C5Error(
            _("{path} can't be written: {error}").format(path=file, error=error.strerror),
            _("Name another place for the report."),
        ) from error
