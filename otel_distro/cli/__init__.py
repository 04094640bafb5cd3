"""The command ``otel-distro``: finds the module of the subcommand and calls it."""

from __future__ import annotations

import sys
from importlib import import_module

COMMANDS = {
    "run": "run a command with telemetry in every Python process it starts",
    "local": "run a command with telemetry into a store on this machine, and print a summary",
    "spool": "show the telemetry that waits on this machine: destination, age, amount",
    "drain": "send the telemetry that waits for the destination in the environment",
    "redact": "show what would be hidden in a file of logs, or print it with its secrets hidden",
    "audit": "find every change in a file of audit events",
    "settings": "show every variable of this distribution, its value and its default",
    "bootstrap": "install the instrumentations for the installed libraries",
    "uninstall": "list what `pip uninstall otel-distro` leaves behind, and delete it",
}
"""Subcommand -> help. Each is a module of this package with ``main(argv) -> int``."""


def main(argv: list[str] | None = None) -> int:
    """Run the subcommand of the first argument and return its exit status; 2 if it is unknown."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments and arguments[0] in COMMANDS:
        # Imported only now: `run` replaces this process at once and must not load the others.
        module = import_module(f"otel_distro.cli.{arguments[0]}")
        return int(module.main(arguments[1:]))
    if arguments and arguments[0] == "--version":
        from otel_distro._version import __version__

        print(f"otel-distro {__version__}")
        return 0
    asked = not arguments or arguments[0] in ("-h", "--help", "help")
    out = sys.stdout if asked else sys.stderr
    if not asked:
        from otel_distro.cli.messages import say

        say(f"there is no command {arguments[0]!r}", code="OD801")
    print("usage: otel-distro COMMAND ...\n", file=out)
    for name, brief in COMMANDS.items():
        print(f"  {name:<10} {brief}", file=out)
    print("\n`otel-distro COMMAND --help` shows the options of a command.", file=out)
    return 0 if asked else 2
