import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")  # a file system in memory, where there is one
ENOUGH = 1 << 30  # bytes free there


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder in memory: a store there waits for no disk. What a power cut leaves of one, tests/power judges."""
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ENOUGH
    with tempfile.TemporaryDirectory(prefix="c5-", dir=MEMORY if roomy else None) as folder:
        yield Path(folder).resolve()
