"""What a device does when the gateway commands it, and the answers it remembers.

A repeated command number is answered from memory and not carried out twice.

Source: wire.md, section 1, "Commands".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.fieldlink.message import Command, Result

DONE, UNKNOWN_COMMAND, BAD_ARGUMENT = 0, 1, 2  # RESULT status
INDICATE, OUTPUT, IDENTIFY, CONFIGURE, REBOOT, CHALLENGE = range(1, 7)
PATTERNS: Final = ("off", "steady", "slow", "fast", "tone")
OUTPUT_SECONDS_MAX: Final = 3600
CHALLENGE_BYTES: Final = 8
REMEMBERED_MAX: Final = 16  # answers; the gateway repeats for 7 s


@dataclass(frozen=True, slots=True)
class Shown:
    """What somebody in front of the device sees and hears of what it was commanded."""

    pattern: str = "off"
    outputs: tuple[int, ...] = ()  # those that are on
    identifying: bool = False


@dataclass(slots=True)
class Orders:
    """The device's outputs as commanded, since its start. `carried_out` is each command that was, once."""

    pattern: int = 0
    outputs: dict[int, float | None] = field(default_factory=dict)  # outputs that are on, until when
    identify_until: float = 0.0
    configuration: dict[int, Any] = field(default_factory=dict)
    carried_out: list[Command] = field(default_factory=list)
    _answers: dict[int, Result] = field(default_factory=dict)

    def obey(self, command: Command, now: float) -> tuple[Result, bool]:
        """Carry a command out, once; return its answer and whether to restart after it was sent."""
        if command.number in self._answers:
            return self._answers[command.number], False
        arguments = command.arguments or {}
        if command.command not in range(INDICATE, CHALLENGE + 1):
            return self._answer(Result(command.number, UNKNOWN_COMMAND)), False
        challenge = _challenge(arguments) if command.command == CHALLENGE else None
        done = challenge is not None or self._do(command.command, arguments, now)
        if done:
            self.carried_out.append(command)
        result = Result(command.number, DONE if done else BAD_ARGUMENT, challenge=challenge)
        return self._answer(result), command.command == REBOOT

    def output_on(self, output: int, now: float) -> bool:
        """Whether an output is on."""
        if output not in self.outputs:
            return False
        until = self.outputs[output]
        return until is None or now < until

    def how_many_on(self, now: float) -> int:
        """How many outputs draw on the battery."""
        return sum(self.output_on(output, now) for output in self.outputs)

    def shown(self, now: float) -> Shown:
        """Return what is to be seen now."""
        on = tuple(sorted(output for output in self.outputs if self.output_on(output, now)))
        return Shown(PATTERNS[self.pattern], on, now < self.identify_until)

    def _answer(self, result: Result) -> Result:
        self._answers[result.command_number] = result
        if len(self._answers) > REMEMBERED_MAX:
            del self._answers[next(iter(self._answers))]
        return result

    def _do(self, command: int, arguments: Mapping[int, Any], now: float) -> bool:
        if command == INDICATE:
            return self._indicate(arguments)
        if command == OUTPUT:
            return self._output(arguments, now)
        if command == IDENTIFY:
            return self._identify(arguments, now)
        if command == CONFIGURE:
            self.configuration.update(arguments)
        return command in (CONFIGURE, REBOOT)

    def _indicate(self, arguments: Mapping[int, Any]) -> bool:
        pattern = _uint(arguments.get(1))
        if pattern is None or pattern >= len(PATTERNS):
            return False
        self.pattern = pattern
        return True

    def _output(self, arguments: Mapping[int, Any], now: float) -> bool:
        output, on, seconds = _uint(arguments.get(1)), arguments.get(2), _uint(arguments.get(3))
        if output is None or not isinstance(on, bool):
            return False
        if 3 in arguments and (seconds is None or seconds > OUTPUT_SECONDS_MAX):
            return False
        self.outputs.pop(output, None)
        if on:
            self.outputs[output] = None if seconds is None else now + seconds
        return True

    def _identify(self, arguments: Mapping[int, Any], now: float) -> bool:
        seconds = _uint(arguments.get(1))
        if seconds is None:
            return False
        self.identify_until = now + seconds
        return True


def _uint(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _challenge(arguments: Mapping[int, Any]) -> bytes | None:
    value = arguments.get(1)
    return value if isinstance(value, bytes) and len(value) == CHALLENGE_BYTES else None
