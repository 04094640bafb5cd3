"""Process and host metrics: declared names, correct values, one reading per collection."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from otel_distro import schema as s
from otel_distro.instrumentation import process_metrics
from otel_distro.instrumentation.process_metrics import ProcessMetricsInstrumentor
from tests.support.contract import Contract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from otel_distro.testing import Telemetry

DECLARED = {m.name: m for m in s.metrics() if m.name.startswith(("process.", "system.", "cpython.gc."))}
DATA = {"counter": ("Sum", True), "updowncounter": ("Sum", False), "gauge": ("Gauge", None)}
PLATFORM: Any = type(vars(psutil.Process())["_proc"])
"""The class by which psutil queries the system, below its own caches."""

# A program that prints what it reports: the first process of a host keeps the lease.
CHILD = """
import os, sys
from otel_distro.instrumentation.process_metrics import ProcessMetricsInstrumentor
from otel_distro.testing import Telemetry
from otel_distro._otel.global_providers import replace_providers
from opentelemetry.sdk.resources import Resource
recorded = Telemetry(Resource.get_empty())
replace_providers(*recorded.providers)
ProcessMetricsInstrumentor().instrument()
def report():
    names = recorded.metrics()
    memory = recorded.metric("process.memory.usage")
    print(os.getpid(), "host" if "system.cpu.time" in names else "process", len(memory), flush=True)
"""


@pytest.fixture
def instrumented(monkeypatch: pytest.MonkeyPatch, telemetry: Telemetry) -> Iterator[ProcessMetricsInstrumentor]:
    """Install the instrumentor; this process reports the host."""
    monkeypatch.setenv("OTEL_DISTRO_HOST_METRICS", "true")
    instrumentor = ProcessMetricsInstrumentor()
    instrumentor.instrument()
    yield instrumentor
    instrumentor.uninstrument()


def two_cycles(telemetry: Telemetry) -> dict[str, Any]:
    """Return the metrics of a second collection: CPU utilization needs two."""
    telemetry.metrics()
    wait_for(lambda: telemetry.metric("process.cpu.utilization"))
    return telemetry.metrics()


def wait_for(condition: Callable[[], object], timeout: float = 20) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "did not come"
        time.sleep(0.01)


def values(points: Any, attribute: s.Attribute | None = None) -> dict[Any, float]:
    """Return the values of points by an attribute."""
    return {point.attributes[attribute.name] if attribute else None: point.value for point in points}


def test_collection_has_all_declared_metrics_and_no_others(telemetry: Telemetry, instrumented: object) -> None:
    """Each has its instrument, unit, description and attributes."""
    found = two_cycles(telemetry)
    hidden = (
        set()
        if psutil.disk_io_counters(perdisk=True)
        else {m.name for m in DECLARED.values() if "system.disk" in m.name}
    )
    assert found.keys() == DECLARED.keys() - hidden
    for name, metric in found.items():
        declared = DECLARED[name]
        kind, monotonic = DATA[declared.instrument]
        assert (type(metric.data).__name__, getattr(metric.data, "is_monotonic", None)) == (kind, monotonic), name
        assert (metric.unit, metric.description) == (declared.unit, declared.brief), name
        for point in metric.data.data_points:
            assert set(point.attributes) == {attribute.name for attribute in declared.attributes}, name
            for attribute in declared.attributes:
                value = point.attributes[attribute.name]
                assert isinstance(value, str), name
                assert not attribute.values or value in attribute.values, (name, value)


def test_process_values_agree_with_psutil(telemetry: Telemetry, instrumented: object) -> None:
    """Memory, threads, descriptors, CPU time and uptime agree with psutil at the same time."""
    process = psutil.Process()
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait) for _ in range(5)]
    for thread in threads:
        thread.start()
    descriptors = [os.open(os.devnull, os.O_RDONLY) for _ in range(7)]
    try:
        cpu = process.cpu_times()
        found = {name: metric.data.data_points for name, metric in telemetry.metrics().items()}
        assert values(found["process.thread.count"]) == {None: process.num_threads()}
        assert values(found["process.unix.file_descriptor.count"]) == {None: process.num_fds()}
        assert values(found["process.memory.usage"])[None] == pytest.approx(process.memory_info().rss, rel=0.2)
        assert values(found["process.memory.virtual"])[None] >= values(found["process.memory.usage"])[None]
        times = values(found["process.cpu.time"], s.CPU_MODE)
        assert times.keys() == {"user", "system"}
        assert cpu.user <= times["user"] <= process.cpu_times().user
        assert 0 < values(found["process.uptime"])[None] <= time.time() - process.create_time()
        assert values(found["cpython.gc.collections"], s.GC_GENERATION).keys() == {"0", "1", "2"}
        assert values(found["process.paging.faults"], s.PAGING_FAULT_TYPE)["minor"] > 0
        assert values(found["process.context_switches"], s.PROCESS_CONTEXT_SWITCH_TYPE)["voluntary"] > 0
    finally:
        stop.set()
        for descriptor in descriptors:
            os.close(descriptor)
        for thread in threads:
            thread.join()


def test_host_values_are_plausible(telemetry: Telemetry, instrumented: object) -> None:
    """Utilization adds up to 1, memory is within its limit, file systems agree with statvfs."""
    found = {name: metric.data.data_points for name, metric in two_cycles(telemetry).items()}
    assert sum(values(found["system.cpu.utilization"], s.CPU_MODE).values()) == pytest.approx(1.0)
    assert values(found["system.cpu.logical.count"]) == {None: psutil.cpu_count()}
    assert values(found["system.memory.limit"]) == {None: psutil.virtual_memory().total}
    memory = values(found["system.memory.usage"], s.MEMORY_STATE)
    assert 0 < memory["used"] < psutil.virtual_memory().total
    assert all(0 <= point.value <= 1 for point in found["system.memory.utilization"])
    assert all(0 <= point.value <= 1 for point in found["system.filesystem.utilization"])
    assert values(found["system.uptime"])[None] == pytest.approx(time.time() - psutil.boot_time(), abs=60)
    cards = {point.attributes[s.NETWORK_INTERFACE_NAME.name] for point in found["system.network.io"]}
    assert cards == set(psutil.net_io_counters(pernic=True))
    space = found["system.filesystem.usage"]
    place = space[0].attributes[s.FILESYSTEM_MOUNTPOINT.name]
    total = sum(point.value for point in space if point.attributes[s.FILESYSTEM_MOUNTPOINT.name] == place)
    system = os.statvfs(place)
    assert total == system.f_blocks * system.f_frsize


def test_collection_reads_the_process_once(
    telemetry: Telemetry, instrumented: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All instruments of a collection share one reading."""
    calls: list[str] = []

    def count(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, counted)

    count(PLATFORM, "memory_info")
    count(psutil, "net_io_counters")
    telemetry.metrics()
    assert sorted(calls) == ["memory_info", "net_io_counters"]


