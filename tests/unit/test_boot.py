"""Ways to start, the user's own start-up, and what activates telemetry, in real processes."""

from __future__ import annotations

import sys
import venv
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import NOWHERE, RUN, bare_and_ours, run

if TYPE_CHECKING:
    from pathlib import Path

ACTIVE = "import otel_distro._boot as b; print(b.state.active, b.state.stepped_aside)"


def python(folder: Path, script: str, *options: str, **changes: str) -> str:
    """Run a script under ``otel-distro run`` and return its stdout; stderr must be empty."""
    ended = run(folder, *RUN, sys.executable, *options, "-c", script, **{**NOWHERE, **changes})
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def test_sitecustomize_of_the_user_runs_as_itself(tmp_path: Path) -> None:
    """The shadowed ``sitecustomize`` runs, as itself, and is the one that programs import."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.mine = __name__, __file__\n", encoding="utf-8")
    script = "import sys, sitecustomize; print(sys.mine, sitecustomize.__file__)"
    mine = str(tmp_path / "sitecustomize.py")
    assert python(tmp_path, script, PYTHONPATH=str(tmp_path)) == f"{('sitecustomize', mine)} {mine}\n"


def test_sitecustomize_that_fails_is_reported_by_python_alone(tmp_path: Path) -> None:
    """It stops neither the program nor telemetry."""
    (tmp_path / "sitecustomize.py").write_text("raise ValueError('mine')\n", encoding="utf-8")
    bare = run(tmp_path, sys.executable, "-c", "print(1)", PYTHONPATH=str(tmp_path))
    ours = run(tmp_path, *RUN, sys.executable, "-c", "print(1)", PYTHONPATH=str(tmp_path))
    assert (ours.returncode, ours.stdout) == (bare.returncode, bare.stdout) == (0, "1\n")
    assert "Error in sitecustomize" in bare.stderr
    # The command is a Python process too, before the program takes its place.
    assert ours.stderr == bare.stderr * 2


@pytest.mark.parametrize("path", [None, "", "{}", "{}:", ":{}", "a::{}"])
def test_start_leaves_sys_path_as_in_a_bare_process(tmp_path: Path, path: str | None) -> None:
    """Empty entries of PYTHONPATH (the current directory) are kept too."""
    changes = {} if path is None else {"PYTHONPATH": path.format(tmp_path / "lib")}
    script = "import sys; print(sys.path)"
    assert python(tmp_path, script, **changes) == run(tmp_path, sys.executable, "-c", script, **changes).stdout


def test_start_of_a_child_process_is_instrumented_too(tmp_path: Path) -> None:
    """A child that ignores the environment is not instrumented."""
    child = "import sys; print('otel_distro._boot' in sys.modules)"
    script = f"import subprocess, sys; subprocess.run([sys.executable, *sys.argv[1:], '-c', {child!r}])"
    assert python(tmp_path, script) == "True\n"
    ended = run(tmp_path, *RUN, sys.executable, "-c", script, "-E", **NOWHERE)
    assert ended.stdout == "False\n"


def test_start_of_an_interpreter_without_the_package_is_unchanged(tmp_path: Path) -> None:
    """An interpreter without otel_distro that inherits the environment starts as usual."""
    venv.create(tmp_path / "other", symlinks=True, with_pip=False)
    script = "import sys; print(sorted(m for m in sys.modules if 'otel' in m))"
    ended = run(tmp_path, *RUN, str(tmp_path / "other" / "bin" / "python"), "-c", script)
    assert (ended.stdout, ended.stderr) == ("[]\n", "")


@pytest.mark.parametrize(
    ("script", "active"),
    [
        ("pass", False),
        ("import logging, threading, asyncio, sqlite3, urllib.request", False),
        ("import logging; logging.getLogger('x').debug('not let through')", False),
        ("import logging; logging.getLogger('x').warning('told')", True),
        ("import sqlite3; sqlite3.connect(':memory:').close()", True),
        ("from sqlite3 import connect; connect(':memory:').close()", True),
        ("from opentelemetry import trace; trace.get_tracer('x')", True),
        ("from opentelemetry import metrics; metrics.get_meter('x').create_counter('c').add(1)", True),
        ("import flask", True),
    ],
)
def test_activation_happens_at_the_first_call_record_or_import(tmp_path: Path, script: str, active: bool) -> None:
    """A call, a record, or an instrumented library activates telemetry, and nothing before."""
    script = f"import logging; logging.getLogger().addHandler(logging.NullHandler())\n{script}\n{ACTIVE}"
    assert python(tmp_path, script, OTEL_DISTRO_PROCESS_METRICS_DELAY="60") == f"{active} False\n"


def test_activation_of_an_idle_process_happens_after_the_delay(tmp_path: Path) -> None:
    """A process that only lives reports its metrics after the delay."""
    script = f"import time\nimport otel_distro._boot as b\nwhile not b.state.active: time.sleep(0.01)\n{ACTIVE}"
    assert python(tmp_path, script, OTEL_DISTRO_PROCESS_METRICS_DELAY="0.05") == "True False\n"


def test_instrument_activates_for_earlier_imports_too(tmp_path: Path) -> None:
    """``otel_distro.instrument()`` covers libraries imported before; twice is once."""
    script = (
        "import sqlite3, logging, otel_distro\notel_distro.instrument()\notel_distro.instrument()\n"
        f"sqlite3.connect(':memory:').close()\n{ACTIVE}\nprint(type(sqlite3.connect).__name__)\n"
    )
    ended = run(tmp_path, sys.executable, "-c", script, **NOWHERE)
    assert (ended.stdout.splitlines()[0], ended.stderr) == ("True False", "")


def test_activation_with_disabled_instrumentors_does_not_load_them(tmp_path: Path) -> None:
    """By name, the distribution's and upstream's."""
    script = (
        "import logging, sqlite3; logging.lastResort = None; connect = sqlite3.connect\n"
        "from opentelemetry import trace; trace.get_tracer('x')\n"
        "print(sqlite3.connect is connect, hasattr(logging.Logger.callHandlers, '__wrapped__'))\n"
    )
    names = " sqlite3, log_records"
    assert python(tmp_path, script, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=names) == "True False\n"


def test_activation_with_another_version_of_opentelemetry_steps_aside(tmp_path: Path) -> None:
    """The program runs as it does bare, and one line says so."""
    info = tmp_path / "opentelemetry_sdk-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: opentelemetry-sdk\nVersion: 9.9\n", encoding="utf-8")
    script = f"import logging; logging.error('x'); import flask; {ACTIVE}"
    ended = run(tmp_path, *RUN, sys.executable, "-c", script, PYTHONPATH=str(tmp_path), **NOWHERE)
    line, *rest = sorted(ended.stderr.splitlines(), reverse=True)
    assert ended.stdout == "True True\n"
    assert line.startswith("otel-distro: telemetry is off")
    assert "opentelemetry-sdk 9.9 found" in line
    assert rest == ["ERROR:root:x"]


def test_bad_setting_is_reported_once_for_all_processes(tmp_path: Path) -> None:
    """One line, from the first process; its children inherit a repaired environment."""
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import logging; logging.error(1)'])"
    ended = run(
        tmp_path, *RUN, sys.executable, "-c", script, **NOWHERE, OTEL_BSP_SCHEDULE_DELAY="soon",
    )  # fmt: skip
    ours, error = ended.stderr.splitlines()
    assert "OTEL_BSP_SCHEDULE_DELAY" in ours
    assert error == "ERROR:root:1"


PROGRAMS = {
    "status": "import sys, logging\nlogging.error('x')\nsys.exit(3)\n",
    "os._exit": "import os, logging\nlogging.error('x')\nos._exit(4)\n",
    "abort": "import os, logging, resource\nresource.setrlimit(resource.RLIMIT_CORE, (0, 0))\nlogging.error('x')\nos.abort()\n",
    "sigterm": "import os, signal, logging\nlogging.error('x')\nos.kill(os.getpid(), signal.SIGTERM)\nprint('not reached')\n",
    "sighup before anything": "import os, signal\nos.kill(os.getpid(), signal.SIGHUP)\nprint('not reached')\n",
    "own handler": (
        "import os, signal, sys, logging\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n"
        "logging.error('x')\nos.kill(os.getpid(), signal.SIGTERM)\nsignal.pause()\n"
    ),
    "ignored": (
        "import os, signal, logging\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nlogging.error('x')\n"
        "os.kill(os.getpid(), signal.SIGTERM)\nprint('lives')\n"
    ),
    "atexit order": "import atexit, logging\natexit.register(print, 'first')\nlogging.error('x')\natexit.register(print, 'second')\n",
    "non-daemon thread": "import threading, logging\nlogging.error('x')\nthreading.Timer(0.1, print, ('late',)).start()\nprint('early')\n",
    "pickle": "import pickle, logging, sqlite3\nprint(pickle.loads(pickle.dumps([logging.getLogger('x'), ValueError(1)])))\n",
    "modules": "import logging, sys, threading\nlogging.error('x')\nprint(threading.main_thread() is threading.current_thread())\n",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_end_of_a_program_is_as_in_a_bare_process(tmp_path: Path, name: str) -> None:
    """Exit status, stdout and stderr are the same, however it ends."""
    bare, ours = bare_and_ours(tmp_path, PROGRAMS[name])
    assert ours == bare
