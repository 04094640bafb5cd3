"""``otel-distro run -- CMD``: a command with telemetry in every Python process it starts."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SITE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "_site")

USAGE = """usage: otel-distro run [--] COMMAND [ARGUMENT ...]

Replaces this process by COMMAND, with telemetry in it and in every Python process that it starts.
The OTEL_* variables of OpenTelemetry configure what is sent, and where; without any of them
traces, metrics and logs go to http://localhost:4318.
"""


def environment(base: Mapping[str, str]) -> dict[str, str]:
    """Return a copy of ``base`` that starts telemetry in every Python process that inherits it."""
    changed = dict(base)
    path = changed.get("PYTHONPATH")
    # An empty entry in it is the current folder.
    entries = [entry for entry in path.split(os.pathsep) if entry != SITE] if path else []
    changed["PYTHONPATH"] = os.pathsep.join([SITE, *entries])
    return changed


def command(argv: list[str]) -> list[str]:
    """Return the command in ``argv``, without a leading ``--``."""
    return argv[1:] if argv[:1] == ["--"] else argv


def main(argv: list[str]) -> int:
    """Replace this process by the command.

    Returns only on failure: 127 not found, 126 not executable, 2 usage.
    """
    words = command(argv)
    if not words or (argv[:1] != ["--"] and words[0] in ("-h", "--help")):
        print(USAGE, end="", file=sys.stdout if words else sys.stderr)
        return 0 if words else 2
    try:
        os.execvpe(words[0], words, environment(os.environ))
    except FileNotFoundError:
        _say(f"{words[0]}: command not found")
        return 127
    except OSError as error:
        _say(f"{words[0]}: {error.strerror}")
        return 126


def _say(line: str) -> None:
    from otel_distro.cli.messages import say

    say(line, code="OD802")
