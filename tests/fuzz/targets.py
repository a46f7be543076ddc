"""All targets, by name."""

from typing import Final

from tests.fuzz import field, files, signed, spoken
from tests.fuzz.target import Target

TARGETS: Final[dict[str, Target]] = {
    target.name: target for module in (field, signed, spoken, files) for target in module.TARGETS
}
