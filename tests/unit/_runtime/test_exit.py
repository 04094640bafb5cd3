"""The exit registry: order, names, failures, and the status of the process, in real processes."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest

from otel_distro._runtime import exit as process_exit
from tests.support.processes import run

if TYPE_CHECKING:
    from pathlib import Path

REGISTER = """
import os, resource, signal, sys, threading, time
from otel_distro._runtime import exit as process_exit
from otel_distro._runtime.exit import Order
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

def writing(text):
    return lambda *_: os.write(1, f"{text}\\n".encode())

def entry(name, order):
    kinds = ("before_end", "before_exit", "before_exec", "before_signal")
    process_exit.register(name, order, **{kind: writing(f"{kind} {name}") for kind in kinds})
"""
ENTRIES = """
entry("telemetry", Order.TELEMETRY)
entry("errors", Order.ERROR_TRACKING)
"""


def outcome(folder: Path, script: str) -> tuple[int, list[str], str]:
    """Run a script that uses the registry; return its status, its lines on stdout, and stderr."""
    ended = run(folder, sys.executable, "-c", REGISTER + script)
    return ended.returncode, ended.stdout.splitlines(), ended.stderr


@pytest.mark.parametrize(
    ("end", "kind", "status"),
    [
        ("os._exit(3)", "before_exit", 3),
        ("os._exit(status=4)", "before_exit", 4),
        ("os.abort()", "before_exit", -signal.SIGABRT),
        ("os.execv('/bin/sh', ['sh', '-c', 'exit 5'])", "before_exec", 5),
        ("os.execve('/bin/sh', ['sh', '-c', 'exit $A'], env={'A': '6'})", "before_exec", 6),
        ("os.execl('/bin/sh', 'sh', '-c', 'exit 7')", "before_exec", 7),
        ("signal.raise_signal(signal.SIGTERM)", "before_signal", -signal.SIGTERM),
    ],
)
def test_exit_runs_entries_in_order_and_keeps_the_status(tmp_path: Path, end: str, kind: str, status: int) -> None:
    """Each function runs the callbacks of its kind, producers first, and ends as it does bare."""
    found = outcome(tmp_path, f"{ENTRIES}{end}")
    assert found == (status, [f"{kind} errors", f"{kind} telemetry"], "")


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("os._exit()", "TypeError"),
        ("os._exit('x')", "TypeError"),
        ("os.execv('/nonexistent/program', ['x'])", "FileNotFoundError"),
        ("os.execv()", "TypeError"),
        ("os.execve('/bin/sh', [], {})", "ValueError"),
        ("signal.raise_signal()", "TypeError"),
        ("signal.raise_signal(10**6)", "OSError"),
    ],
)
def test_exit_call_that_fails_raises_the_original_error(tmp_path: Path, call: str, error: str) -> None:
    """A call that fails raises the same error, and the process keeps running."""
    script = f"{ENTRIES}\ntry: {call}\nexcept Exception as error: print(type(error).__name__, flush=True)\nsys.exit(9)"
    status, lines, stderr = outcome(tmp_path, script)
    assert (status, lines[-1], stderr) == (9, error, "")


@pytest.mark.parametrize(
    ("before", "number"),
    [("signal.signal(signal.SIGTERM, lambda *_: None)", "SIGTERM"), ("signal.signal(10, signal.SIG_IGN)", "SIGUSR1")],
)
def test_exit_signal_that_does_not_kill_runs_nothing(tmp_path: Path, before: str, number: str) -> None:
    """``raise_signal`` runs callbacks only where the default disposition would kill the process."""
    assert outcome(tmp_path, f"{ENTRIES}{before}\nsignal.raise_signal(signal.{number})") == (0, [], "")


def test_exit_entry_that_fails_is_reported_and_the_others_run(tmp_path: Path) -> None:
    """A failing callback is tried twice and reported once; others and status are unaffected."""
    script = """
tries = []
def failing():
    os.write(1, b"try\\n")
    raise ValueError("broken")
process_exit.register("broken", Order.ERROR_TRACKING, before_exit=failing, before_end=failing)
entry("telemetry", Order.TELEMETRY)
process_exit.run_before_end()
os._exit(3)
"""
    status, lines, stderr = outcome(tmp_path, script)
    assert (status, lines) == (3, ["try", "before_end telemetry", "try", "try", "before_exit telemetry"])
    assert [line.partition(" failed")[0] for line in stderr.splitlines()] == [
        "otel-distro: broken before the end of the process",
        "otel-distro: broken before the process exits",
    ]


def test_exit_interrupted_by_a_signal_handler_ends_all_the_same(tmp_path: Path) -> None:
    """A handler that raises, as Celery's do out of ``os._exit``, stops nothing."""
    script = """
def handler(*_):
    raise SystemExit(1)
signal.signal(signal.SIGUSR1, handler)
def interrupted():
    os.write(1, b"try\\n")
    os.kill(os.getpid(), signal.SIGUSR1)
    time.sleep(30)
process_exit.register("interrupted", Order.ERROR_TRACKING, before_exit=interrupted)
entry("telemetry", Order.TELEMETRY)
os._exit(3)
"""
    assert outcome(tmp_path, script) == (3, ["try", "try", "before_exit telemetry"], "")


