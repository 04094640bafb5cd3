"""A script with SQL, HTTP requests, logs and a file is instrumented; its behaviour is the same."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

import pytest

from otel_distro import schema
from tests.support.processes import Completed
from tests.support.programs import INSTRUMENT, RUN, Command, Launcher
from tests.support.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator

_KINDS = {"counter": "sum", "updowncounter": "updown", "gauge": "gauge"}


def shown(ended: Completed) -> tuple[int, str, str]:
    """Return exit status and output without ports, addresses and object ids."""
    return ended.returncode, ended.stdout, re.sub(r"127\.0\.0\.1:\d+|\(1\): \S+|0x[0-9a-f]+", "*", ended.stderr)


@pytest.fixture
def default_receiver() -> Iterator[tuple[Receiver, str | None]]:
    """A receiver on the default port and None, or on another port with its endpoint."""
    try:
        running, endpoint = Receiver(4318), None
    except OSError:
        running = Receiver()
        endpoint = running.endpoint
    yield running, endpoint
    running.stop()


@pytest.mark.parametrize("command", [INSTRUMENT, RUN])
def test_script_without_settings_exports_all_signals_to_the_default_endpoint(
    command: Command, launcher: Launcher, default_receiver: tuple[Receiver, str | None]
) -> None:
    """Spans, logs and metrics arrive at http://localhost:4318; output and status are the same."""
    receiver, endpoint = default_receiver
    bare = launcher.run("script.py", "fine", command="bare")
    traced = launcher.run("script.py", "fine", command=command, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
    assert shown(bare) == shown(traced)
    assert traced.returncode == 0

    (request,) = receiver.spans("GET")
    assert request.attributes["http.response.status_code"] == 200
    assert request.resource["telemetry.distro.name"] == "otel-distro"
    statements = [span for span in receiver.spans() if span.scope == "opentelemetry.instrumentation.sqlalchemy"]
    assert [span.name.split()[0] for span in statements] == ["connect", "DROP", "CREATE", "INSERT", "SELECT"]
    assert all(log.trace_id == request.trace_id for log in receiver.logs() if log.scope == "urllib3.connectionpool")

    (stored,) = receiver.logs("stored 3 words")
    assert (stored.scope, stored.severity, stored.attributes["words"]) == ("shop", 13, 3)
    (caught,) = receiver.logs("caught")
    assert caught.attributes["exception.type"] == "ValueError"
    assert 'fail("a handler")' in caught.attributes["exception.stacktrace"]

    (duration,) = receiver.series("http.client.request.duration")
    assert (duration.unit, duration.value) == ("s", 1)
    assert duration.exemplars == (request.trace_id,)
    assert receiver.total("db.client.operation.duration", db_operation_name="INSERT") >= 1
    assert receiver.series("process.memory.usage")
    (counted,) = receiver.series("python.exceptions")
    assert (counted.value, counted.attributes["python.exception.handler"]) == (1, "log")


@pytest.mark.parametrize("where", ["main", "thread", "asyncio"])
@pytest.mark.parametrize("command", [INSTRUMENT, RUN])
def test_script_uncaught_exception_is_one_event_and_output_unchanged(
    where: str, command: Command, launcher: Launcher, receiver: Receiver
) -> None:
    """Stderr and exit status are the bare run's; one event has the traceback; the counter is 1."""
    bare = launcher.run("script.py", where, command="bare")
    traced = launcher.run("script.py", where, command=command)
    assert shown(bare) == shown(traced)
    assert traced.returncode == (1 if where == "main" else 0)

    (event,) = [log for log in receiver.logs() if log.event_name == "exception"]
    assert event.attributes["exception.type"] == "ValueError"
    assert event.attributes["exception.message"] == f"no luck in {where}"
    assert event.attributes["python.exception.handler"] == where
    assert event.attributes["exception.stacktrace"] in traced.stderr
    counted = {point.attributes["python.exception.handler"]: point for point in receiver.series("python.exceptions")}
    assert counted.keys() == {"log", where}
    assert (counted[where].value, counted[where].kind, counted[where].unit) == (1, "sum", "{exception}")
    assert counted[where].attributes == {
        "exception.type": "ValueError",
        "python.exception.fingerprint": event.attributes["python.exception.fingerprint"],
        "python.exception.handled": False,
        "python.exception.handler": where,
    }
    assert len(receiver.logs("caught")) == 1


def test_script_that_is_idle_sends_the_declared_process_metrics(launcher: Launcher, receiver: Receiver) -> None:
    """It sends each process and host metric as the schema declares it, and SIGTERM ends it."""
    idle = launcher.serve("idle.py", OTEL_DISTRO_PROCESS_METRICS_DELAY="0.2", OTEL_METRIC_EXPORT_INTERVAL="300")
    declared = {metric.name: metric for metric in schema.metrics() if metric.name.startswith(("process.", "system."))}
    declared.update({metric.name: metric for metric in (schema.GC_COLLECTIONS, schema.GC_COLLECTED)})
    receiver.wait_for(lambda r: declared.keys() <= {point.name for point in r.points()})
    assert idle.stop(signal.SIGTERM) == -signal.SIGTERM
    assert idle.log == "waiting\n"

    for point in receiver.points():
        if point.scope != "otel_distro.process_metrics" or point.name not in declared:
            continue
        metric = declared[point.name]
        assert (point.name, point.unit, point.kind) == (metric.name, metric.unit, _KINDS[metric.instrument])
        assert set(point.attributes) == {attribute.name for attribute in metric.attributes}
    (threads,) = receiver.series("process.thread.count")
    assert threads.resource["process.pid"] == idle.pid


def test_script_that_imports_threading_late_keeps_its_main_thread(launcher: Launcher, receiver: Receiver) -> None:
    """If another thread imported threading first, the main thread is still the main one."""
    late = launcher.serve(
        "late_threading.py", OTEL_DISTRO_PROCESS_METRICS_DELAY="0.1", OTEL_METRIC_EXPORT_INTERVAL="100"
    )
    receiver.wait_for(lambda r: r.points("process.uptime"))
    (launcher.folder / "go").touch()
    assert late.wait() == 0
    assert late.log == "True True\n"


def test_script_first_records_of_many_threads_all_arrive(launcher: Launcher, receiver: Receiver) -> None:
    """Threads wait while one of them starts telemetry: the first record of each arrives."""
    traced = launcher.run("burst.py")
    lines = sorted(f"line {number}" for number in range(20))
    assert sorted(traced.stderr.splitlines()) == lines
    assert sorted(log.body for log in receiver.logs()) == lines
