"""The site file: read once at the start, refused as a whole (`sensing.site`)."""

from gateway.config import GatewaySettings
from gateway.errors import SettingsError
from gateway.sensing.site import Video, parse
from gateway.text import _


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
