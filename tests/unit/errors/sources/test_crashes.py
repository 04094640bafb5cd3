"""A native crash is reported once, by the next process of the same service."""

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

PRELUDE = """
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

def reported():
    return [
        [found.log_record.body, found.log_record.severity_text, dict(found.log_record.attributes)]
        for found in exporter.get_finished_logs()
    ]

def crash():
    os.kill(os.getpid(), signal.SIGSEGV)

"""
START = "crashes.start()\nprint(json.dumps(reported()))\nsys.stdout.flush()\n"


def run(folder: Path, program: str, service: str = "shop", **changes: str) -> subprocess.CompletedProcess[str]:
    """Run ``program`` in a new process of the service."""
    file = folder / "shop.py"
    file.write_text(PRELUDE + program, encoding="utf-8")
    environ = environment(folder, SERVICE=service, PYTHONPATH=os.pathsep.join(filter(None, sys.path)), **changes)
    return subprocess.run(
        [sys.executable, str(file)], cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=60
    )


def files(folder: Path) -> list[str]:
    """Return the names of the dump files."""
    place = folder / "state" / "otel-distro" / "errors"
    return sorted(file.name for file in place.glob("*.crash")) if place.exists() else []


def reported(ended: subprocess.CompletedProcess[str]) -> list[Any]:
    """Return the crashes that a process reported at its start."""
    found: list[Any] = json.loads(ended.stdout.splitlines()[0])
    return found


def test_crash_is_reported_once_by_the_next_process(tmp_path: Path) -> None:
    """The dump is the stack trace; exit status and stderr stay; other services report nothing."""
    crashed = run(tmp_path, START + "crash()\n")
    assert (crashed.returncode, crashed.stderr, reported(crashed)) == (-signal.SIGSEGV, "", [])
    assert len(files(tmp_path)) == 1

    assert reported(run(tmp_path, START, service="bank")) == []
    next_one = run(tmp_path, START + "crashes.stop()\n")
    ((body, severity, attributes),) = reported(next_one)
    pid = attributes["process.pid"]
    assert (body, severity) == (f"Segmentation fault: process {pid} crashed", "FATAL")
    assert attributes["exception.type"] == "Segmentation fault"
    assert (attributes["python.exception.handler"], attributes["python.exception.handled"]) == ("crash", False)
    assert re.search(r'File ".*shop\.py", line \d+ in crash', attributes["exception.stacktrace"])
    assert attributes["python.exception.first_seen"] is True
    assert reported(run(tmp_path, START + "crashes.stop()\n")) == []


@pytest.mark.parametrize("starts_threads", [False, True])
def test_crashes_in_different_functions_have_different_fingerprints(tmp_path: Path, starts_threads: bool) -> None:
    """The thread that crashed decides, wherever the dump lists it among the others."""
    threads = (
        "import threading\n"
        "for _ in range(3):\n    threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    found = {}
    for function in ("parse", "render"):
        program = START + (threads if starts_threads else "") + f"def {function}():\n    crash()\n{function}()\n"
        assert run(tmp_path, program).returncode == -signal.SIGSEGV
        ((_, _, attributes),) = reported(run(tmp_path, START + "crashes.stop()\n"))
        found[function] = attributes["python.exception.fingerprint"]
    assert found["parse"] != found["render"]


def test_live_or_normally_ended_process_is_not_reported(tmp_path: Path) -> None:
    """The dump file of a live process is kept; an empty one of an ended process is deleted."""
    program = START + "import subprocess\nsubprocess.run([sys.executable, __file__, 'inner'])\n"
    inner = (
        "if sys.argv[1:]:\n    crashes.start()\n    print(json.dumps(reported()))\n    crashes.stop()\n    sys.exit()\n"
    )
    ended = run(tmp_path, inner + program + "crash()\n")
    assert ended.returncode == -signal.SIGSEGV
    assert ended.stdout.splitlines() == ["[]", "[]"]
    assert len(files(tmp_path)) == 1
    run(tmp_path, START + "crashes.stop()\nos._exit(0)\n")
    assert files(tmp_path) == []


def test_crash_of_forked_child_is_reported_while_parent_lives(tmp_path: Path) -> None:
    """The child has a dump file of its own."""
    program = START + (
        "os.register_at_fork(after_in_child=crashes.reset_after_fork)\n"
        "child = os.fork()\n"
        "if not child:\n    crash()\n"
        "os.waitpid(child, 0)\n"
        "crashes._state.file = None\n"
        "crashes.start()\n"
        "print(child, reported()[0][2]['process.pid'])\n"
    )
    ended = run(tmp_path, program)
    assert ended.returncode == 0, ended.stderr
    child, reported = ended.stdout.splitlines()[1].split()
    assert child == reported


@pytest.mark.parametrize("when", ["before", "after"])
def test_faulthandler_enabled_by_application_wins(tmp_path: Path, when: str) -> None:
    """Dumps go where the application directs them, and nothing is reported."""
    enable = "faulthandler.enable()\n"
    crashed = run(tmp_path, (enable + START if when == "before" else START + enable) + "crash()\n")
    assert crashed.stderr.startswith("Fatal Python error: Segmentation fault\n")
    assert files(tmp_path) == []
    assert reported(run(tmp_path, START + "crashes.stop()\n")) == []


def test_planted_links_are_neither_read_nor_deleted(tmp_path: Path) -> None:
    """Symbolic and hard links to another file are not reported, and the file stays."""
    secret = tmp_path / "secret"
    secret.write_text("Fatal Python error: hunter2\n")
    run(tmp_path, START + "crashes.stop()\n")
    service = run(tmp_path, "print(crashes._service())\n").stdout.strip()
    place = tmp_path / "state" / "otel-distro" / "errors"
    (place / f"{service}-1-00000000.crash").symlink_to(secret)
    os.link(secret, place / f"{service}-2-00000000.crash")
    assert reported(run(tmp_path, START + "crashes.stop()\n")) == []
    assert secret.exists()


def test_service_without_name_writes_no_dump_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The state folder stays empty."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(crashes, "_service", str)
    crashes.start()
    assert list(tmp_path.iterdir()) == []
