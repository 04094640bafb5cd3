"""Telemetry in a fork, at a signal, at ``os._exit`` and at the end, in real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from otel_distro.export.lifecycle import chosen_instance_id
from tests.support.items import log_bodies
from tests.support.otlp_server import Server, http
from tests.support.processes import RUN, environment, run

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

QUIET = "import logging, os, signal, sys, threading, time\nlogging.getLogger().addHandler(logging.NullHandler())\n"
LOGS = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_DISTRO_PROCESS_METRICS_DELAY": "600"}


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that accepts everything."""
    with Server() as running:
        yield running


def python(folder: Path, server: Server, script: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run a script with telemetry to ``server`` to its end."""
    changes = {**LOGS, "OTEL_EXPORTER_OTLP_ENDPOINT": server.endpoint, **changes}
    return run(folder, *RUN, sys.executable, "-W", "error", "-c", QUIET + script, **changes)


@contextmanager
def waiting(folder: Path, server: Server, script: str, **changes: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has run the script and waits; it is killed at the end if it still runs."""
    with subprocess.Popen(
        [*RUN, sys.executable, "-c", f"{QUIET}{script}\nprint('ready', flush=True)\ntime.sleep(60)"],
        env=environment(folder, **{**LOGS, "OTEL_EXPORTER_OTLP_ENDPOINT": server.endpoint, **changes}),
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process
        process.kill()


def test_fork_under_load_delivers_every_line_once(tmp_path: Path, server: Server) -> None:
    """While threads log, children are forked, log and end; no process hangs."""
    script = """
stop = threading.Event()
counts = [0, 0]
def work(number):
    while not stop.is_set() or counts[number] < 200:
        logging.warning("parent %d %d", number, counts[number])
        counts[number] += 1
        stop.wait(0.001)
threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
for thread in threads: thread.start()
import warnings; warnings.simplefilter("ignore", DeprecationWarning)
for child in range(10):
    pid = os.fork()
    if not pid:
        for line in range(50):
            logging.warning("child %d %d", child, line)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
stop.set()
for thread in threads: thread.join()
print(*counts)
"""
    ended = python(tmp_path, server, script, OTEL_DISTRO_EXIT_TIMEOUT="30")
    assert (ended.returncode, ended.stderr) == (0, "")
    first, second = map(int, ended.stdout.split())
    expected = [f"parent {number} {line}" for number, count in ((0, first), (1, second)) for line in range(count)]
    expected += [f"child {child} {line}" for child in range(10) for line in range(50)]
    found = Counter(log_bodies(server.requests))
    assert found == Counter(expected)


def test_end_beside_endless_threads_delivers_the_main_thread(tmp_path: Path, server: Server) -> None:
    """Threads that log without end delay neither the main thread's lines nor the end."""
    script = """
for number in range(200):
    logging.warning("main %d", number)
def flood():
    while True:
        logging.warning("flood")
for _ in range(4):
    threading.Thread(target=flood, daemon=True).start()
"""
    ended = python(tmp_path, server, script, OTEL_DISTRO_EXIT_TIMEOUT="30")
    assert ended.returncode == 0, ended.stderr
    found = Counter(body for body in log_bodies(server.requests) if body != "flood")
    assert found == Counter(f"main {number}" for number in range(200))


def test_fork_in_a_metric_callback_works_and_telemetry_continues(tmp_path: Path, server: Server) -> None:
    """A callback that forks while metrics are collected gets its child."""
    script = """
from opentelemetry import metrics
from opentelemetry.metrics import Observation
import warnings; warnings.simplefilter("ignore", DeprecationWarning)
left = [1, 2]
def observe(_):
    if not left: return
    left.pop()
    pid = os.fork()
    if not pid: os._exit(7)
    yield Observation(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
metrics.get_meter("x").create_observable_gauge("shop.forks", [observe])
print(metrics.get_meter_provider().force_flush(), metrics.get_meter_provider().force_flush())
"""
    ended = python(tmp_path, server, script, OTEL_METRICS_EXPORTER="otlp", OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="*")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "True True\n", "")
    assert sum(b"shop.forks" in request.body or request.target == "/v1/metrics" for request in server.requests) >= 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal_that_kills_delivers_first(tmp_path: Path, server: Server, number: signal.Signals) -> None:
    """SIGTERM and SIGHUP: the queue is delivered, and the status is that of the signal."""
    ended = python(
        tmp_path, server, f"logging.error('last words')\nos.kill(os.getpid(), {int(number)})\nprint('not reached')"
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (-number, "", "")
    assert log_bodies(server.requests) == ["last words"]


def test_signal_from_outside_delivers_first(tmp_path: Path, server: Server) -> None:
    """A program that only waits delivers when it is terminated from outside."""
    with waiting(tmp_path, server, "logging.error('ready')", OTEL_BLRP_SCHEDULE_DELAY="60000") as process:
        process.terminate()
        assert process.wait(30) == -signal.SIGTERM
    assert log_bodies(server.requests) == ["ready"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_signal_awaited_with_sigwait_arrives(tmp_path: Path, server: Server, number: int) -> None:
    """A program that blocks signals to receive them with ``sigwait`` gets them."""
    script = f"""
logging.error("waiting")
signal.pthread_sigmask(signal.SIG_BLOCK, [{number:d}])
print("ready", flush=True)
os._exit(signal.sigwait([{number:d}]))
"""
    with waiting(tmp_path, server, script, OTEL_METRICS_EXPORTER="otlp", OTEL_METRIC_EXPORT_INTERVAL="20") as process:
        process.send_signal(number)
        assert process.wait(30) == number
    assert "waiting" in log_bodies(server.requests)


def test_signal_mask_in_a_metric_callback_is_the_application_s(tmp_path: Path, server: Server) -> None:
    """A program that it starts inherits the mask of the application and nothing more."""
    script = """
import subprocess
from opentelemetry import metrics
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
tell = "import signal; print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))"
def observe(options):
    seen.append(subprocess.run([sys.executable, "-S", "-c", tell], stdout=subprocess.PIPE, text=True, env={}).stdout)
    seen.append(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
    return ()
seen = []
metrics.get_meter("app").create_observable_gauge("gauge", [observe])
metrics.get_meter_provider().force_flush()
print(*seen)
"""
    ended = python(tmp_path, server, script, OTEL_METRICS_EXPORTER="otlp")
    assert (ended.returncode, ended.stderr) == (0, "")
    program, thread = ended.stdout.splitlines()
    assert "SIGUSR1" in program
    assert "SIGTERM" not in program + thread


def test_signal_with_a_handler_of_the_application_only_calls_it(tmp_path: Path, server: Server) -> None:
    """Handlers set before or after the activation are called, and nothing else happens."""
    script = """
signal.signal(signal.SIGTERM, lambda *_: print("mine"))
logging.error("between")
signal.signal(signal.SIGHUP, signal.SIG_IGN)
for number in (signal.SIGTERM, signal.SIGHUP): os.kill(os.getpid(), number)
logging.error("still here")
print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)
"""
    ended = python(tmp_path, server, script)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "mine\nTrue\n", "")
    assert log_bodies(server.requests) == ["between", "still here"]


def test_signal_with_the_default_handler_set_again_delivers_first(tmp_path: Path, server: Server) -> None:
    """A program that sets it, as servers do in workers, sees it, and delivers before it dies."""
    script = """
before = signal.signal(signal.SIGTERM, lambda *_: None)
print(before == signal.SIG_DFL, signal.signal(signal.SIGTERM, signal.SIG_DFL) != signal.SIG_DFL)
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, flush=True)
logging.error("last words")
os.kill(os.getpid(), signal.SIGTERM)
"""
    ended = python(tmp_path, server, script)
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGTERM, "True True\nTrue\n", "")
    assert log_bodies(server.requests) == ["last words"]


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        ("os._exit(3)", 3),
        ("sys.exit(4)", 4),
        ("raise SystemExit", 0),
        ("", 0),
        ("os.execv('/bin/sh', ['sh', '-c', 'exit 5'])", 5),
    ],
)
def test_end_of_any_kind_delivers_and_keeps_the_status(
    tmp_path: Path, server: Server, ending: str, status: int
) -> None:
    """The last line arrives however a process ends that can still run code."""
    ended = python(tmp_path, server, f"logging.error('last words')\n{ending}")
    assert (ended.returncode, ended.stderr) == (status, "")
    assert log_bodies(server.requests) == ["last words"]


