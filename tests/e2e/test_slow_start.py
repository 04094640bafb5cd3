"""Telemetry of a program whose start runs in another thread arrives, and nothing waits for it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from otel_distro import schema as s

if TYPE_CHECKING:
    from tests.support.programs import Launcher
    from tests.support.receiver import Log, Receiver

ENDS = {"end": 0, "error": 1, "signal": -signal.SIGTERM, "_exit": 3, "span": 0, "fork": 0}


def events(receiver: Receiver, handler: str) -> list[Log]:
    """Return the exceptions that one hook has reported."""
    return [log for log in receiver.logs() if log.attributes.get(s.EXCEPTION_HANDLER.name) == handler]


@pytest.mark.parametrize("how", ENDS)
def test_slow_start_keeps_what_other_threads_do(launcher: Launcher, receiver: Receiver, how: str) -> None:
    """Records and errors arrive once, as they were made, however the process ends meanwhile."""
    ended = launcher.run("slow_start.py", how, OTEL_DISTRO_PROCESS_METRICS_DELAY="0.05")
    assert (ended.returncode, ended.diagnostics()) == (ENDS[how], [])
    assert ended.stdout == "nothing has waited True\n"

    (record,) = receiver.logs("by logging ['tea']")
    assert (record.attributes["order"], record.attributes[s.CODE_FUNCTION_NAME.name]) == (7, "log_everywhere")
    assert record.attributes[s.THREAD_NAME.name] == "MainThread"
    (by_loguru,) = receiver.logs("by loguru")
    assert by_loguru.attributes["order"] == 8
    (of_thread,) = events(receiver, "thread")
    assert of_thread.attributes[s.THREAD_NAME.name] == "worker"
    (of_task,) = events(receiver, "asyncio")
    assert of_task.attributes[s.ASYNCIO_TASK_NAME.name] == "errand"
    assert [log.body for log in events(receiver, "main")] == (["ValueError: main"] if how == "error" else [])
    assert len(receiver.spans("first")) == (how == "span")
    assert len(receiver.logs("in the child")) == (how == "fork")


def test_start_that_takes_longer_than_the_exit_timeout_is_reported(launcher: Launcher, receiver: Receiver) -> None:
    """One line has the number of what is lost, and the exit status is the program's."""
    program = launcher.folder / "never.py"
    program.write_text(
        "import logging, sys, threading\n"
        "reached = threading.Event()\n"
        "class Finder:\n"
        "    @staticmethod\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name == 'opentelemetry.sdk.trace':\n"
        "            reached.set()\n"
        "            threading.Event().wait()\n"
        "sys.meta_path.insert(0, Finder)\n"
        "reached.wait()\n"
        "logging.error('lost')\n"
        "sys.exit(5)\n",
        encoding="utf-8",
    )
    ended = launcher.run(
        "-u",
        program,
        command="otel-distro run",
        OTEL_DISTRO_PROCESS_METRICS_DELAY="0.05",
        OTEL_DISTRO_EXIT_TIMEOUT="0.2",
    )
    (line,) = ended.diagnostics()
    assert (ended.returncode, "1 log records and errors are lost" in line, line[-7:]) == (5, True, "[OD122]")
    assert receiver.logs() == []
