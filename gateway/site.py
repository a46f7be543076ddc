"""The site file: read once at the start, refused as a whole (`sensing.site`); an alarm without its video goes on."""

import logging

from gateway.config import GatewaySettings
from gateway.errors import SettingsError
from gateway.sensing.site import Video, parse
from gateway.text import _

log = logging.getLogger(__name__)


def video_or_none(settings: GatewaySettings) -> tuple[dict[str, Video], list[str]]:
    """Return what `video` does; with a mistake in the file there is none, and what is wrong."""
    try:
        return video(settings), []
    except SettingsError as error:
        log.warning("no alarm has its cameras: %s. %s", error.what, error.hint)
        text = _("no alarm has its cameras, everything else goes on: {what}. {hint}")
        return {}, [text.format(what=error.what, hint=error.hint)]


def video(settings: GatewaySettings) -> dict[str, Video]:
    """Return what to look at when a source raises an alarm; raises SettingsError with the line of each mistake."""
    path = settings.gateway.site_file
    if path is None:
        return {}
    try:
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            _("the site file {path} can't be read: {reason}").format(path=path, reason=error),
            _("make it readable for the service's user, as UTF-8; or take gateway.site_file out"),
        ) from error
    return parse(text, str(path), settings.names | {settings.gateway.id})
