"""The fork registry: order, names, failures, threads, forks in C, in real processes."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from otel_distro._runtime import fork
from tests.support.processes import NOWHERE, RUN, run

PACKAGE = Path(fork.__file__).parents[1]
REGISTER = """
import ctypes, os, sys, threading
from otel_distro._runtime import fork

def writing(text):
    return lambda: os.write(1, f"{text}\\n".encode())

def entry(name, order):
    callbacks = {when: writing(f"{when} {name}") for when in ("before", "after_in_parent", "after_in_child")}
    fork.register(name, order, **callbacks)

def forked(fork=os.fork):
    pid = fork()
    if not pid:
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
"""


def output(folder: Path, script: str) -> list[str]:
    """Run a script that uses the registry and return its lines on stdout; stderr must be empty."""
    ended = run(folder, sys.executable, "-W", "ignore", "-c", REGISTER + script)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout.splitlines()


def when(lines: list[str], moment: str) -> list[str]:
    """Return the names of the entries that ran at a moment, in their order."""
    return [line.partition(" ")[2] for line in lines if line.startswith(f"{moment} ")]


def test_fork_runs_entries_in_the_order_of_the_table_and_before_in_reverse(tmp_path: Path) -> None:
    """Within a stage the table decides, not the order of registration."""
    script = """
for name in ("AUDIT_FILE", "AUDIT_HOOK", "UWSGI", "TELEMETRY", "SIGNAL_WATCHER", "LOG_RECORDS"):
    entry(name, getattr(fork.Order, name))
print(*fork.names(), flush=True)
forked()
"""
    lines = output(tmp_path, script)
    names = ["AUDIT_HOOK", "AUDIT_FILE", "TELEMETRY", "UWSGI", "LOG_RECORDS", "SIGNAL_WATCHER"]
    assert lines[0].split() == names
    assert when(lines, "before") == names[::-1]
    assert when(lines, "after_in_parent") == when(lines, "after_in_child") == names


def test_fork_with_callbacks_of_a_library_runs_them_between_the_stages(tmp_path: Path) -> None:
    """Fork callbacks that a library or the SDK registered earlier run earlier in a child."""
    script = """
entry("start", fork.Order.AUDIT_HOOK)
os.register_at_fork(before=writing("before library"), after_in_child=writing("after_in_child library"))
entry("telemetry", fork.Order.TELEMETRY)
forked()
"""
    lines = output(tmp_path, script)
    assert when(lines, "before") == ["telemetry", "library", "start"]
    assert when(lines, "after_in_child") == ["start", "library", "telemetry"]


def test_fork_entry_registered_again_replaces_the_first(tmp_path: Path) -> None:
    """A name stands for one entry."""
    script = """
for text in ("one", "two"):
    fork.register("name", fork.Order.TELEMETRY, after_in_child=writing(text))
forked()
"""
    assert output(tmp_path, script) == ["two"]


def test_fork_entry_unregistered_runs_no_more(tmp_path: Path) -> None:
    """An instrumentor can give its entry back; removing one that is not there is harmless."""
    script = """
entry("kept", fork.Order.TELEMETRY)
entry("removed", fork.Order.ERROR_TRACKING)
fork.unregister("removed")
fork.unregister("never there")
print(*fork.names(), flush=True)
forked()
"""
    lines = output(tmp_path, script)
    assert lines[0] == "kept"
    assert {line.rpartition(" ")[2] for line in lines} == {"kept"}


def test_fork_entry_that_fails_is_reported_and_the_others_run(tmp_path: Path) -> None:
    """A failing callback costs itself: one line names entry and moment."""
    script = """
fork.register("broken", fork.Order.TELEMETRY, before=lambda: 1 / 0, after_in_child=lambda: 1 / 0)
entry("sound", fork.Order.ERROR_TRACKING)
entry("early", fork.Order.AUDIT_HOOK)
forked()
"""
    ended = run(tmp_path, sys.executable, "-W", "ignore", "-c", REGISTER + script)
    lines = ended.stdout.splitlines()
    assert ended.returncode == 0
    assert len(lines) == 6
    assert re.findall(r"otel-distro: (.+?) failed: ZeroDivisionError", ended.stderr) == [
        "broken before a fork",
        "broken after a fork, in the child",
    ]


def test_fork_interrupted_by_a_signal_handler_runs_the_other_entries(tmp_path: Path) -> None:
    """Python shows an exception that a signal handler raises in a callback, after all callbacks."""
    script = """
def interrupted():
    raise KeyboardInterrupt