@pytest.mark.parametrize(
    ("call", "lost"),
    [
        ("io_counters", {"process.disk.io"}),
        ("num_fds", {"process.unix.file_descriptor.count"}),
        ("num_threads", {"process.thread.count"}),
        ("memory_info", {"process.memory.usage", "process.memory.virtual"}),
        ("cpu_times", {"process.cpu.time", "process.cpu.utilization"}),
    ],
)
def test_denied_value_loses_its_own_metric_only(
    telemetry: Telemetry, instrumented: object, monkeypatch: pytest.MonkeyPatch, call: str, lost: set[str]
) -> None:
    """A system call that is denied loses its own metrics without a message, and no others."""
    everything = two_cycles(telemetry).keys()

    def denied(_: object) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(PLATFORM, call, denied)
    wait_for(lambda: not lost & telemetry.metrics().keys())
    wait_for(lambda: "system.cpu.utilization" in telemetry.metrics())
    assert telemetry.metrics().keys() == everything - lost


def test_unexpected_error_is_reported_and_loses_its_own_metrics_only(
    telemetry: Telemetry, instrumented: object, monkeypatch: pytest.MonkeyPatch, swallowed: list[str]
) -> None:
    """An unexpected exception is reported, and the other metrics are collected."""
    telemetry.metrics()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: 1 / 0)
    wait_for(lambda: "system.memory.usage" not in telemetry.metrics())
    assert {"system.paging.usage", "process.memory.usage"} <= telemetry.metrics().keys()
    assert set(swallowed) == {"reading metrics (read_memory): ZeroDivisionError: division by zero"}
    swallowed.clear()


