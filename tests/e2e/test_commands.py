"""A command has a span, and is not the parent of the work that it does."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import BIN, free_port
from tests.support.programs import APPS, RUN, Launcher

if TYPE_CHECKING:
    from tests.support.receiver import Receiver, Span

SERVER, CLIENT = 2, 3
ERROR = 2


def commands(receiver: Receiver) -> list[Span]:
    """Return the spans of commands."""
    return [span for span in receiver.spans() if "process.exit.code" in span.attributes]


@pytest.mark.parametrize("library", ["click", "typer", "asyncclick"])
def test_command_with_several_pieces_of_work_each_is_a_trace(
    library: str, launcher: Launcher, receiver: Receiver
) -> None:
    """Statements are roots, lines have no trace, and the innermost command has one span."""
    done = launcher.run("commands.py", library, "inner", "serve", command=RUN)
    assert done.returncode == 0, done.stderr
    statements = [span for span in receiver.spans() if span.kind == CLIENT]
    assert [span.parent_id for span in statements] == [""] * 3
    (command,) = commands(receiver)
    assert (command.name, command.parent_id, command.status) == ("serve", "", 0)
    assert len({span.trace_id for span in receiver.spans()}) == 4
    assert {log.trace_id for log in receiver.logs() if str(log.body).startswith("piece ")} == {""}
    assert command.attributes["process.command_args"][1:] == ["inner", "serve"]
    assert command.attributes["process.executable.name"].endswith("commands.py")
    assert command.attributes["process.pid"] == command.resource["process.pid"]


@pytest.mark.parametrize(
    ("how", "code", "error_type"),
    [
        ("exit-0", 0, None),
        ("abort", 1, None),
        ("interrupt", 1, None),
        ("exit-3", 3, "Exit"),
        ("sys-exit-3", 3, "SystemExit"),
        ("usage", 2, "UsageError"),
    ],
)
def test_command_that_ends_without_a_bug_reports_its_exit_code_only(
    how: str, code: int, error_type: str | None, launcher: Launcher, receiver: Receiver
) -> None:
    """None of them is an exception, and those that the user asks for are no error."""
    done = launcher.run("commands.py", "click", "inner", "end", how, command=RUN)
    (span,) = commands(receiver)
    assert (done.returncode, span.attributes["process.exit.code"]) == (code, code)
    assert span.attributes.get("error.type") == error_type
    assert (span.status == ERROR) == (error_type is not None)
    assert (span.events, receiver.logs(), receiver.points("python.exceptions")) == ((), [], [])


def test_command_that_raises_is_an_error_once(launcher: Launcher, receiver: Receiver) -> None:
    """The exception is an event of the span and one record with its trace."""
    done = launcher.run("commands.py", "click", "inner", "end", "bug", command=RUN)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "ValueError: a bug")
    (span,) = commands(receiver)
    assert (span.status, span.attributes["error.type"]) == (ERROR, "ValueError")
    assert [event.name for event in span.events] == ["exception"]
    (record,) = receiver.logs()
    assert (record.event_name, record.span_id) == ("exception", span.span_id)
    assert receiver.total("python.exceptions") == 1


def test_command_that_forks_has_one_span(launcher: Launcher, receiver: Receiver) -> None:
    """Children that return from the command do not end it a second time."""
    done = launcher.run("commands.py", "click", "inner", "fork", command=RUN)
    assert done.returncode == 0, done.stderr
    (command,) = commands(receiver)
    pids = {span.resource["process.pid"] for span in receiver.spans() if span.kind == CLIENT}
    assert len(pids) == 2
    assert command.resource["process.pid"] not in pids


@pytest.mark.parametrize("words", [(sys.executable, "-m", "uvicorn"), (str(BIN / "uvicorn"),)])
def test_uvicorn_as_module_or_command_serves_a_trace_per_request(
    words: tuple[str, ...], launcher: Launcher, receiver: Receiver
) -> None:
    """Requests are roots of kind SERVER; the command that serves them has no span."""
    shutil.copy(APPS / "fastapi_shop.py", launcher.folder)
    port = free_port()
    server = launcher.serve(*words, "fastapi_shop:app", "--port", str(port), command=RUN)
    server.wait_for_status(f"http://127.0.0.1:{port}/no-such-page", 404)
    for _ in range(3):
        server.ask(f"http://127.0.0.1:{port}/no-such-page")
    server.stop()
    spans = [span for span in receiver.spans() if span.kind == SERVER]
    assert len({span.trace_id for span in spans}) == len(spans) > 3
    assert {span.parent_id for span in spans} == {""}
    assert commands(receiver) == []
