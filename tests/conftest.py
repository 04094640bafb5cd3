"""Rules for every test: no telemetry settings from outside, and no unnoticed internal errors."""

from __future__ import annotations

import os
import re
import signal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from otel_distro._runtime import diagnostics
from otel_distro.testing import telemetry

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from types import ModuleType

__all__ = ["telemetry"]

_PROCESSES = re.compile(r"\b(subprocess|multiprocessing|os\.fork|support\.(processes|programs|spool_processes))\b")


@cache
def _starts_processes(module: ModuleType) -> bool:
    return bool(_PROCESSES.search(Path(str(module.__file__)).read_text(encoding="utf-8")))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests of modules that start processes as ``process``: `make test-fast` skips them."""
    for item in items:
        if isinstance(item, pytest.Function) and _starts_processes(item.module):
            item.add_marker("process")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape what UTF-8 cannot encode in captured text: the workers of xdist would end over it."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode("utf-8")) for name, text in report.sections
    ]
    return report


@pytest.fixture(scope="session", autouse=True)
def signals() -> None:
    """Restore SIGINT and SIGHUP, which a shell's `&`, nohup or xdist ignore.

    Programs under test would inherit the ignored signals.
    """
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove all variables of OpenTelemetry except those that configure the tests themselves."""
    for name in list(os.environ):
        if name.startswith(("OTEL_", "_OTEL_")) and not name.startswith("OTEL_DISTRO_TEST_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def swallowed() -> Iterator[list[str]]:
    """The internal errors that the distribution swallowed in this test.

    The test fails if it does not clear the list.
    """
    seen: list[str] = []

    def record(what: str, error: BaseException) -> None:
        seen.append(f"{what}: {type(error).__name__}: {error}")

    diagnostics.listeners.append(record)
    yield seen
    diagnostics.listeners.remove(record)
    assert not seen, "the distribution swallowed an internal error"