def test_uninstrumented_observes_nothing_until_reinstalled(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After ``uninstrument()`` nothing is observed; installed again, the same instruments are."""
    monkeypatch.setenv("OTEL_DISTRO_HOST_METRICS", "false")
    instrumentor = ProcessMetricsInstrumentor()
    instrumentor.instrument()
    names = telemetry.metrics().keys()
    instrumentor.uninstrument()
    assert telemetry.metrics() == {}
    instrumentor.instrument()
    assert telemetry.metrics().keys() == names
    instrumentor.uninstrument()


class Program:
    """A process that prints what it reports, once for each line of its input."""

    def __init__(self, folder: Path, script: str = "for _ in sys.stdin: report()", **environ: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", CHILD + script],
            env={**os.environ, "TMPDIR": str(folder), **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def report(self) -> str:
        """Let it collect; return ``host`` if it reports the host, else ``process``."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self.line().split()[1]

    def line(self) -> str:
        """Return its next line of output."""
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Start programs that share a lock file of this test."""
    started: list[Program] = []

    def start(*args: str, **environ: str) -> Program:
        started.append(Program(tmp_path, *args, **environ))
        return started[-1]

    yield start
    for program in started:
        program.kill()


def test_host_is_reported_by_one_process_and_taken_over(programs: Callable[..., Program]) -> None:
    """One of two processes reports the host; when it is killed, the other takes over."""
    first, second = programs(), programs()
    assert [first.report(), second.report(), first.report(), second.report()] == ["host", "process", "host", "process"]
    first.kill()
    wait_for(lambda: second.report() == "host")


@pytest.mark.parametrize(("value", "shown"), [("true", ["host", "host"]), ("false", ["process", "process"])])
def test_host_metrics_setting_overrides_the_lease(
    programs: Callable[..., Program], value: str, shown: list[str]
) -> None:
    """``OTEL_DISTRO_HOST_METRICS``: with true every process reports the host, with false none."""
    environ: Mapping[str, str] = {"OTEL_DISTRO_HOST_METRICS": value}
    first, second = programs(**environ), programs(**environ)
    assert [first.report(), second.report()] == shown


def test_forked_child_reports_itself(programs: Callable[..., Program]) -> None:
    """A forked child reports its own values, and the parent still reports the host."""
    script = (
        "report()\n"
        "block = bytearray(b'x') * (64 * 1024 * 1024)\n"
        "if not os.fork():\n"
        "    del block\n"
        "    points = recorded.metrics()\n"
        "    rss, = recorded.metric('process.memory.usage'); up, = recorded.metric('process.uptime')\n"
        "    threads, = recorded.metric('process.thread.count')\n"
        "    print(os.getpid(), 'system.cpu.time' in points, rss.value, up.value, threads.value, flush=True)\n"
        "    os._exit(0)\n"
        "os.wait(); report()\n"
        "while recorded.metric('process.memory.usage')[0].value < len(block): pass\n"
        "rss, = recorded.metric('process.memory.usage'); up, = recorded.metric('process.uptime')\n"
        "print(rss.value, up.value, flush=True)\n"
    )
    program = programs(script)
    parent = program.line().split()
    pid, host, rss, uptime, threads = program.line().split()
    parent_again = program.line().split()
    parent_rss, parent_uptime = program.line().split()
    assert parent[0] == parent_again[0] != pid
    assert (parent[1], host, parent_again[1]) == ("host", "False", "host")
    assert int(rss) < int(parent_rss) - 32 * 1024 * 1024
    assert float(uptime) < float(parent_uptime)
    assert threads == "1"


def test_signal_handlers_are_unchanged(instrumented: object) -> None:
    """Reading metrics installs no signal handler."""
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def collect() -> None:
    """Do nothing: metrics are read when they are collected."""


CONTRACT = Contract(
    collect,
    inside="otel_distro.instrumentation.process_metrics._Source.read",
    names={metric.name for metric in process_metrics._METRICS},
    suppressible=False,
)
