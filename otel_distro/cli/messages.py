"""Messages of the commands: one line on stderr, with a code of docs/troubleshooting.md."""

from __future__ import annotations

import sys

from otel_distro._startup import compatibility


def say(line: str, *more: str, code: str) -> None:
    """Print what happened and what to do; ``more`` are further lines, such as a command to copy.

    Unlike :func:`otel_distro._runtime.diagnostics.say` it is never rate-limited nor switched off:
    who runs a command reads its answer.
    """
    print(f"otel-distro: {line} [{code}]", file=sys.stderr, flush=True)
    for each in more:
        print(f"  {each}", file=sys.stderr, flush=True)


def say_conflict(consequence: str, then: str = "", *, missing: bool = False) -> bool:
    """Print the command that fixes an unsupported version of OpenTelemetry, if there is one.

    Args:
        consequence: What the conflict costs.
        then: What to do after that command.
        missing: Whether a package that is not installed is a conflict, too.

    Returns:
        Whether there is a conflict.
    """
    conflict = compatibility.version_conflict(missing=missing)
    if conflict:
        problem, _, command = conflict.partition(" Fix: ")
        say(f"{consequence}: {problem} Run this{then}:", command, code="OD808")
    return bool(conflict)
