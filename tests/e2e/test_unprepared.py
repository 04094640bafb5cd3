"""Programs that nobody prepared for telemetry: whatever they do to their process, they end as they do bare."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import Completed
from tests.support.programs import APPS, INSTRUMENT, RUN, Command, Launcher, without_false_warnings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.receiver import Receiver


def seen(ended: Completed) -> tuple[int, str, list[str]]:
    """Return what a user sees of a run; lines of children come in any order."""
    return ended.returncode, ended.stdout, sorted(ended.stderr.splitlines())


@pytest.mark.parametrize("command", [INSTRUMENT, RUN])
def test_gevent_patched_first(command: Command, launcher: Launcher, receiver: Receiver) -> None:
    """It ends as bare, where upstream hangs for ever, and every request and log line of its greenlets arrives."""
    bare = launcher.run("gevent_first.py", command="bare")
    traced = launcher.run("gevent_first.py", command=command)
    assert seen(bare) == seen(traced)
    assert traced.returncode == 4
    requests = {span.span_id for span in receiver.spans() if span.scope == "opentelemetry.instrumentation.requests"}
    assert len(requests) == 10
    assert {f"greenlet {number} hello" for number in range(10)} == {log.body for log in receiver.logs()}
    assert len(receiver.logs()) == 10
    assert receiver.points("process.memory.usage")


def test_gevent_patched_late(launcher: Launcher, receiver: Receiver) -> None:
    """Telemetry that started before gevent patched the process goes on after it."""
    # gevent warns of modules that it comes too late for, and names them in any order.
    bare = launcher.run("gevent_late.py", command="bare", PYTHONWARNINGS="ignore")
    traced = launcher.run("gevent_late.py", PYTHONWARNINGS="ignore")
    assert seen(bare) == seen(traced)
    assert traced.returncode == 4
    assert [log.body for log in receiver.logs()] == ["before", *(f"greenlet {number}" for number in range(10))]


def test_short_children_cost_little(launcher: Launcher, receiver: Receiver) -> None:
    """Two hundred children that do nothing cost at most half more than bare, where upstream makes it eight times.

    A ratio of processor times, measured in turns so that both meet the same machine: the best of ten rounds counts. What
    else the machine does may spoil a whole measurement: one of three must hold.
    """
    rounds = 10
    commands: tuple[Command, Command] = ("bare", RUN)

    def ratio() -> float:
        seconds = [
            [float(launcher.run("many_children.py", "20", command=command).stdout) for command in commands]
            for _ in range(rounds)
        ]
        bare, traced = (min(each) for each in zip(*seconds, strict=True))
        return float(traced / bare)

    measured: list[float] = []
    while not measured or (min(measured) > 1.5 and len(measured) < 3):
        measured.append(ratio())
    assert min(measured) <= 1.5, measured
    # The children have nothing to tell; their parents may have lived long enough.
    assert len({point.resource["process.pid"] for point in receiver.points()}) <= rounds * len(measured)


@pytest.mark.parametrize("command", [INSTRUMENT, RUN])
def test_a_forking_server(command: Command, launcher: Launcher, receiver: Receiver) -> None:
    """Children that end in os._exit are told, and they and the server end with the status they have bare."""
    bare = launcher.run("forking_server.py", command="bare")
    traced = launcher.run("forking_server.py", command=command)
    assert seen(bare) == seen(traced)
    assert (traced.returncode, traced.stdout) == (6, "served\n" * 3)
    assert len(receiver.logs("listening")) == 1
    served = receiver.logs("serving")
    assert len({log.resource["process.pid"] for log in served}) == len(served) == 3


@pytest.mark.embedded
@pytest.mark.parametrize("command", [INSTRUMENT, RUN])
def test_an_embedded_interpreter(command: Command, launcher: Launcher, receiver: Receiver) -> None:
    """A program in C that runs Python and ends it gets no error from it, and what happened in Python is told."""
    program = build_embedded(launcher.folder)
    python = {"PYTHONHOME": sys.base_prefix, "PYTHONPATH": sysconfig.get_path("purelib")}
    bare = launcher.run(program, command="bare", **python)
    traced = launcher.run(program, command=command, **python)
    assert seen(bare) == seen(traced)
    assert (traced.returncode, traced.stdout) == (9, "inside\nafter\n")
    assert len(receiver.logs("embedded")) == 1
    assert len(receiver.spans("SELECT")) == 1


def build_embedded(folder: Path) -> Path:
    """Compile the program that embeds this Python."""
    program = folder / "embedded"
    library = sysconfig.get_config_var("LIBDIR")
    subprocess.run(
        [
            *("cc", str(APPS / "embedded.c"), "-o", str(program), f"-I{sysconfig.get_path('include')}"),
            *(f"-L{library}", f"-Wl,-rpath,{library}", f"-lpython{sysconfig.get_config_var('LDVERSION')}"),
            *(sysconfig.get_config_var("LIBS") or "").split(),
        ],
        check=True,
    )
    return program


@pytest.mark.parametrize("command", [INSTRUMENT, RUN])
def test_a_sitecustomize_of_the_user(command: Command, launcher: Launcher, receiver: Receiver) -> None:
    """It runs, once in the program and once in its child, which upstream's command prevents."""
    site = launcher.folder / "theirs"
    site.mkdir()
    (site / "sitecustomize.py").write_text("import os; os.write(1, b'theirs\\n')\n", encoding="utf-8")
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'pass'])"
    bare = launcher.run("-c", child, command="bare", PYTHONPATH=str(site))
    traced = launcher.run("-c", child, command=command, PYTHONPATH=str(site))
    assert bare.stdout == "theirs\n" * 2
    # The command is a Python program too, and runs it for itself.
    assert traced.stdout == "theirs\n" * 3
    assert traced.stderr == ""


