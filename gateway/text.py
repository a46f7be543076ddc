"""Every text a technician reads goes through here, so that it can be read in Spanish.

The language is the process's own (`LANGUAGE`, `LC_ALL`, `LC_MESSAGES`, `LANG`); without a catalogue for it the text
stands as written.
"""

import gettext
from pathlib import Path

_catalogue = gettext.translation("c5-gateway", str(Path(__file__).parent / "locale"), fallback=True)
_ = _catalogue.gettext
ngettext = _catalogue.ngettext
