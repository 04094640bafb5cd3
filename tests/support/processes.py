"""Python processes as a user starts them, bare or under ``otel-distro run``."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

RUN = (sys.executable, "-m", "otel_distro", "run", "--")
NOWHERE = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}
"""Settings with which telemetry is on and nothing is sent."""


def environment(folder: Path, **changes: str) -> dict[str, str]:
    """Return the environment without the test runner's variables.

    All files of the distribution are in ``folder``.
    """
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "PYTHON", "COV_", "OTEL_"))
    }
    return {**kept, "TMPDIR": str(folder), "XDG_STATE_HOME": str(folder / "state"), **changes}


def run(folder: Path, *command: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run a command in ``folder`` to its end."""
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(folder, **changes),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def bare_and_ours(folder: Path, program: str) -> list[tuple[int, str, str]]:
    """Run a program bare, then with telemetry that is not sent.

    Returns exit status, stdout and stderr of both.
    """
    (folder / "program.py").write_text(program, encoding="utf-8")
    command = (sys.executable, "program.py")
    both = (run(folder, *command), run(folder, *RUN, *command, **NOWHERE))
    return [(ended.returncode, ended.stdout, ended.stderr) for ended in both]