@pytest.mark.parametrize("live_on", ["", "1.0"])
def test_forks_are_not_warned_of(live_on: str, launcher: Launcher, receiver: Receiver) -> None:
    """Python warns of forks with several threads; it has none of ours to warn of, and no socket is left to a child."""
    traced = launcher.run("-W", "always", APPS / "strict_forks.py", LIVE_ON=live_on, OTEL_METRIC_EXPORT_INTERVAL="200")
    assert (traced.returncode, traced.diagnostics()) == (0, [])
    assert "Warning" not in without_false_warnings(traced.stderr)
    assert len(receiver.logs()) == 21


def test_forks_of_a_silent_program_are_not_warned_of(launcher: Launcher) -> None:
    """The timer of a process that has told nothing yet is out of the way of a fork, too."""
    fork = "import os; child = os.fork(); child and os.waitpid(child, 0); print(child > 0, flush=True)"
    traced = launcher.run("-W", "always", "-c", fork)
    assert (traced.returncode, sorted(traced.stdout.split())) == (0, ["False", "True"])
    assert without_false_warnings(traced.stderr) == ""


@pytest.mark.parametrize("command", [INSTRUMENT, RUN])
def test_exec_of_another_program(command: Command, launcher: Launcher, receiver: Receiver) -> None:
    """A program that puts another in its place ends as that one does, and that one is told."""
    code = "import os, sys; os.execv(sys.executable, [sys.executable, sys.argv[1], '5'])"
    traced = launcher.run("-c", code, APPS / "talker.py", command=command)
    assert (traced.returncode, traced.stdout, traced.stderr) == (5, "begin\nend\n", "talking\n")
    assert len(receiver.logs("talking")) == 1


@pytest.mark.parametrize("command", [INSTRUMENT, RUN])
def test_switched_off_it_costs_nothing(command: Command, launcher: Launcher, receiver: Receiver) -> None:
    """With OTEL_SDK_DISABLED=true nothing of OpenTelemetry is imported, and nothing is sent."""
    code = "import logging, sys; logging.warning('x'); print([name for name in sys.modules if 'opentelemetry' in name])"
    traced = launcher.run("-c", code, command=command, OTEL_SDK_DISABLED="true")
    assert (traced.returncode, traced.stdout, traced.stderr) == (0, "[]\n", "WARNING:root:x\n")
    assert receiver.requests == []


@pytest.mark.parametrize("command", [INSTRUMENT, RUN])
def test_a_program_that_does_nothing_imports_nothing(command: Command, launcher: Launcher, receiver: Receiver) -> None:
    """Telemetry that is on imports nothing of OpenTelemetry before there is something to tell."""
    traced = launcher.run("-c", "import sys; print([n for n in sys.modules if 'opentelemetry' in n])", command=command)
    assert (traced.returncode, traced.stdout, traced.stderr) == (0, "[]\n", "")
    assert receiver.requests == []


def test_another_interpreter_in_between(launcher: Launcher) -> None:
    """A Python without our package that is started by an instrumented one notices nothing."""
    bare_python = shutil.which(f"python3.{sys.version_info[1]}", path=f"{sys.base_prefix}/bin")
    assert bare_python
    code = "import subprocess, sys; sys.exit(subprocess.call([sys.argv[1], '-c', 'print(1)']))"
    traced = launcher.run("-c", code, bare_python, command=RUN)
    assert (traced.returncode, traced.stdout, traced.stderr) == (0, "1\n", "")
