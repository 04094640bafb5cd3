"""A fingerprint is new once in a version of a service, in whichever of its processes it shows first."""

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
MANY = """
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
    """The state directory of a user for this test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(diagnostics, "_last", {})
    yield tmp_path
    start_process()


def start_process(**resource: str) -> None:
    """Be a process that has just started, of a service with this resource."""
    first_seen._known.clear()
    first_seen._service = (None, "")
    provider = TracerProvider(resource=Resource({key.replace("_", "."): value for key, value in resource.items()}))
    provider.shutdown()
    trace._TRACER_PROVIDER = provider


@pytest.fixture(autouse=True)
def providers(telemetry: Telemetry) -> None:
    """The global providers are put back after the test."""


def test_new_once_in_a_version_of_a_service(home: Path) -> None:
    """A restart remembers; another version, or another service, begins anew."""
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


def test_line_that_was_cut_off_costs_no_other(home: Path) -> None:
    """After a crash in the middle of a line the next fingerprint stands on a line of its own."""
    start_process(service_name="shop")
    first_seen.is_new(FIRST)
    (file,) = (home / "otel-distro" / "errors").iterdir()
    with file.open("ab") as damaged:
        damaged.write(b"0123\xff")
    start_process(service_name="shop")
    assert first_seen.is_new(SECOND)
    start_process(service_name="shop")
    assert not first_seen.is_new(SECOND)


def test_exactly_once_over_processes(home: Path) -> None:
    """Of three processes that meet the same three hundred errors at the same time, one calls each of them new."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    running = [
        subprocess.Popen([sys.executable, "-c", MANY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ)
        for _ in range(3)
    ]
    for process in running:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    assert sum(int(process.communicate()[0]) for process in running) == 300


def test_bounded(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """A service that makes errors without end does not fill the disk: beyond the bound nothing is new."""
    monkeypatch.setattr(first_seen, "_MOST", 3)
    start_process(service_name="shop")
    assert [first_seen.is_new(f"{number:016x}") for number in range(5)] == [True, True, True, False, False]
    start_process(service_name="shop")
    assert not first_seen.is_new(FIRST)
    (file,) = (home / "otel-distro" / "errors").iterdir()
    assert len(file.read_text().split()) == 3


def test_disk_that_cannot_be_written(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The process remembers for itself, and says so in one line."""
    (home / "otel-distro").write_text("not a folder")
    start_process(service_name="shop")
    assert [first_seen.is_new(one) for one in (FIRST, SECOND, FIRST)] == [True, True, False]
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("otel-distro: new errors are told apart by each process for itself: ")


def test_planted_file_is_not_followed(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A link in the place of the file is not written through."""
    start_process(service_name="shop")
    os.close(state.open_folder())
    target = home / "precious"
    target.write_text("as it was")
    (home / "otel-distro" / "errors" / f"{first_seen._key()}.seen").symlink_to(target)
    assert first_seen.is_new(FIRST)
    assert target.read_text() == "as it was"
    assert "for itself" in capfd.readouterr().err


def test_service_without_a_name_leaves_nothing(home: Path) -> None:
    """What has no name cannot be told apart from others: the process remembers for itself."""
    start_process()
    assert [first_seen.is_new(one) for one in (FIRST, FIRST)] == [True, False]
    assert not (home / "otel-distro").exists()
