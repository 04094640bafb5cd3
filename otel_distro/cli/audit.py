"""``otel-distro audit verify FILE``: find every change in an audit file."""

from __future__ import annotations

import argparse
import os
import sys

from otel_distro import settings
from otel_distro.audit.local import key_from, read_key
from otel_distro.audit.verification import KeyNeeded, VerificationResult, files_of, is_rotated, verify

_MOST_SHOWN = 100


def main(argv: list[str]) -> int:
    """Verify; 0 when nothing was changed, 1 when something was, 2 when that cannot be said."""
    options = _parse(argv)
    try:
        keys = [read_key(path) for path in options.key_file] or [key for key in (key_from(os.environ),) if key]
        paths = [path for given in options.file for path in ([given] if options.only else files_of(given))]
        last: str = options.file[-1]
        verdict = verify(paths, keys, current="" if is_rotated(last) else last)
    except KeyNeeded as needed:
        print(
            f"otel-distro audit: {needed}; give it with --key-file, or as the process has it in "
            f"{settings.OTEL_DISTRO_AUDIT_KEY.name} or {settings.OTEL_DISTRO_AUDIT_KEY_FILE.name}",
            file=sys.stderr,
        )
        return 2
    except OSError as error:
        print(f"otel-distro audit: {error.filename}: {error.strerror or error}", file=sys.stderr)
        return 2
    _show(verdict)
    return 1 if verdict.findings else 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="otel-distro audit", description="Look after the audit file of OTEL_DISTRO_AUDIT_FILE."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    command = commands.add_parser("verify", help="find every change", description="Find every change in an audit file.")
    command.add_argument(
        "--key-file", action="append", default=[], metavar="FILE", help="a key of the hashes; repeatable"
    )
    command.add_argument("--only", action="store_true", help="without the files beside it that were put away")
    command.add_argument("file", nargs="+", metavar="FILE", help="the audit file; its head, FILE.head, lies beside it")
    return parser.parse_args(argv)


def _show(verdict: VerificationResult) -> None:
    for finding in verdict.findings[:_MOST_SHOWN]:
        place = f":{finding.line}: this line" if finding.line else ":"
        print(f"{finding.path}{place} {finding.text}")
    if len(verdict.findings) > _MOST_SHOWN:
        print(f"and {len(verdict.findings) - _MOST_SHOWN} more")
    for note in verdict.notes:
        print(f"note: {note}")
    found = len(verdict.findings)
    result = f"{found} {'finding' if found == 1 else 'findings'}" if found else "nothing was changed"
    files = f"{verdict.files} {'file' if verdict.files == 1 else 'files'}"
    print(
        f"{verdict.lines} lines in {files}, the last is number {verdict.last.sequence} with hash {verdict.last.hash}: {result}"
    )