def test_exec_interrupted_by_a_signal_handler_is_abandoned(tmp_path: Path) -> None:
    """A handler's exception before exec is raised in the program, whose process keeps running."""
    script = """
def interrupted(path, argv):
    raise KeyboardInterrupt
process_exit.register("interrupted", Order.TELEMETRY, before_exec=interrupted)
try: os.execv("/bin/sh", ["sh", "-c", "exit 5"])
except KeyboardInterrupt: os._exit(4)
"""
    assert outcome(tmp_path, script) == (4, [], "")


def test_exec_callback_gets_the_program(tmp_path: Path) -> None:
    """Path and arguments are those of the call, by position or by name, or ``None``."""
    script = """
process_exit.register("program", Order.TELEMETRY, before_exec=lambda *found: os.write(1, f"{found}\\n".encode()))
for call in (lambda: os.execv(), lambda: os.execve(path="/nonexistent/p", argv=["a", "b"], env={})):
    try: call()
    except (TypeError, OSError): pass
"""
    assert outcome(tmp_path, script)[1] == ["(None, None)", "('/nonexistent/p', ['a', 'b'])"]


def test_exit_inside_a_callback_ends_with_its_own_status(tmp_path: Path) -> None:
    """A callback, or what it calls, that ends the process itself does not run for ever."""
    script = """
depth = []
def ending():
    depth.append(1)
    if len(depth) < 3: os._exit(10 + len(depth))
process_exit.register("ending", Order.TELEMETRY, before_exit=ending)
os._exit(3)
"""
    assert outcome(tmp_path, script) == (12, [], "")


def test_exit_in_two_threads_runs_callbacks_in_both(tmp_path: Path) -> None:
    """A second thread that ends the process runs them too, and can wait there for the first."""
    script = """
first_is_in, lock = threading.Event(), threading.Lock()
def deliver():
    if lock.acquire(blocking=False):
        first_is_in.set()
        time.sleep(0.2)
        os.write(1, b"delivered\\n")
        lock.release()
    else:
        with lock: os.write(1, b"waited\\n")
process_exit.register("telemetry", Order.TELEMETRY, before_exit=deliver)
threading.Thread(target=os._exit, args=(3,)).start()
first_is_in.wait()
os._exit(3)
"""
    status, lines, stderr = outcome(tmp_path, script)
    assert (status, lines[0], stderr) == (3, "delivered", "")


def test_exit_functions_are_wrapped_only_while_an_entry_needs_it() -> None:
    """Each function is wrapped once for all entries, and restored after the last one."""
    functions = [(os, "_exit"), (os, "abort"), (os, "execv"), (os, "execve"), (signal, "raise_signal")]
    known = process_exit.names()
    before = [getattr(*place) for place in functions]
    try:
        process_exit.register(
            "one", process_exit.Order.TELEMETRY, before_exit=lambda: None, before_exec=lambda *_: None
        )
        process_exit.register("two", process_exit.Order.ERROR_TRACKING, before_exit=lambda: None)
        process_exit.register("two", process_exit.Order.ERROR_TRACKING, before_exit=lambda: None)
        assert process_exit.names() == [*known, "two", "one"]
        wrapped = [getattr(*place) for place in functions]
        assert [now.__wrapped__ is then for now, then in zip(wrapped[:4], before[:4], strict=True)] == [True] * 4
        assert wrapped[4] is before[4]
        process_exit.unregister("one")
        assert [getattr(*place) for place in functions] == [*wrapped[:2], *before[2:]]
    finally:
        process_exit.unregister("one")
        process_exit.unregister("two")
    assert [getattr(*place) for place in functions] == before


def test_exit_wrapper_that_another_tool_has_wrapped_stays_and_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tool keeps the wrapper that it found; a later entry does not wrap a second time."""
    calls: list[str] = []
    original = os._exit
    monkeypatch.setattr(os, "_exit", lambda status: calls.append(f"end {status}"))
    process_exit.register("one", process_exit.Order.TELEMETRY, before_exit=lambda: calls.append("one"))
    wrapper = os._exit
    monkeypatch.setattr(os, "_exit", partial(wrapper))
    theirs = os._exit
    try:
        process_exit.unregister("one")
        assert os._exit is theirs
        os._exit(1)
        process_exit.register("two", process_exit.Order.TELEMETRY, before_exit=lambda: calls.append("two"))
        assert os._exit is theirs
        os._exit(2)
    finally:
        monkeypatch.setattr(os, "_exit", wrapper)
        process_exit.unregister("two")
        monkeypatch.setattr(os, "_exit", original)
    assert calls == ["end 1", "two", "end 2"]
