"""`c5-gateway walk-test`: with a technician, each device is pressed, each stage seen, and the report written.

While it runs the whole gateway is under maintenance: what is pressed is flagged as a test inside its signature, travels
like any other press, and ends up at C5, whose operator may acknowledge it. It ends when every device has come as far as
it can, after its minutes, or by Ctrl-C; the report says what was seen until then.
"""

import contextlib
import json
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from gateway import __version__, config
from gateway.cli.running import ask
from gateway.cli.said import print_json, say
from gateway.errors import C5Error
from gateway.settings import find_settings
from gateway.text import _

LOOK: Final = 0.5  # seconds between two looks at the service
LINGER: Final = 5.0  # seconds for an operator's acknowledgement, once every press is at C5
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
                seen.stages_ms |= new
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
    settings = config.load(find_settings(path, config.VARIABLE, config.DEFAULT))
    state_dir, goal = settings.gateway.state_dir, _RECEIVED if settings.delivery.confirmation == "receiver" else _STORED
    began = datetime.now(UTC)
    report = report or Path(f"walk-test-{settings.gateway.id}-{began:%Y%m%d-%H%M%S}")
    text_file, json_file = report.with_name(report.name + ".txt"), report.with_name(report.name + ".json")
    for file in (text_file, json_file):
        _write(file, "", mode="x")  # before anybody walks: what can't be written is told now
    walk = Walk(_points(state_dir), goal)
    if not walk.seen:
        raise C5Error(_("no device is enrolled"), _("Enrol one from its label: c5-gateway device enrol C5D1:…"))
    reason = _("walk test by {technician}").format(technician=technician)
    _maintain(state_dir, "maintenance.begin", {"minutes": minutes, "reason": reason})
    if not as_json:
        text = _("{count} devices: press each. Presses are marked as tests and go to C5. Ctrl-C ends it.")
        say(text.format(count=len(walk.seen)))
    stopped: str | None = None
    try:
        _follow(state_dir, walk, time.monotonic() + 60 * minutes, quiet=as_json)
    except KeyboardInterrupt:
        pass
    except C5Error as error:  # the service is gone, and maintenance with it; what was seen is kept
        stopped = error.what
    finally:
        with contextlib.suppress(C5Error):
            _maintain(state_dir, "maintenance.end", {})
    document = {
        "gateway": dict(config.summary(settings)), "version": __version__, "technician": technician,
        "began": f"{began:%Y-%m-%dT%H:%M:%SZ}", "ended": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "goal": int(goal), "right": not walk.missing and stopped is None, "stopped": stopped,
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
    lines += ["", _("{right} of {count} devices came as far as they must").format(right=right, count=len(lines) - 3)]
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


def _follow(state_dir: Path, walk: Walk, until: float, *, quiet: bool) -> None:
    """Look until every device has come as far as it can, or the time is up."""
    complete_at: float | None = None
    while (now := time.monotonic()) < until:
        for line in walk.look(_points(state_dir)):
            if not quiet:
                say(line)
        if not walk.missing:
            complete_at = complete_at or now
            if walk.acknowledged or now >= complete_at + LINGER:
                return
        time.sleep(LOOK)


def _points(state_dir: Path) -> list[dict[str, Any]]:
    """Return all that can be pressed: devices, and the gateway's own inputs under their names."""
    status = _asked(state_dir, {"do": "status"})
    inputs = [{**line, "id": line["name"], "name": "", "model": "GPIO"} for line in status["inputs"]]
    return [*status["devices"], *inputs]


def _maintain(state_dir: Path, name: str, arguments: dict[str, Any]) -> None:
    _asked(state_dir, {"do": "maintenance", "name": name, "arguments": arguments})


def _asked(state_dir: Path, request: dict[str, Any]) -> dict[str, Any]:
    answer = ask(state_dir, request)
    if answer is None:
        raise C5Error(_("the service isn't running"), _("Start it: systemctl start c5-gateway"))
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
