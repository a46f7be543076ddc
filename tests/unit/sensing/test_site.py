"""The site file: which cameras look at what, and each mistake in it with its line."""

import pytest

from gateway.errors import SettingsError
from gateway.sensing.site import parse

CAMERAS = """[[camera]]
name = "mast-north"

[[camera]]
name = "quay"
"""
VIEW = """
[[view]]
source = "0c500042"
shows = [{ camera = "mast-north", preset = "gate" }, { camera = "quay" }]
"""


def test_each_source_has_its_cameras_in_order() -> None:
    again = VIEW.replace("0c500042", "help-east").replace(', { camera = "quay" }', "")
    assert parse(CAMERAS + VIEW + again, "site.toml", {"help-east"}) == {
        "0c500042": ({"camera": "mast-north", "preset": "gate"}, {"camera": "quay"}),
        "help-east": ({"camera": "mast-north", "preset": "gate"},),
    }
    assert parse("", "site.toml", ()) == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (CAMERAS + VIEW.replace("quay", "bow"), "line 9: view.shows: there is no [[camera]] of the name bow"),
        (CAMERAS + VIEW.replace("0c500042", "bar"), (
            "line 8: view.source: a device's id, or the name of an input, a unit or another source that is set")),
        (CAMERAS + VIEW + VIEW, "line 12: view.source: 0c500042 is used twice"),
        (CAMERAS + VIEW.replace("gate", "The Gate"), (
            "line 9: view.shows: preset: lower-case letters, digits and hyphens, at most 63")),
        (CAMERAS + "[[view]]\nsource = '0c500042'\nshows = []", (
            "line 8: view.shows: 1 to 8 of { camera = …, preset = … }")),
        (CAMERAS + "[[view]]\nsource = '0c500042'\nshows = [" + '{ camera = "quay" },' * 9 + "]", (
            "line 8: view.shows: 1 to 8 of { camera = …, preset = … }")),
        (CAMERAS.replace('"quay"', '"mast-north"'), "line 5: camera.name: mast-north is used twice"),
        (CAMERAS + "url = 'rtsp://a:b@10.0.0.9/'", "line 6: camera.url: no such setting; allowed here: name"),
        (CAMERAS + "[[views]]", "line 6: views: no such setting; allowed here: camera, view"),
        ("camera = 3", "line 1: camera: Input should be a list"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line(text: str, told: str) -> None:
    with pytest.raises(SettingsError) as error:
        parse(text, "site.toml", ())
    assert error.value.what == f"site.toml, {told}"


def test_what_is_no_toml_is_told() -> None:
    with pytest.raises(SettingsError, match=r"^site\.toml is not TOML"):
        parse("[[camera", "site.toml", ())
