"""Labels for simulated devices: made once, with a random key, and kept readable by their owner alone."""

import os
import secrets
from pathlib import Path

from gateway.fieldlink import label
from gateway.fieldlink.label import Label


def new_label(device: str, model: str = "PB-1") -> Label:
    """Return a label with a new random key."""
    return Label(device, model, secrets.token_bytes(label.KEY_BYTES))


def kept_label(path: Path, device: str, model: str) -> Label:
    """Return the label that the file holds, or make one and keep it there; raises ValueError if the file holds none."""
    if path.exists():
        kept = label.parse(path.read_text().strip())
        if not isinstance(kept, Label) or kept.device != device:
            raise ValueError(f"{path} is not the label of {device}")
        return kept
    made = new_label(device, model)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(label.render(made) + "\n")
    return made
