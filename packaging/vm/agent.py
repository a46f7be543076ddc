# ruff: noqa: INP001  # a program by itself, in a folder of such
"""Inside the machine: runs what the tests ask for over a virtio port, one line of JSON each way.

Asked {"run": [...], "input": "text", "within": seconds}, it answers {"status": n, "out": "...", "err": "..."}; `status`
is None for a command that took too long and was killed.
"""

import json
import subprocess
from pathlib import Path

PORT = "/dev/virtio-ports/c5.agent"


def run(asked: dict) -> dict:
    """Run one command; whatever becomes of it is an answer."""
    try:
        done = subprocess.run(  # noqa: S603  # what the tests ask for: that is what this is for
            asked["run"],
            input=asked.get("input", ""),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=asked["within"],
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        return {"status": None, "out": (late.stdout or b"").decode(errors="replace"), "err": "took too long"}
    except OSError as error:
        return {"status": 127, "out": "", "err": str(error)}
    return {"status": done.returncode, "out": done.stdout, "err": done.stderr}


with Path(PORT).open("r+b", buffering=0) as port:
    asked = b""
    while chunk := port.read(65536):
        asked += chunk
        while b"\n" in asked:
            line, _, asked = asked.partition(b"\n")
            answer = json.dumps(run(json.loads(line))).encode() + b"\n"
            while answer:
                answer = answer[port.write(answer) :]
