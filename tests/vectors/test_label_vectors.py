"""Labels against vectors made by another implementation."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import Refused
from gateway.fieldlink import label

FOLDER = Path(os.environ.get("C5_VECTORS") or Path(__file__).parent)
VECTORS: dict[str, Any] = json.loads((FOLDER / "label.json").read_text())


@pytest.mark.parametrize("vector", VECTORS["labels"], ids=lambda vector: vector["device"])
def test_a_label_vector_reads_and_writes_the_same(vector: dict[str, str]) -> None:
    expected = label.Label(vector["device"], vector["model"], bytes.fromhex(vector["key"]))
    assert label.parse(vector["label"]) == expected
    assert label.render(expected) == vector["label"]


@pytest.mark.parametrize("vector", VECTORS["rejected"], ids=lambda vector: vector["why"])
def test_a_rejected_label_vector_is_refused(vector: dict[str, str]) -> None:
    assert isinstance(label.parse(vector["label"]), Refused)
