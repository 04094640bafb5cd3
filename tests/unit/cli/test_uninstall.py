"""``otel-distro uninstall``: on the state of real programs, and in a fresh virtual environment."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

import otel_distro
from otel_distro._startup.compatibility import CONTRIB_RANGE
from tests.support import processes
from tests.support.processes import free_port

ROOT = Path(otel_distro.__file__).parent.parent
PROGRAM = """
from opentelemetry import trace
for number in range(3):
    with trace.get_tracer("shop").start_as_current_span(f"order {number}"):
        pass
"""
HOLDING = """
import sys
from opentelemetry import trace
with trace.get_tracer("shop").start_as_current_span("held"):
    pass
trace.get_tracer_provider().force_flush(1000)
print("ready", flush=True)
sys.stdin.read()
"""


class Machine:
    """A folder with the state and the temporary files of a user whose Collector is away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state" / "otel-distro"
        self.lock = folder / "otel-distro-host-metrics.lock"
        self.settings = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}",
            "OTEL_SERVICE_NAME": "shop",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
        }

    def leave_spans(self) -> None:
        """Run a program that leaves three spans in the spool."""
        done = processes.run(self.folder, *processes.RUN, sys.executable, "-c", PROGRAM, **self.settings)
        assert done.returncode == 0, done.stderr

    def uninstall(self, *options: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """Run the command, without a terminal."""
        command = (sys.executable, "-m", "otel_distro", "uninstall", *options)
        return processes.run(self.folder, *command, **{**self.settings, **changes})

    def files(self) -> set[str]:
        """Return every file below the folder."""
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*")}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A user without any state yet."""
    return Machine(tmp_path)


def test_uninstall_without_state_has_nothing_to_delete(machine: Machine) -> None:
    """Where nothing was left, the command deletes nothing, creates nothing and ends with 0."""
    before = machine.files()
    done = machine.uninstall()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("There is no state to delete.\n")
    assert machine.files() == before


def test_uninstall_dry_run_names_the_state_and_changes_nothing(machine: Machine) -> None:
    """A dry run names each folder with its size, counts what was not delivered, changes no file."""
    machine.leave_spans()
    (machine.state / "local").mkdir()
    (machine.state / "local" / "telemetry-v1.db").write_bytes(b"x" * 2048)
    machine.lock.touch()
    before = machine.files()
    done = machine.uninstall("--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(rf"  {machine.state}/spool/\w+\n    \d files?, .*: 3 items for http://127", done.stdout)
    assert f"  {machine.state}/local\n    1 file, 2 KiB; database of `otel-distro local`\n" in done.stdout
    assert f"  {machine.lock}\n    1 file, 0 B" in done.stdout
    assert done.stdout.endswith("Nothing was changed.\n")
    assert machine.files() == before


def test_uninstall_without_confirmation_deletes_nothing(machine: Machine) -> None:
    """Without --yes and without a terminal to ask, nothing is deleted and the status is 2."""
    machine.leave_spans()
    before = machine.files()
    done = machine.uninstall()
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert "[OD893]" in done.stderr
    assert machine.files() == before


def test_uninstall_with_undelivered_telemetry_keeps_it_until_it_is_named(machine: Machine) -> None:
    """--yes keeps undelivered telemetry and has status 1; with --undelivered it is deleted, too."""
    machine.leave_spans()
    machine.lock.touch()
    (machine.state / "errors").mkdir(exist_ok=True)
    done = machine.uninstall("--yes")
    assert done.returncode == 1
    assert "3 items of telemetry that were not delivered" in done.stderr
    assert "[OD890]" in done.stderr
    assert not machine.lock.exists()
    assert not (machine.state / "errors").exists()
    assert list((machine.state / "spool").rglob("*.seg"))
    done = machine.uninstall("--yes", "--undelivered")
    assert (done.returncode, done.stderr) == (0, "")
    assert not machine.state.exists()


def test_uninstall_beside_running_process_keeps_its_spool(machine: Machine) -> None:
    """The spool that a running process writes is kept, also with --undelivered."""
    command = [*processes.RUN, sys.executable, "-c", HOLDING]
    environment = processes.environment(machine.folder, **machine.settings)
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"ready\n"
        done = machine.uninstall("--yes", "--undelivered")
        assert running.stdin is not None
        running.stdin.close()
        running.wait(30)
    assert done.returncode == 1
    assert "[OD891]" in done.stderr
    assert list((machine.state / "spool").rglob("*.seg"))


def test_uninstall_with_files_of_the_user_names_and_keeps_them(machine: Machine) -> None:
    """Files that settings name are listed and kept, also those inside of the state folder."""
    machine.leave_spans()
    audit = machine.state / "audit.jsonl"
    audit.write_text("{}\n")
    done = machine.uninstall("--yes", "--undelivered", OTEL_DISTRO_AUDIT_FILE=str(audit))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"  OTEL_DISTRO_AUDIT_FILE={audit}\n" in done.stdout
    assert "    audit.jsonl\n" in done.stdout
    assert [path.name for path in machine.state.iterdir()] == ["audit.jsonl"]


def test_uninstall_with_link_in_place_of_folder_leaves_its_target_alone(machine: Machine) -> None:
    """A link where a folder of the distribution should be is reported and not followed."""
    target = machine.folder / "precious"
    target.mkdir()
    (target / "file").touch()
    machine.state.mkdir(parents=True)
    (machine.state / "local").symlink_to(target)
    done = machine.uninstall("--yes")
    assert done.returncode == 1
    assert "[OD892]" in done.stderr
    assert (target / "file").exists()


def test_uninstall_on_a_terminal_asks(machine: Machine) -> None:
    """On a terminal the command asks first; `y` deletes, everything else does not."""
    for answer, status, exists in ((b"n\n", 2, True), (b"y\n", 0, False)):
        machine.lock.touch()
        ours, theirs = pty.openpty()
        os.write(ours, answer)
        command = [sys.executable, "-m", "otel_distro", "uninstall"]
        environment = processes.environment(machine.folder, **machine.settings)
        try:
            done = subprocess.run(
                command, stdin=theirs, env=environment, capture_output=True, text=True, check=False, timeout=60
            )
        finally:
            os.close(ours)
            os.close(theirs)
        assert "Delete the state listed above? [y/N]" in done.stdout
        assert (done.returncode, machine.lock.exists()) == (status, exists)


class Venv:
    """A virtual environment into which the distribution is installed as users do it."""

    def __init__(self, home: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        self.home = home
        self.python = home / "bin" / "python"
        self.packages = next((home / "lib").glob("python*/site-packages"))
        self.before = self.installed()
        # `idna` by its name: the user's own, although requests brings it, too.
        self.pip("install", "--quiet", str(ROOT), "idna")
        # Not every package of a release train is published on the same day.
        self.pip("install", "--quiet", "--no-deps", f"opentelemetry-instrumentation-flask{CONTRIB_RANGE}")

    def pip(self, *words: str) -> None:
        """Run pip in the environment."""
        command = [str(self.python), "-m", "pip", "--disable-pip-version-check", *words]
        subprocess.run(command, check=True, timeout=300)

    def installed(self) -> set[str]:
        """Return the files in site-packages, without compiled ones."""
        files = (path for path in self.packages.rglob("*") if path.is_file() and path.suffix != ".pyc")
        return {str(path.relative_to(self.packages)) for path in files}


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Venv:
    """One environment for the tests of packages: making it takes seconds."""
    return Venv(tmp_path_factory.mktemp("uninstall") / "venv")


@pytest.mark.slow
def test_uninstall_command_for_packages_leaves_what_was_there_before(venv: Venv, tmp_path: Path) -> None:
    """The printed command removes all that came along, the .pth file, and nothing of the user's."""
    environment = processes.environment(tmp_path)
    command = [str(venv.home / "bin" / "otel-distro"), "uninstall", "--dry-run"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert f"  {venv.packages}/otel_distro.pth\n" in done.stdout
    assert "bootstrap` or you installed: 1\n  opentelemetry-instrumentation-flask" in done.stdout
    assert "installed them by name:\n  idna\n" in done.stdout
    (words,) = re.findall(r"^  \S+ -m pip uninstall --yes (.+)$", done.stdout, re.MULTILINE)
    assert {"otel-distro", "opentelemetry-sdk", "opentelemetry-instrumentation-flask", "requests"} <= set(words.split())
    venv.pip("uninstall", "--quiet", "--yes", *words.split())
    assert {name for name in venv.installed() - venv.before if not name.startswith("idna")} == set()
