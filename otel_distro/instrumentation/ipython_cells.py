"""Record the exception that ends a cell of IPython or Jupyter, with the cell and the line in it.

IPython catches what a cell raises and shows a traceback, so no hook of the interpreter sees it.
``showtraceback`` records it, also for a script that ``ipython`` or ``%run`` runs; an exception that
a handler of ``set_custom_exc`` shows is recorded once the cell has ended. The output is unchanged.
Cells that a front end runs silently, such as those of a variable inspector, are left out.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from otel_distro import schema
from otel_distro._runtime.diagnostics import guard
from otel_distro.errors import exception_report, frames
from otel_distro.instrumentation import Instrumentor

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.util.types import AnyValue

# IPython has no types for all of it.
_shells: Any = import_module("IPython.core.interactiveshell")

_DEBUGGER_LEFT = "bdb.BdbQuit"


@dataclass(frozen=True)
class _Cell:
    """The cell that runs; ``identity`` is the notebook's, empty outside of notebooks."""

    number: int
    identity: str
    silent: bool


_running: ContextVar[_Cell | None] = ContextVar("otel_distro_cell", default=None)


class IpythonCellsInstrumentor(Instrumentor):
    """Entry point ``ipython_cells``."""

    def install(self) -> None:
        """Wrap the methods of IPython's shell that run a cell and show an exception."""
        self.patch(_shells.InteractiveShell, "run_cell_async", _wrap_run_cell)
        self.patch(_shells.InteractiveShell, "showtraceback", _wrap_show)
        self.patch(_shells.InteractiveShell, "showsyntaxerror", _wrap_show_syntax_error)


def _wrap_run_cell(original: Callable[..., Any]) -> Callable[..., Any]:
    async def run_cell_async(shell: Any, raw_cell: str, *args: Any, **kwargs: Any) -> Any:
        token = None
        with guard("noting the cell that runs"):
            silent = kwargs.get("silent", args[1] if len(args) > 1 else False)
            token = _running.set(_Cell(shell.execution_count, str(kwargs.get("cell_id") or ""), bool(silent)))
        try:
            result = await original(shell, raw_cell, *args, **kwargs)
            error = getattr(result, "error_before_exec", None) or getattr(result, "error_in_exec", None)
            _record(shell, error)
            return result
        finally:
            if token is not None:
                _running.reset(token)

    return run_cell_async


def _wrap_show(original: Callable[..., Any]) -> Callable[..., Any]:
    def showtraceback(shell: Any, exc_tuple: Any = None, *args: Any, **kwargs: Any) -> Any:
        _record_shown(shell, exc_tuple)
        return original(shell, exc_tuple, *args, **kwargs)

    return showtraceback


def _wrap_show_syntax_error(original: Callable[..., Any]) -> Callable[..., Any]:
    def showsyntaxerror(shell: Any, *args: Any, **kwargs: Any) -> Any:
        _record_shown(shell, None)
        return original(shell, *args, **kwargs)

    return showsyntaxerror


def _record_shown(shell: Any, exc_tuple: Any) -> None:
    with guard("recording the exception of a cell"):
        _record(shell, shell._get_exc_info(exc_tuple)[1])


def _record(shell: Any, error: BaseException | None) -> None:
    with guard("recording the exception of a cell"):
        cell = _running.get()
        if (
            not isinstance(error, Exception)
            or exception_report.type_name(type(error)) == _DEBUGGER_LEFT
            or (cell is not None and cell.silent)
        ):
            return
        more: dict[str, AnyValue] = {}
        if cell is not None:
            more[schema.CELL_EXECUTION_COUNT.name] = cell.number
            if cell.identity:
                more[schema.CELL_ID.name] = cell.identity
        path, line = _place(shell, error)
        if path:
            more[schema.CODE_FILE_PATH.name] = path
            more[schema.CODE_LINE_NUMBER.name] = line
        exception_report.record(error, "cell", more=more)


def _place(shell: Any, error: BaseException) -> tuple[str, int]:
    """Return the file that IPython names the cell by, and the line that failed in it.

    For a script that it runs, the innermost file of the application.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return error.filename, error.lineno or 0
    entries = frames.traceback_entries(error.__traceback__)
    own = [entry for entry in reversed(entries) if frames.app_file_name(entry.tb_frame.f_code.co_filename)]
    cells = [entry for entry in entries if entry.tb_frame.f_globals is shell.user_global_ns]
    for entry in (*cells, *own):
        return entry.tb_frame.f_code.co_filename, entry.tb_lineno
    return "", 0
