"""The modules that an instrumented process imports at its start are few and listed."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import NOWHERE, RUN, run

if TYPE_CHECKING:
    from pathlib import Path

SHOW = "import sys, json; print(json.dumps(sorted(sys.modules)))"
HEAVY = {
    "typing",
    "logging",
    "threading",
    "re",
    "dataclasses",
    "enum",
    "functools",
    "inspect",
    "importlib.metadata",
    "json",
}
OURS_AT_START = {
    "otel_distro",
    "otel_distro._boot",
    "otel_distro._runtime",
    "otel_distro._startup",
    "otel_distro._runtime.diagnostics",
    "otel_distro._startup.exception_hooks",
    "otel_distro._startup.gevent_patch",
    "otel_distro._startup.uvicorn_workers",
    "otel_distro._runtime.import_hooks",
    "otel_distro._runtime.threads",
    "otel_distro._runtime.signals",
    "otel_distro._runtime.fork",
    "otel_distro.environment",
    "otel_distro.settings",
    "otel_distro._startup.triggers",
    "sitecustomize",
    "atexit",
}


def modules(folder: Path, *command: str, **changes: str) -> set[str]:
    """Return the modules that a process has when its own program begins."""
    ended = run(folder, *command, sys.executable, "-c", SHOW, **changes)
    assert (ended.returncode, ended.stderr) == (0, "")
    found: list[str] = json.loads(ended.stdout)
    return set(found)


def test_start_imports_only_the_listed_modules(tmp_path: Path) -> None:
    """A dozen small modules more than a bare process, and nothing of OpenTelemetry."""
    more = modules(tmp_path, *RUN) - modules(tmp_path)
    assert {name for name in more if name.startswith("opentelemetry")} == set()
    assert more & HEAVY == set()
    assert more <= OURS_AT_START


def test_start_under_opentelemetry_instrument_imports_no_heavy_module(tmp_path: Path) -> None:
    """Under upstream's command the process starts the same way."""
    command = [sys.executable, "-c", "from opentelemetry.instrumentation.auto_instrumentation import run; run()"]
    more = modules(tmp_path, *command, **NOWHERE) - modules(tmp_path)
    assert more & HEAVY == set()
    assert {name for name in more if name.startswith("opentelemetry")} == set()


def test_start_with_the_sdk_disabled_installs_no_hook(tmp_path: Path) -> None:
    """``OTEL_SDK_DISABLED=true``: no hook is installed."""
    more = modules(tmp_path, *RUN, OTEL_SDK_DISABLED="true") - modules(tmp_path)
    assert more <= OURS_AT_START
    ended = run(
        tmp_path, *RUN, sys.executable, "-c", "import logging, sys; logging.error('x'); print(len(sys.meta_path))",
        OTEL_SDK_DISABLED="TRUE",
    )  # fmt: skip
    assert ended.stdout == run(tmp_path, sys.executable, "-c", "import sys; print(len(sys.meta_path))").stdout
    assert ended.stderr == "ERROR:root:x\n"


@pytest.mark.parametrize(
    "script", ["import otel_distro", "import otel_distro.settings, otel_distro.schema", "import otel_distro.cli.run"]
)
def test_import_of_the_package_imports_no_opentelemetry(tmp_path: Path, script: str) -> None:
    """The public package, the schema and the settings import neither OpenTelemetry nor psutil."""
    ended = run(tmp_path, sys.executable, "-c", f"{script}; {SHOW}")
    found = set(json.loads(ended.stdout))
    assert {name for name in found if name.startswith(("opentelemetry", "psutil", "google"))} == set()


def test_first_log_record_builds_the_sdk(tmp_path: Path) -> None:
    """The first log line builds the SDK, then loads every instrumentor that always runs."""
    script = "import logging; logging.error('x'); import sys; print('opentelemetry.sdk.trace' in sys.modules)"
    ended = run(tmp_path, *RUN, sys.executable, "-c", script, **NOWHERE)
    assert (ended.stdout, ended.stderr) == ("True\n", "ERROR:root:x\n")
