"""The exception that ends a cell is recorded once, with the cell and the line in it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from otel_distro import schema as s
from otel_distro.instrumentation.ipython_cells import IpythonCellsInstrumentor
from tests.support.contract import Contract

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otel_distro.testing import Telemetry


def new_shell() -> Any:
    """Return a shell without history files that prints plain tracebacks."""
    InteractiveShell.clear_instance()
    shell: Any = InteractiveShell()
    shell.history_manager.enabled = False
    return shell


@pytest.fixture
def shell(telemetry: Telemetry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An instrumented shell."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    hooks = (sys.excepthook, sys.displayhook)
    IpythonCellsInstrumentor().instrument()
    yield new_shell()
    IpythonCellsInstrumentor().uninstrument()
    sys.excepthook, sys.displayhook = hooks


def recorded(telemetry: Telemetry) -> list[dict[str, Any]]:
    """Return the attributes of the exceptions that were recorded."""
    found = [each.log_record for each in telemetry.logs()]
    return [dict(each.attributes or {}) for each in found if each.event_name == s.EXCEPTION.name]


def test_failing_cell_is_one_error_with_its_number_and_line(telemetry: Telemetry, shell: Any) -> None:
    """The stack trace shows the lines of the cells; a function of an earlier cell is in it."""
    shell.run_cell("def share(n):\n    return 1 / n\n", store_history=True)
    shell.run_cell("x = 1\n\nshare(0)", store_history=True)
    (attributes,) = recorded(telemetry)
    assert attributes[s.EXCEPTION_TYPE.name] == "ZeroDivisionError"
    assert attributes[s.EXCEPTION_HANDLER.name] == "cell"
    assert attributes[s.EXCEPTION_HANDLED.name] is False
    assert attributes[s.CELL_EXECUTION_COUNT.name] == 2
    assert attributes[s.CODE_LINE_NUMBER.name] == 3
    assert attributes[s.CODE_FILE_PATH.name].startswith("<ipython-input-2-")
    assert attributes[s.CODE_FUNCTION_NAME.name].endswith("share")
    assert "    share(0)\n" in attributes[s.EXCEPTION_STACKTRACE.name]
    assert "    return 1 / n\n" in attributes[s.EXCEPTION_STACKTRACE.name]


def test_cell_that_runs_again_has_the_same_fingerprint(telemetry: Telemetry, shell: Any) -> None:
    """The number of the cell is not part of it."""
    for _ in range(2):
        shell.run_cell("int('tea')", store_history=True)
    one, two = recorded(telemetry)
    assert one[s.EXCEPTION_FINGERPRINT.name] == two[s.EXCEPTION_FINGERPRINT.name]
    assert (one[s.CELL_EXECUTION_COUNT.name], two[s.CELL_EXECUTION_COUNT.name]) == (1, 2)


@pytest.mark.parametrize(
    "cell",
    [
        "raise SystemExit(3)",
        "raise KeyboardInterrupt",
        "import bdb; raise bdb.BdbQuit",
        "try:\n    1 / 0\nexcept ZeroDivisionError:\n    pass",
    ],
)
@pytest.mark.filterwarnings("ignore:To exit")
def test_cell_that_is_left_or_handles_its_error_is_no_error(telemetry: Telemetry, shell: Any, cell: str) -> None:
    """Nothing is recorded."""
    shell.run_cell(cell, store_history=True)
    assert recorded(telemetry) == []


def test_silent_cell_of_a_front_end_is_no_error(telemetry: Telemetry, shell: Any) -> None:
    """Tools of a front end try what may fail."""
    shell.run_cell("1 / 0", silent=True)
    assert recorded(telemetry) == []


def test_syntax_error_has_the_line_in_the_cell(telemetry: Telemetry, shell: Any) -> None:
    """A cell that cannot be compiled is an error, too."""
    shell.run_cell("x = 1\nx ==== 2", store_history=True)
    (attributes,) = recorded(telemetry)
    assert (attributes[s.EXCEPTION_TYPE.name], attributes[s.CODE_LINE_NUMBER.name]) == ("SyntaxError", 2)


def test_script_of_the_magic_run_has_its_own_file_and_line(telemetry: Telemetry, shell: Any, tmp_path: Path) -> None:
    """The cell itself succeeds, because IPython shows the traceback and continues."""
    script = tmp_path / "shop.py"
    script.write_text("x = 1\nraise LookupError('in a script')\n", encoding="utf-8")
    shell.run_cell(f"%run {script}", store_history=True)
    (attributes,) = recorded(telemetry)
    assert attributes[s.CODE_FILE_PATH.name] == str(script)
    assert (attributes[s.CODE_LINE_NUMBER.name], attributes[s.CELL_EXECUTION_COUNT.name]) == (2, 1)


def test_error_of_a_custom_handler_is_recorded_after_the_cell(telemetry: Telemetry, shell: Any) -> None:
    """``set_custom_exc`` takes the place of the traceback."""
    shown: list[str] = []
    shell.set_custom_exc((KeyError,), lambda shell, kind, value, tb, tb_offset=None: shown.append(str(value)))
    shell.run_cell("{}['tea']", store_history=True)
    (attributes,) = recorded(telemetry)
    assert (shown, attributes[s.EXCEPTION_TYPE.name]) == (["'tea'"], "KeyError")


def test_error_that_a_later_cell_raises_again_is_counted_once(telemetry: Telemetry, shell: Any) -> None:
    """It is the same failure."""
    shell.run_cell("try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    kept = error\n    raise")
    shell.run_cell("raise kept")
    assert len(recorded(telemetry)) == 1


def fail_in_a_cell() -> None:
    """Run a cell that fails; the shell's changes of the module sys are taken back."""
    before = dict(vars(sys))
    new_shell().run_cell("int('tea')")
    for name in vars(sys).keys() - before.keys():
        delattr(sys, name)
    for name, value in before.items():
        setattr(sys, name, value)


CONTRACT = Contract(
    fail_in_a_cell,
    inside="otel_distro.instrumentation.ipython_cells._place",
    names={s.EXCEPTION.name, s.PYTHON_EXCEPTIONS.name, s.PYTHON_EXCEPTION_FIRST_SEEN.name},
    suppressible=False,
    owners=(InteractiveShell,),
)
