"""``opentelemetry-instrument`` beside a release of OpenTelemetry that is not supported.

Upstream's command itself may not start then: it imports modules that the other release lacks. The
program must run all the same, so it is started without telemetry.
"""

import os
import sys

from otel_distro._runtime.diagnostics import say
from otel_distro._startup import compatibility

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMAND = "opentelemetry-instrument"


def run_without_telemetry_on_conflict() -> None:
    """Replace this process by the program if the installed OpenTelemetry is not supported.

    Only for the process of ``opentelemetry-instrument``. Prints one line with the remedy.
    """
    program = program_of(getattr(sys, "orig_argv", ()))
    if not program:
        return
    conflict = compatibility.version_conflict()
    if not conflict:
        return
    say(f"telemetry is off: {conflict}", cause="version conflict", code="OD150")
    try:
        os.execvp(program[0], program)  # noqa: S606 - the command is the user's own
    except OSError as error:
        say(f"{program[0]}: {error.strerror}", code="OD802")
        os._exit(127)


def program_of(argv: "Sequence[str]") -> "list[str]":
    """Return the program in a command line of ``opentelemetry-instrument``, without its options.

    Empty if the line has none, or asks the command itself for something. Every other option of the
    command takes a value.
    """
    start = next((index for index, word in enumerate(argv) if os.path.basename(word) == _COMMAND), len(argv))
    words = list(argv[start + 1 :])
    while words and words[0].startswith("-"):
        if words[0] in ("-h", "--help", "--version"):
            return []
        if words[0] == "--":
            return words[1:]
        del words[: 1 if "=" in words[0] else 2]
    return words
