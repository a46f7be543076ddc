"""How much a gateway holds: everything reachable from it, by walking its own objects and containers.

Names inside the gateway may change; this counts whatever they are called. Tasks, the event loop and the simulated
outside are not entered.
"""

from collections import deque
from typing import Any, Final

CONTAINERS: Final = (list, tuple, set, frozenset, deque)
LEAVES: Final = (int, float, str, type(None))
_SLOTS: dict[type, tuple[str, ...]] = {}


def weigh(root: object) -> tuple[int, int]:
    """Return how many elements all containers hold together, and how many bytes all byte strings."""
    seen: set[int] = set()
    stack: list[Any] = [root]
    elements = size = 0
    while stack:
        item = stack.pop()
        kind = type(item)
        if kind in LEAVES or id(item) in seen:
            continue
        seen.add(id(item))
        if issubclass(kind, bytes | bytearray):
            size += len(item)
        elif issubclass(kind, dict):
            elements += len(item)
            stack += item.keys()
            stack += item.values()
        elif issubclass(kind, CONTAINERS):
            elements += len(item)
            stack += item
        elif kind.__module__.startswith("gateway."):
            stack += getattr(item, "__dict__", {}).values()
            for name in _slots(kind):
                if hasattr(item, name):
                    stack.append(getattr(item, name))
    return elements, size


def _slots(kind: type) -> tuple[str, ...]:
    slots = _SLOTS.get(kind)
    if slots is None:
        slots = _SLOTS[kind] = tuple(name for base in kind.__mro__ for name in getattr(base, "__slots__", ()))
    return slots
