"""``opentelemetry-instrument`` beside a release of OpenTelemetry that is not supported."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from otel_distro._startup.version_guard import program_of
from tests.support.processes import environment

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = os.path.join(os.path.dirname(sys.executable), "opentelemetry-instrument")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["python", "app.py", "--port", "1"], ["python", "app.py", "--port", "1"]),
        (["--traces_exporter", "console", "--service_name=shop", "gunicorn", "shop:app"], ["gunicorn", "shop:app"]),
        (["--", "--odd"], ["--odd"]),
        (["--version"], []),
        (["--help", "python"], []),
        ([], []),
    ],
)
def test_program_follows_the_options_of_the_command(words: list[str], expected: list[str]) -> None:
    """Options of the command take a value; options of the program stay its own."""
    assert program_of(["python3", "/venv/bin/opentelemetry-instrument", *words]) == expected
    assert program_of(["python3", "other.py", *words]) == []


@pytest.mark.parametrize("package", ["opentelemetry-sdk", "opentelemetry-instrumentation"])
def test_program_beside_unsupported_release_runs_bare_with_one_line(tmp_path: Path, package: str) -> None:
    """Upstream's command cannot start beside it; the program does, and the line has the remedy."""
    metadata = tmp_path / "packages" / f"{package.replace('-', '_')}-1.30.0.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.30.0\n", encoding="utf-8")
    # Breaks upstream's command, as modules that another release lacks do.
    (tmp_path / "packages" / "sitecustomize.py").write_text(
        "import sys; sys.modules['opentelemetry.instrumentation.auto_instrumentation'] = None\n", encoding="utf-8"
    )
    environ = {**environment(tmp_path), "PYTHONPATH": str(tmp_path / "packages")}
    command = [COMMAND, "--service_name", "shop", sys.executable, "-c", "import sys; print(sys.argv[1:]); sys.exit(7)"]
    ended = subprocess.run([*command, "-v"], env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (7, "['-v']\n")
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"otel-distro: telemetry is off: {package} 1.30.0 found")
    assert line.endswith("[OD150]")
