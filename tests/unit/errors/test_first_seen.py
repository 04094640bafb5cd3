"""A fingerprint is new once per version of a service, over all of its processes."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from otel_distro._runtime import diagnostics
from otel_distro.errors import first_seen, state

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otel_distro.testing import Telemetry

FIRST, SECOND = "0123456789abcdef", "fedcba9876543210"
ASK_FOR_300 = """
import sys
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from otel_distro.errors import first_seen

trace.set_tracer_provider(TracerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False))
sys.stdin.readline()
print(sum(first_seen.is_new(f"{number:016x}") for number in range(300)))
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state directory for this test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(diagnostics, "_last", {})
    yield tmp_path
    start_process()


def start_process(**resource: str) -> None:
    """Simulate a new process of a service with this resource."""
    first_seen._known.clear()
    first_seen._service = (None, "")
    provider = TracerProvider(resource=Resource({key.replace("_", "."): value for key, value in resource.items()}))
    provider.shutdown()
    trace._TRACER_PROVIDER = provider


@pytest.fixture(autouse=True)
def providers(telemetry: Telemetry) -> None:
    """Restore the global providers after the test."""


def test_fingerprint_is_new_once_per_service_version(home: Path) -> None:
    """A restart remembers; another version, or another service, starts empty."""
    start_process(service_name="shop", service_version="1")
    assert [first_seen.is_new(one) for one in (FIRST, SECOND, FIRST)] == [True, True, False]
    start_process(service_name="shop", service_version="1")
    assert [first_seen.is_new(one) for one in (FIRST, SECOND)] == [False, False]
    start_process(service_name="shop", service_version="2")
    assert first_seen.is_new(FIRST)
    start_process(service_name="bank", service_version="1")
    assert first_seen.is_new(FIRST)
    files = [*(home / "otel-distro" / "errors").iterdir()]
    assert len(files) == 3
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_truncated_line_does_not_damage_the_next(home: Path) -> None:
    """After a crash in the middle of a line the next fingerprint gets a line of its own."""
    start_process(service_name="shop")
    first_seen.is_new(FIRST)
    (file,) = (home / "otel-distro" / "errors").iterdir()
    with file.open("ab") as damaged:
        damaged.write(b"0123\xff")
    start_process(service_name="shop")
    assert first_seen.is_new(SECOND)
    start_process(service_name="shop")
    assert not first_seen.is_new(SECOND)


def test_concurrent_processes_report_each_fingerprint_once(home: Path) -> None:
    """Three processes with the same 300 errors at the same time: each is new in one of them."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", ASK_FOR_300], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ
        )
        for _ in range(3)
    ]
    for process in running:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    assert sum(int(process.communicate()[0]) for process in running) == 300


def test_fingerprints_beyond_the_limit_are_not_new(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Beyond the limit nothing is new and nothing is written: the disk does not fill up."""
    monkeypatch.setattr(first_seen, "_MAX_FINGERPRINTS", 3)
    start_process(service_name="shop")
    assert [first_seen.is_new(f"{number:016x}") for number in range(5)] == [True, True, True, False, False]
    start_process(service_name="shop")
    assert not first_seen.is_new(FIRST)
    (file,) = (home / "otel-distro" / "errors").iterdir()
    assert len(file.read_text().split()) == 3


def test_unwritable_folder_falls_back_to_memory(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Only this process is considered, and one line on stderr explains it."""
    (home / "otel-distro").write_text("not a folder")
    start_process(service_name="shop")
    assert [first_seen.is_new(one) for one in (FIRST, SECOND, FIRST)] == [True, True, False]
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("otel-distro: first occurrences of errors are tracked per process, ")


def test_symlink_in_place_of_the_file_is_not_followed(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The target of a planted link is not written to."""
    start_process(service_name="shop")
    os.close(state.open_folder())
    target = home / "precious"
    target.write_text("as it was")
    (home / "otel-distro" / "errors" / f"{first_seen._key()}.seen").symlink_to(target)
    assert first_seen.is_new(FIRST)
    assert target.read_text() == "as it was"
    assert "tracked per process" in capfd.readouterr().err


def test_service_without_name_writes_no_file(home: Path) -> None:
    """A service without a name cannot be identified: only this process is considered."""
    start_process()
    assert [first_seen.is_new(one) for one in (FIRST, FIRST)] == [True, False]
    assert not (home / "otel-distro").exists()
