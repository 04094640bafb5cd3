"""Fixtures of the tests on the real stack, and the rings ``loki`` and ``tempo``.

Every test here is marked ``stack``. Tests marked ``loki`` or ``tempo`` need that program; if it is
not installed, they are deselected and listed at the end of the run, one line per ring.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.stack.build import BuildError
from tests.stack.rings import BUILT, BUNDLED, RINGS, find
from tests.stack.stack import Stack
from tests.support.processes import ProcessError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

HERE = Path(__file__).parent
_left_out = pytest.StashKey[dict[str, list[str]]]()
_measured = pytest.StashKey[list[tuple[str, float]]]()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests of this folder."""
    if HERE in item.path.parents:
        item.add_marker("stack")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that does not choose its stores on those that are built here."""
    named = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "stack" in metafunc.fixturenames and "stack" not in named:
        metafunc.parametrize("stack", [pytest.param(BUILT, id=pytest.HIDDEN_PARAM)], indirect=True)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the rings whose program is missing, and run the others last.

    Only one stack runs at a time.
    """
    left_out = config.stash[_left_out] = {}
    for ring in RINGS:
        if _find(ring) is None and (tests := [item for item in items if item.get_closest_marker(ring)]):
            items[:] = [item for item in items if item not in tests]
            config.hook.pytest_deselected(items=tests)
            left_out[ring] = [item.name for item in tests]
    items.sort(key=_needs_the_bundled_stores)


def _find(ring: str) -> Path | None:
    try:
        return find(ring)
    except FileNotFoundError as error:
        raise pytest.UsageError(str(error)) from None


def _needs_the_bundled_stores(item: pytest.Item) -> bool:
    return (
        isinstance(item, pytest.Function)
        and getattr(item, "callspec", None) is not None
        and (item.callspec.params.get("stack") == BUNDLED)
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the tests that each missing program deselected, and the measured response times."""
    for ring, names in config.stash.get(_left_out, {}).items():
        terminalreporter.write_line(
            f"ring {ring} deselected, {len(names)} test(s): {', '.join(names)}; "
            f"{ring} is not installed (set {RINGS[ring]} to the program, or put `{ring}` on PATH)"
        )
    for what, seconds in config.stash.get(_measured, []):
        terminalreporter.write_line(f"measured: {what} {seconds:.2f} s")


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole stack, started once for all tests that use the same stores."""
    programs = {ring: find(ring) for ring in RINGS} if request.param == BUNDLED else {}
    try:
        running = Stack(tmp_path_factory.mktemp("stack"), **programs)
    except (BuildError, ProcessError) as error:
        pytest.fail(str(error), pytrace=False)
    yield running
    request.config.stash.setdefault(_measured, []).extend(running.measured)
    running.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the programs' logs to the report of a failed test that used the stack."""
    report = yield
    running = getattr(item, "funcargs", {}).get("stack")
    if report.failed and isinstance(running, Stack):
        report.sections.extend((f"log of {name}", text) for name, text in running.tails().items())
    return report
