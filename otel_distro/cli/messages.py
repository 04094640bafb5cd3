"""Messages of the commands: one line on stderr, with a code of docs/troubleshooting.md."""

from __future__ import annotations

import sys


def say(line: str, *more: str, code: str) -> None:
    """Print what happened and what to do; ``more`` are further lines, such as a command to copy.

    Unlike :func:`otel_distro._runtime.diagnostics.say` it is never rate-limited nor switched off:
    who runs a command reads its answer.
    """
    print(f"otel-distro: {line} [{code}]", file=sys.stderr, flush=True)
    for each in more:
        print(f"  {each}", file=sys.stderr, flush=True)