def test_killed_process_leaves_its_spool_to_the_next(tmp_path: Path, server: Server) -> None:
    """Spans that had ended before the kill are on disk, and the next process delivers them."""
    script = """
import glob, pathlib
logging.error("written")
def on_disk(): return any(b"written" in pathlib.Path(path).read_bytes() for path in glob.glob("state/**/*.seg", recursive=True))
while not on_disk(): time.sleep(0.01)
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = python(tmp_path, server, script, OTEL_BLRP_SCHEDULE_DELAY="60000")
    assert killed.returncode == -signal.SIGKILL
    assert log_bodies(server.requests) == []
    with waiting(tmp_path, server, "logging.error('next')"):
        server.wait_until(lambda requests: sorted(log_bodies(requests)) == ["next", "written"])


def test_end_with_a_hanging_server_is_bounded(tmp_path: Path, server: Server) -> None:
    """One line says what is left, and the status is the program's."""
    server.answers[:] = [server.hang]
    ended = python(tmp_path, server, "logging.error('left')\nsys.exit(6)", OTEL_DISTRO_EXIT_TIMEOUT="1")
    assert ended.returncode == 6
    assert not server.closing.is_set()
    assert ended.stderr.endswith("kept on disk for the next start: 1 of logs [OD311]\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("service.name=shop", ""),
        ("service.name=shop, service.instance.id = web-1 ", "web-1"),
        ("service.instance.id", ""),
        ("service.instance.id=a=b", "a=b"),
    ],
)
def test_chosen_instance_id_is_read_from_the_resource_attributes(text: str, expected: str) -> None:
    """The instance id is read from the resource attributes of the user."""
    assert chosen_instance_id({"OTEL_RESOURCE_ATTRIBUTES": text}) == expected


def test_end_leaves_no_process_behind(tmp_path: Path, server: Server) -> None:
    """A process that has ended leaves no other process behind."""
    script = "logging.error('x')\nprint(os.getpid(), flush=True)"
    ended = python(tmp_path, server, script)
    with pytest.raises(ProcessLookupError):
        os.kill(int(ended.stdout), 0)


def test_end_delivers_what_a_killed_child_has_left(tmp_path: Path) -> None:
    """The parent sends what a child of :mod:`subprocess` had written before it was killed.

    A reloader kills its child so after Ctrl-C.
    """
    asked = tmp_path / "asked"
    child = (
        "import logging, os, pathlib, signal\nlogging.error('left by the child')\n"
        f"while not pathlib.Path({str(asked)!r}).exists(): pass\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    script = f"import subprocess; subprocess.run([sys.executable, '-c', {child!r}]); logging.error('parent')"

    def never_answer(_: socket.socket) -> None:
        asked.touch()
        slow.closing.wait()

    with Server(never_answer, http()) as slow:
        python(tmp_path, slow, script)
        assert sorted(log_bodies(slow.requests[1:])) == ["left by the child", "parent"]
