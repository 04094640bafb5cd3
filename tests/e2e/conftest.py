"""Fixtures: a receiver and a launcher per test, and a check of the installed package."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.programs import Launcher
from tests.support.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
_WHERE = "import json, otel_distro, sysconfig; print(json.dumps([otel_distro.__file__, sysconfig.get_path('purelib')]))"

_without_embedding = pytest.StashKey[int]()


@pytest.fixture(scope="session", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Check that the package under test is installed, not editable, and built from this tree.

    Fails with the command that installs it.
    """
    folder = tmp_path_factory.mktemp("elsewhere")
    found = subprocess.run([sys.executable, "-c", _WHERE], cwd=folder, capture_output=True, text=True, check=False)
    remedy = "run `pip install --force-reinstall --no-deps .` in the environment of the tests"
    if found.returncode:
        pytest.fail(f"otel-distro is not installed: {remedy}", pytrace=False)
    package, site = map(Path, json.loads(found.stdout))
    if not package.is_relative_to(site) or not (site / "otel_distro.pth").is_file():
        pytest.fail(f"otel-distro is installed editable, so its .pth file would not be tested: {remedy}", pytrace=False)
    for source in [*(ROOT / "otel_distro").rglob("*.py"), ROOT / "otel_distro.pth"]:
        copy = site / source.relative_to(ROOT)
        if not copy.is_file() or copy.read_bytes() != source.read_bytes():
            pytest.fail(f"the installed otel-distro differs in {source.relative_to(ROOT)}: {remedy}", pytrace=False)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver on a free port that has received nothing yet."""
    started = Receiver()
    yield started
    started.stop()


@pytest.fixture
def launcher(tmp_path: Path, receiver: Receiver) -> Iterator[Launcher]:
    """A launcher whose programs run in the folder of the test and export to ``receiver``."""
    made = Launcher(tmp_path, receiver.endpoint)
    yield made
    made.close()


def can_embed() -> bool:
    """Return whether a program that embeds this Python can be built here.

    It needs a C compiler, Python.h and the shared library.
    """
    library = Path(sysconfig.get_config_var("LIBDIR"), f"libpython{sysconfig.get_config_var('LDVERSION')}.so")
    return bool(shutil.which("cc")) and Path(sysconfig.get_path("include"), "Python.h").is_file() and library.is_file()


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker of this folder."""
    config.addinivalue_line("markers", "embedded: compiles a program that embeds Python")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests marked ``embedded`` where no program that embeds Python can be built."""
    ring = [item for item in items if item.get_closest_marker("embedded")]
    if ring and not can_embed():
        items[:] = [item for item in items if item not in ring]
        config.hook.pytest_deselected(items=ring)
        config.stash[_without_embedding] = len(ring)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Report how many tests of embedded interpreters were deselected."""
    if number := config.stash.get(_without_embedding, 0):
        terminalreporter.write_line(
            f"{number} tests of embedded interpreters deselected: they need cc, Python.h and the shared libpython"
        )
