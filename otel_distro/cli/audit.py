"""``otel-distro audit verify FILE``: find every change in an audit file."""

from __future__ import annotations

import argparse
import os

from otel_distro import settings
from otel_distro.audit.local import key_from, read_key
from otel_distro.audit.verification import KeyNeeded, VerificationResult, files_of, is_rotated, verify
from otel_distro.cli.messages import say

_MAX_SHOWN = 100


def main(argv: list[str]) -> int:
    """Verify; return 0 if nothing was changed, 1 if something was, 2 if that is unknown."""
    options = _parse(argv)
    try:
        keys = [read_key(path) for path in options.key_file] or [key for key in (key_from(os.environ),) if key]
        paths = [path for given in options.file for path in ([given] if options.only else files_of(given))]
        last: str = options.file[-1]
        result = verify(paths, keys, current="" if is_rotated(last) else last)
    except KeyNeeded as needed:
        say(
            f"audit: {needed}; give it with --key-file, or as the process has it in "
            f"{settings.OTEL_DISTRO_AUDIT_KEY.name} or {settings.OTEL_DISTRO_AUDIT_KEY_FILE.name}",
            code="OD810",
        )
        return 2
    except OSError as error:
        say(f"audit: {error.filename}: {error.strerror or error}", code="OD809")
        return 2
    _show(result)
    return 1 if result.findings else 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="otel-distro audit", description="Check the audit file of OTEL_DISTRO_AUDIT_FILE."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    command = commands.add_parser("verify", help="find every change", description="Find every change in an audit file.")
    command.add_argument(
        "--key-file", action="append", default=[], metavar="FILE", help="a key of the hashes; repeatable"
    )
    command.add_argument("--only", action="store_true", help="without the rotated files beside it")
    command.add_argument(
        "file", nargs="+", metavar="FILE", help="the audit file; its head, FILE.head, must be beside it"
    )
    return parser.parse_args(argv)


def _show(result: VerificationResult) -> None:
    for finding in result.findings[:_MAX_SHOWN]:
        place = f":{finding.line}: this line" if finding.line else ":"
        print(f"{finding.path}{place} {finding.text}")
    if len(result.findings) > _MAX_SHOWN:
        print(f"and {len(result.findings) - _MAX_SHOWN} more")
    for note in result.notes:
        print(f"note: {note}")
    found = len(result.findings)
    outcome = f"{found} {'finding' if found == 1 else 'findings'}" if found else "nothing was changed"
    files = f"{result.files} {'file' if result.files == 1 else 'files'}"
    print(
        f"{result.lines} lines in {files}, the last is number {result.last.sequence} with hash {result.last.hash}: {outcome}"
    )
