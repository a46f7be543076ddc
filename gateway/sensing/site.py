"""Which cameras look at what: the site file, so that an alarm reaches C5 with the video to look at.

    [[camera]]
    name = "mast-north"                        # as C5's video system calls it

    [[view]]
    source = "0c500042"                        # a device, an input, a unit, a peripheral, a local source
    shows = [{ camera = "mast-north", preset = "gate" }, { camera = "quay" }]

Every record of the alarm lane of such a source says {camera, preset} of each in `video`, in the order given here: the
first is what to look at first. Addresses are the video system's: with them passwords would come. What is wrong in the
file is told with its line, and nothing of it is guessed.
"""

import tomllib
from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any, Final

from gateway.errors import SettingsError
from gateway.sensing.toml_lines import Key, line_of, lines
from gateway.text import _
from gateway.topics import is_part

CAMERAS_MAX: Final = 256
SHOWS_MAX: Final = 8  # of one source: some 1.2 KB of a record's 4
TOLD_MAX: Final = 8  # mistakes of one file at once

Video = tuple[Mapping[str, str], ...]  # {camera, ?preset}
Wrong = Callable[[Key, str], None]


def parse(text: str, file: str, sources: Container[str]) -> dict[str, Video]:
    """Return what to look at, by source; raises SettingsError with the line of each mistake.

    `sources` are the names that there are; that a device is enrolled isn't asked for.
    """
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: of a number too long, too
        raise SettingsError(
            _("{path} is not TOML: {reason}").format(path=file, reason=error), _("see docs/operate/local-input.md")
        ) from error
    places = lines(text)
    mistakes: list[tuple[int, str]] = []

    def wrong(at: Key, allowed: str) -> None:
        key = ".".join(part for part in at if isinstance(part, str))
        mistakes.append((line_of(places, at), f"{key}: {allowed}" if key else allowed))

    _keys(tables, (), ("camera", "view"), wrong)
    cameras = _cameras(tables, wrong)
    found = _views(tables, cameras, sources, wrong)
    if mistakes:
        told = sorted(mistakes)[:TOLD_MAX]
        said = "\n".join(_("{file}, line {line}: {wrong}").format(file=file, line=at, wrong=what) for at, what in told)
        raise SettingsError(said, _("correct {path}").format(path=file))
    return found


def _cameras(tables: Mapping[str, Any], wrong: Wrong) -> set[str]:
    cameras: set[str] = set()
    for camera, at in _tables(tables, "camera", (), wrong):
        _keys(camera, at, ("name",), wrong)
        name = camera.get("name")
        if type(name) is not str or not is_part(name):
            wrong((*at, "name"), _("lower-case letters, digits and hyphens, at most 63"))
        elif name in cameras:
            wrong((*at, "name"), _("{name} is used twice").format(name=name))
        else:
            cameras.add(name)
    if len(cameras) > CAMERAS_MAX:
        wrong(("camera",), _("at most {most}").format(most=CAMERAS_MAX))
    return cameras


def _views(
    tables: Mapping[str, Any], cameras: Container[str], sources: Container[str], wrong: Wrong
) -> dict[str, Video]:
    found: dict[str, Video] = {}
    for view, at in _tables(tables, "view", (), wrong):
        _keys(view, at, ("source", "shows"), wrong)
        source = view.get("source")
        if type(source) is not str or not (source in sources or _is_device(source)):
            wrong((*at, "source"), _("a device's id, or the name of an input, a unit or another source that is set"))
            continue
        if source in found:
            wrong((*at, "source"), _("{name} is used twice").format(name=source))
        shows = tuple(_show(show, (*at, "shows"), cameras, wrong) for show, _at in _tables(view, "shows", at, wrong))
        if not 1 <= len(shows) <= SHOWS_MAX:
            wrong((*at, "shows"), _("1 to {most} of {{ camera = …, preset = … }}").format(most=SHOWS_MAX))
        found[source] = shows
    return found


def _show(show: Mapping[str, Any], at: Key, cameras: Container[str], wrong: Wrong) -> Mapping[str, str]:
    _keys(show, at, ("camera", "preset"), wrong)
    camera, preset = show.get("camera"), show.get("preset")
    if type(camera) is not str or camera not in cameras:
        wrong(at, _("there is no [[camera]] of the name {name}").format(name=str(camera)[:63]))
        return {}
    if preset is None:
        return {"camera": camera}
    if type(preset) is not str or not is_part(preset):
        wrong(at, _("preset: lower-case letters, digits and hyphens, at most 63"))
        return {}
    return {"camera": camera, "preset": preset}


def _keys(table: Mapping[str, Any], at: Key, names: tuple[str, ...], wrong: Wrong) -> None:
    for key in table.keys() - set(names):
        wrong((*at, key), _("no such setting; allowed here: {names}").format(names=", ".join(names)))


def _tables(table: Mapping[str, Any], key: str, at: Key, wrong: Wrong) -> Iterator[tuple[Mapping[str, Any], Key]]:
    entries = table.get(key, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        wrong((*at, key), _("Input should be a list"))
        return
    yield from ((entry, (*at, key, index)) for index, entry in enumerate(entries))


def _is_device(source: str) -> bool:
    return len(source) == 8 and set(source) <= set("0123456789abcdef")
