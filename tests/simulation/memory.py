"""How much a gateway holds: everything reachable from it, by walking its own objects and containers.

Names inside the gateway may change; this counts whatever they are called. Tasks, the event loop and the simulated
outside are not entered.
"""

from collections import deque
from typing import Any


def weigh(root: object) -> tuple[int, int]:
    """Return how many elements all containers hold together, and how many bytes all byte strings."""
    seen: set[int] = set()
    stack: list[Any] = [root]
    elements = size = 0
    while stack:
        item = stack.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, bytes | bytearray):
            size += len(item)
        elif isinstance(item, dict):
            elements += len(item)
            stack += item.keys()
            stack += item.values()
        elif isinstance(item, list | tuple | set | frozenset | deque):
            elements += len(item)
            stack += item
        elif type(item).__module__.startswith("gateway."):
            stack += getattr(item, "__dict__", {}).values()
            for kind in type(item).__mro__:
                for name in getattr(kind, "__slots__", ()):
                    if hasattr(item, name):
                        stack.append(getattr(item, name))
    return elements, size