fork.register("interrupted", fork.Order.TELEMETRY, before=interrupted, after_in_child=interrupted)
entry("next", fork.Order.UWSGI)
entry("late", fork.Order.ERROR_TRACKING)
forked()
"""
    ended = run(tmp_path, sys.executable, "-W", "ignore", "-c", REGISTER + script)
    lines = ended.stdout.splitlines()
    assert ended.returncode == 0
    assert when(lines, "before") == ["late", "next"]
    assert when(lines, "after_in_child") == ["next", "late"]
    assert ended.stderr.count("KeyboardInterrupt") >= 2


def test_fork_from_a_thread_runs_all_entries_while_others_register(tmp_path: Path) -> None:
    """A thread forks while another registers and removes entries: no child hangs."""
    script = """
stop = threading.Event()
def change():
    number = 0
    while not stop.is_set():
        number += 1
        fork.register(f"entry {number}", fork.Order.ERROR_TRACKING, after_in_child=lambda: None)
        fork.unregister(f"entry {number - 5}")
changing = threading.Thread(target=change)
changing.start()
entry("fixed", fork.Order.TELEMETRY)
def forking():
    for _ in range(50): forked()
thread = threading.Thread(target=forking)
thread.start()
thread.join()
stop.set()
changing.join()
"""
    lines = output(tmp_path, script)
    assert (when(lines, "before"), len(when(lines, "after_in_child"))) == (["fixed"] * 50, 50)


def test_fork_past_the_interpreter_resets_when_asked_to(tmp_path: Path) -> None:
    """After a fork in C, ``reset_after_fork`` runs the callbacks for the child and the SDK's."""
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "made.py").write_text(
        "import os\n\ndef register(callback):\n"
        "    os.register_at_fork(after_in_child=lambda: callback(), before=lambda: os.write(1, b'before SDK\\n'))\n",
        encoding="utf-8",
    )
    script = """
sys.path.insert(0, os.getcwd())
import opentelemetry.made
fork.intercept("opentelemetry")
fork.intercept("opentelemetry")
entry("telemetry", fork.Order.TELEMETRY)
entry("start", fork.Order.AUDIT_HOOK)
opentelemetry.made.register(writing("after_in_child SDK"))
os.register_at_fork(after_in_child=writing("after_in_child application"))
def fork_in_c():
    pid = ctypes.PyDLL(None).fork()
    if not pid:
        fork.reset_after_fork()
    return pid
forked(fork_in_c)
print("by the interpreter", flush=True)
forked()
"""
    lines = output(tmp_path, script)
    split = lines.index("by the interpreter")
    assert lines[:split] == ["after_in_child start", "after_in_child SDK", "after_in_child telemetry"]
    assert sorted(when(lines[split:], "after_in_child")) == ["SDK", "application", "start", "telemetry"]
    assert when(lines[split:], "before").count("SDK") == 1


def test_fork_of_an_instrumented_process_has_the_entries_of_the_table(tmp_path: Path) -> None:
    """With every feature on, a process registers with the interpreter once for each stage."""
    script = """
import logging, os
registered = []
os.register_at_fork, original = (lambda **callbacks: (registered.append(callbacks), original(**callbacks))), os.register_at_fork
logging.getLogger().addHandler(logging.NullHandler())
logging.error("x")
from otel_distro._runtime import fork
print(*fork.names(), sep=";")
print(sum(each["before"].__module__ == fork.__name__ for each in registered if "before" in each))
"""
    changes = {**NOWHERE, "OTEL_DISTRO_AUDIT_KINDS": "all", "OTEL_DISTRO_LOG_DEDUP_LIMIT": "5"}
    ended = run(tmp_path, *RUN, sys.executable, "-c", script, **changes)
    assert (ended.returncode, ended.stderr) == (0, "")
    names, stages = ended.stdout.splitlines()
    assert names.split(";") == [
        "audit hook",
        "signals",
        "activation timer",
        "telemetry",
        "count of spans",
        "count of log records",
        "count of redacted values",
        "error tracking",
        "log records",
        "log deduplication",
        "audit events",
        "signal watcher",
    ]
    # The first stage registered before the program began.
    assert int(stages) == 2


def test_fork_callbacks_are_registered_in_one_place() -> None:
    """No other module registers with the interpreter or wraps a function that ends the process."""
    places: dict[str, set[str]] = {"register_at_fork": set(), r"os\._exit =|setattr\(os, \"_exit\"|\"_exit\": ": set()}
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text("utf-8")
        for pattern, found in places.items():
            if re.search(pattern, text):
                found.add(path.relative_to(PACKAGE).as_posix())
    assert list(places.values()) == [{"_runtime/fork.py"}, {"_runtime/exit.py"}]
