"""Fixtures of the tests on the real stack, and the ring ``tempo``.

Every test here is marked ``stack``. Tests marked ``tempo`` need a real Tempo; where none is at hand they are deselected by
name, in one line at the end of the run.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.stack.build import BuildError
from tests.stack.process import ProcessError
from tests.stack.programs import TEMPO_VARIABLE, find_tempo
from tests.stack.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

HERE = Path(__file__).parent
_without_tempo = pytest.StashKey[list[str]]()
_measured = pytest.StashKey[list[tuple[str, float]]]()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests of this folder."""
    if HERE in item.path.parents:
        item.add_marker("stack")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take the ring ``tempo`` out of what was chosen to run where there is no Tempo."""
    if find_tempo() is None and (ring := [item for item in items if item.get_closest_marker("tempo")]):
        items[:] = [item for item in items if item not in ring]
        config.hook.pytest_deselected(items=ring)
        config.stash[_without_tempo] = [item.name for item in ring]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say in one line what the missing Tempo left out, and how long the stores took to answer."""
    if names := config.stash.get(_without_tempo, []):
        terminalreporter.write_line(
            f"ring tempo not run, {len(names)} test(s): {', '.join(names)}; "
            f"no Tempo at hand (set {TEMPO_VARIABLE} to the program, or put `tempo` on PATH)"
        )
    for what, seconds in config.stash.get(_measured, []):
        terminalreporter.write_line(f"measured: {what} {seconds:.2f} s")


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole stack, started once for the run."""
    try:
        running = Stack(tmp_path_factory.mktemp("stack"))
    except (BuildError, ProcessError) as error:
        pytest.fail(str(error), pytrace=False)
    request.config.stash[_measured] = running.measured
    yield running
    running.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the programs' logs to the report of a failed test that used the stack."""
    report = yield
    running = getattr(item, "funcargs", {}).get("stack")
    if report.failed and isinstance(running, Stack):
        report.sections.extend((f"log of {name}", text) for name, text in running.logs().items())
    return report
