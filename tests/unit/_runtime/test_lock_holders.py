"""A signal that comes where the main thread holds a lock, in real processes."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.items import log_bodies, metric_names, span_names
from tests.support.otlp_server import Server
from tests.support.processes import RUN, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUIET = "import logging, os, signal, sys, threading, time\nlogging.getLogger().addHandler(logging.NullHandler())\n"
SECTION = """
from otel_distro._runtime import lock_holders
logging.error("ready")

@lock_holders.holds_lock
def section(until):
    os.kill(os.getpid(), {number:d})
    until()
    print("left", flush=True)
"""
FIRST_FILE = """
def kill_at_once(event, arguments):
    if event == "open" and threading.current_thread() is threading.main_thread() and not killed:
        killed.append(arguments)
        os.kill(os.getpid(), signal.SIGTERM)
killed = []
"""


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that accepts everything."""
    with Server() as running:
        yield running


def outcome(folder: Path, server: Server, script: str, **changes: str) -> tuple[int, str, str]:
    """Run a script with telemetry to ``server``; return status, stdout and stderr."""
    changes = {"OTEL_EXPORTER_OTLP_ENDPOINT": server.endpoint, "OTEL_DISTRO_PROCESS_METRICS_DELAY": "600", **changes}
    ended = run(folder, *RUN, sys.executable, "-c", QUIET + script, **changes)
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal_inside_a_function_that_holds_a_lock_waits_for_its_end(
    tmp_path: Path, server: Server, number: signal.Signals
) -> None:
    """The function returns, and the signal ends the process afterwards."""
    script = f"{SECTION.format(number=number)}\nsection(lambda: None)\ntime.sleep(60)"
    assert outcome(tmp_path, server, script) == (-number, "left\n", "")
    assert log_bodies(server.requests) == ["ready"]


def test_signal_inside_a_function_that_never_returns_ends_the_process(tmp_path: Path, server: Server) -> None:
    """The handler is not postponed for ever."""
    script = f"{SECTION.format(number=signal.SIGTERM)}\nsection(lambda: time.sleep(60))"
    assert outcome(tmp_path, server, script) == (-signal.SIGTERM, "", "")
    assert log_bodies(server.requests) == ["ready"]


def test_signal_while_the_first_span_is_written_loses_nothing(tmp_path: Path, server: Server) -> None:
    """The thread of the first span opens the file of its signal, under the queue's lock."""
    script = f"""{FIRST_FILE}
from opentelemetry import trace
tracer = trace.get_tracer("app")
sys.addaudithook(kill_at_once)
with tracer.start_as_current_span("only"):
    pass
time.sleep(60)
"""
    assert outcome(tmp_path, server, script, OTEL_LOGS_EXPORTER="none") == (-signal.SIGTERM, "", "")
    assert span_names(server.requests) == ["only"]


def test_signal_while_the_first_number_is_recorded_loses_nothing(tmp_path: Path, server: Server) -> None:
    """The first measurement's thread opens the checkpoint's file, under the collector's lock."""
    script = f"""{FIRST_FILE}
from opentelemetry import metrics
counter = metrics.get_meter("app").create_counter("shop.orders")
sys.addaudithook(kill_at_once)
counter.add(1)
time.sleep(60)
"""
    assert outcome(tmp_path, server, script, OTEL_LOGS_EXPORTER="none") == (-signal.SIGTERM, "", "")
    assert "shop.orders" in metric_names(server.requests)


def test_signal_during_a_fork_loses_nothing(tmp_path: Path, server: Server) -> None:
    """A fork holds the locks of all queues between its callbacks."""
    script = """
os.register_at_fork(before=lambda: os.kill(os.getpid(), signal.SIGTERM))
logging.error("forking")
if not os.fork():
    os._exit(0)
time.sleep(60)
"""
    assert outcome(tmp_path, server, script, OTEL_METRICS_EXPORTER="none") == (-signal.SIGTERM, "", "")
    assert log_bodies(server.requests) == ["forking"]


def test_first_write_of_a_thread_imports_nothing(tmp_path: Path, server: Server) -> None:
    """Under gevent an import runs other greenlets in its middle, also one that ends the process.

    The lock of the queue would be held by a greenlet that never continues.
    """
    script = """
import builtins
from opentelemetry import metrics, trace
tracer, counter = trace.get_tracer("app"), metrics.get_meter("app").create_counter("shop.orders")
imported = builtins.__import__

def import_seen(name, *args, **kwargs):
    known = set(sys.modules)
    module = imported(name, *args, **kwargs)
    if threading.current_thread() is threading.main_thread() and known < set(sys.modules):
        print(name, flush=True)
    return module

builtins.__import__ = import_seen
with tracer.start_as_current_span("first"):
    logging.error("%s", 1)
counter.add(1)
builtins.__import__ = imported
"""
    assert outcome(tmp_path, server, script) == (0, "", "")
    assert span_names(server.requests) == ["first"]
