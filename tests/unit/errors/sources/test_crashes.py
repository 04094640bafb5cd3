"""A process that crashes in native code is told of by the next process of its service, once."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from otel_distro.errors.sources import crashes
from tests.support.processes import environment

if TYPE_CHECKING:
    from pathlib import Path

ABOUT = """
import faulthandler, json, os, signal, sys
from otel_distro._otel import sdk
sdk.run_detectors_in_turn()
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from otel_distro.errors.sources import crashes

resource = Resource({"service.name": os.environ["SERVICE"]})
exporter = sdk.InMemoryLogRecordExporter()
logs = sdk.LoggerProvider(resource, shutdown_on_exit=False)
logs.add_log_record_processor(sdk.SimpleLogRecordProcessor(exporter))
tracer = TracerProvider(resource=resource, shutdown_on_exit=False)
sdk.set_providers(tracer, MeterProvider(shutdown_on_exit=False), logs)

def told():
    return [
        [found.log_record.body, found.log_record.severity_text, dict(found.log_record.attributes)]
        for found in exporter.get_finished_logs()
    ]

def crash():
    os.kill(os.getpid(), signal.SIGSEGV)

"""
START = "crashes.start()\nprint(json.dumps(told()))\nsys.stdout.flush()\n"


def run(folder: Path, program: str, service: str = "shop", **changes: str) -> subprocess.CompletedProcess[str]:
    """Run a program after the start of a process of the service, from a file."""
    file = folder / "shop.py"
    file.write_text(ABOUT + program, encoding="utf-8")
    environ = environment(folder, SERVICE=service, PYTHONPATH=os.pathsep.join(filter(None, sys.path)), **changes)
    return subprocess.run(
        [sys.executable, str(file)], cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=60
    )


def files(folder: Path) -> list[str]:
    """Return what lies there for crashes."""
    place = folder / "state" / "otel-distro" / "errors"
    return sorted(file.name for file in place.glob("*.crash")) if place.exists() else []


def told(ended: subprocess.CompletedProcess[str]) -> list[Any]:
    """Return what a process told of others at its start."""
    found: list[Any] = json.loads(ended.stdout.splitlines()[0])
    return found


def test_told_once_by_the_next_process_of_the_service(tmp_path: Path) -> None:
    """The dump is the stack trace; status and stderr of the crash are as without us; another service keeps quiet."""
    crashed = run(tmp_path, START + "crash()\n")
    assert (crashed.returncode, crashed.stderr, told(crashed)) == (-signal.SIGSEGV, "", [])
    assert len(files(tmp_path)) == 1

    assert told(run(tmp_path, START, service="bank")) == []
    next_one = run(tmp_path, START + "crashes.stop()\n")
    ((body, severity, attributes),) = told(next_one)
    pid = attributes["process.pid"]
    assert (body, severity) == (f"Segmentation fault: process {pid} crashed", "FATAL")
    assert attributes["exception.type"] == "Segmentation fault"
    assert (attributes["python.exception.handler"], attributes["python.exception.handled"]) == ("crash", False)
    assert re.search(r'File ".*shop\.py", line \d+ in crash', attributes["exception.stacktrace"])
    assert attributes["python.exception.first_seen"] is True
    assert told(run(tmp_path, START + "crashes.stop()\n")) == []


def test_processes_that_live_or_end_well_are_not_told(tmp_path: Path) -> None:
    """A file whose process lives is left alone; one that ended without a dump goes."""
    program = START + "import subprocess\nsubprocess.run([sys.executable, __file__, 'inner'])\n"
    inner = "if sys.argv[1:]:\n    crashes.start()\n    print(json.dumps(told()))\n    crashes.stop()\n    sys.exit()\n"
    ended = run(tmp_path, inner + program + "crash()\n")
    assert ended.returncode == -signal.SIGSEGV
    assert ended.stdout.splitlines() == ["[]", "[]"]
    assert len(files(tmp_path)) == 1
    run(tmp_path, START + "crashes.stop()\nos._exit(0)\n")
    assert files(tmp_path) == []


def test_forked_child_has_a_file_of_its_own(tmp_path: Path) -> None:
    """A crash of the child is told while the parent lives on."""
    program = START + (
        "os.register_at_fork(after_in_child=crashes.renew)\n"
        "child = os.fork()\n"
        "if not child:\n    crash()\n"
        "os.waitpid(child, 0)\n"
        "ours = crashes._state.pop('file')\n"
        "crashes.start()\n"
        "print(child, told()[0][2]['process.pid'])\n"
    )
    ended = run(tmp_path, program)
    assert ended.returncode == 0, ended.stderr
    child, reported = ended.stdout.splitlines()[1].split()
    assert child == reported


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_applications_own_faulthandler_wins(tmp_path: Path, when: str) -> None:
    """Where it switched faulthandler on, dumps go to where it wants them, and nothing is told."""
    theirs = "faulthandler.enable()\n"
    crashed = run(tmp_path, (theirs + START if when == "before" else START + theirs) + "crash()\n")
    assert crashed.stderr.startswith("Fatal Python error: Segmentation fault\n")
    assert files(tmp_path) == []
    assert told(run(tmp_path, START + "crashes.stop()\n")) == []


def test_planted_files_are_not_read(tmp_path: Path) -> None:
    """A link to another file is neither told nor deleted."""
    secret = tmp_path / "secret"
    secret.write_text("Fatal Python error: hunter2\n")
    run(tmp_path, START + "crashes.stop()\n")
    service = run(tmp_path, "print(crashes._service())\n").stdout.strip()
    place = tmp_path / "state" / "otel-distro" / "errors"
    (place / f"{service}-1-00000000.crash").symlink_to(secret)
    os.link(secret, place / f"{service}-2-00000000.crash")
    assert told(run(tmp_path, START + "crashes.stop()\n")) == []
    assert secret.exists()


def test_service_without_a_name_has_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is written for it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(crashes, "_service", str)
    crashes.start()
    assert list(tmp_path.iterdir()) == []
