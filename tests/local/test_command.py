"""``otel-distro local`` around real programs: invisible from outside, but for the summary."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import termios
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# Sends one span with the SDK as the environment configures it, without any instrumentation.
SENDER = """
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
with provider.get_tracer("t").start_as_current_span("by hand"):
    pass
provider.shutdown()
"""


def environment(tmp_path: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment with a state directory of the test's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return {**kept, "XDG_STATE_HOME": str(tmp_path / "state"), **(more or {})}


def local(*command: str | Path, options: tuple[str, ...] = ()) -> list[str]:
    """Return the command line."""
    return [sys.executable, "-m", "otel_distro", "local", *options, "--", *map(str, command)]


def python(program: str, *arguments: str) -> list[str]:
    """Return the command line of a bare Python program.

    Without ``site``, so that nothing is instrumented.
    """
    return [sys.executable, "-I", "-S", "-c", program, *arguments]


def run(
    tmp_path: Path, *command: str | Path, options: tuple[str, ...] = (), **how: Any
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    how.setdefault("env", environment(tmp_path))
    return subprocess.run(
        local(*command, options=options), capture_output=True, text=True, timeout=60, check=False, **how
    )


@contextmanager
def started(tmp_path: Path, program: str, **how: Any) -> Iterator[subprocess.Popen[str]]:
    """A Python program under the command, with pipes; it is killed if the test fails."""
    how = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **how}
    process = subprocess.Popen(local(*python(program)), env=environment(tmp_path), start_new_session=True, **how)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    """Return the next line that ``process`` writes."""
    assert process.stdout is not None
    return process.stdout.readline()


def stored(tmp_path: Path, sql: str) -> list[tuple[Any, ...]]:
    """Query the store of the test's state directory."""
    (path,) = (tmp_path / "state" / "otel-distro" / "local").glob("*.db")
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


@pytest.mark.parametrize("code", [0, 3, 255])
def test_exit_code_is_that_of_the_program(tmp_path: Path, code: int) -> None:
    """Every exit code is passed on, and stored with the run."""
    assert run(tmp_path, *python(f"raise SystemExit({code})")).returncode == code
    assert stored(tmp_path, "select exit_code, signal, end_ns > start_ns from run") == [(code, None, 1)]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGINT])
def test_status_of_killed_program_is_its_signal(tmp_path: Path, number: signal.Signals) -> None:
    """The caller of the wrapper sees the same status as without it, after the summary."""
    done = run(tmp_path, *python(f"import os; os.kill(os.getpid(), {int(number)})"), cwd=tmp_path)
    assert done.returncode == -number
    assert f"killed by {number.name}" in done.stderr
    assert stored(tmp_path, "select exit_code, signal from run") == [(None, int(number))]
    assert not list(tmp_path.glob("core*"))


def test_input_and_output_are_unchanged(tmp_path: Path) -> None:
    """Every byte passes, in both directions, and the program's stderr comes before the summary."""
    data = bytes(range(256)) * 4096
    program = "import sys; sys.stderr.write('mine\\n'); sys.stdout.buffer.write(sys.stdin.buffer.read()[::-1])"
    done = subprocess.run(
        local(*python(program)), input=data, capture_output=True, timeout=60, check=True, env=environment(tmp_path)
    )
    assert done.stdout == data[::-1]
    assert done.stderr.startswith(b"mine\n\n")


def test_descriptors_directory_and_arguments_are_inherited(tmp_path: Path) -> None:
    """An open descriptor stays open, and arguments like those of the wrapper are the program's."""
    reader, writer = os.pipe()
    program = "import os, sys; os.write(int(sys.argv[1]), repr((os.getcwd(), sys.argv[2:])).encode())"
    arguments = ["--port", "--", "-h", "ü", ""]
    done = run(tmp_path, *python(program, str(writer), *arguments), cwd=tmp_path, pass_fds=[writer])
    os.close(writer)
    with open(reader, "rb") as pipe:
        assert pipe.read().decode() == repr((str(tmp_path), arguments))
    assert done.returncode == 0


@pytest.mark.parametrize("ignored", [(), (signal.SIGINT, signal.SIGQUIT)], ids=["terminal", "background of a shell"])
def test_signal_mask_and_dispositions_are_those_of_a_bare_start(tmp_path: Path, ignored: tuple[int, ...]) -> None:
    """The program starts as from a shell: it does not inherit the wrapper's own signal handling."""
    # The state in which the tests run is not: a shell ignores signals for what it starts in the background.
    started_with = python(
        "import os, signal, sys\n"
        "for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:\n"
        "    signal.signal(number, signal.SIG_IGN if str(int(number)) in sys.argv[1].split() else signal.SIG_DFL)\n"
        "signal.pthread_sigmask(signal.SIG_SETMASK, [])\n"
        "os.execvp(sys.argv[2], sys.argv[2:])\n",
        " ".join(str(int(number)) for number in ignored),
    )
    status = ["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"]
    texts = [
        subprocess.run(
            [*started_with, *command], capture_output=True, text=True, timeout=60, check=True, env=environment(tmp_path)
        ).stdout
        for command in (status, local(*status))
    ]
    # The C library keeps signals 32 and 33 for itself.
    masks = [[int(mask, 16) % 2**31 for mask in re.findall(r"\t(\w+)", text)] for text in texts]
    assert masks[0] == masks[1] == [0, sum(1 << number - 1 for number in ignored)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1])
def test_signal_to_the_wrapper_reaches_the_program(tmp_path: Path, number: signal.Signals) -> None:
    """The program may clean up; the wrapper waits for it and exits with its code."""
    program = (
        "import signal, sys\n"
        "numbers = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1]\n"
        "for number in numbers: signal.signal(number, lambda *_: None)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, numbers)\n"
        "print('ready', flush=True)\n"
        "got = signal.sigwait(numbers)\n"
        "print('cleaned up after', got.name, flush=True)\n"
        "sys.exit(9)\n"
    )
    with started(tmp_path, program) as process:
        assert said(process) == "ready\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (out, process.returncode) == (f"cleaned up after {number.name}\n", 9)
    assert "exit 9" in err


def test_wrapper_outlives_a_signal_that_the_program_ignores(tmp_path: Path) -> None:
    """The wrapper never exits before the program, so the program is never an orphan."""
    program = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(os.getppid(), flush=True)\n"
        "sys.stdin.readline()\n"
        "print(os.getppid(), flush=True)\n"
    )
    with started(tmp_path, program) as process:
        first = said(process)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate("go on\n", timeout=60)
    assert (out, process.returncode) == (first, 0)
    assert int(first) == process.pid


def press_ctrl_c(tmp_path: Path, program: str) -> tuple[str, int]:
    """Run ``program`` in a terminal: Ctrl-C once it is ready, then SIGUSR1 to the wrapper.

    Returns its output after ``interrupted``, and the exit status.
    """
    master, slave = pty.openpty()
    # The session leader acquires the terminal, and Ctrl-C is sent to its process group.
    terminal = {"stdin": slave, "preexec_fn": lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)}
    with started(tmp_path, program, **terminal) as process:
        os.close(slave)
        assert said(process) == "ready\n"
        os.write(master, b"\x03")
        assert said(process) == "interrupted\n"
        process.send_signal(signal.SIGUSR1)
        out, _ = process.communicate(timeout=60)
    os.close(master)
    return out, process.returncode


def test_ctrl_c_reaches_the_program(tmp_path: Path) -> None:
    """The terminal interrupts the program as without the wrapper, and the wrapper outlives it."""
    program = (
        "import signal\n"
        "waited = signal.SIGINT, signal.SIGUSR1\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, waited)\n"
        "print('ready', flush=True)\n"
        "signal.sigwait([signal.SIGINT])\n"
        "print('interrupted', flush=True)\n"
        "signal.sigwait([signal.SIGUSR1])\n"
        "print('cleaned up')\n"
    )
    assert press_ctrl_c(tmp_path, program) == ("cleaned up\n", 0)


def test_wrapper_adds_no_second_interrupt(tmp_path: Path) -> None:
    """A program outside the terminal's process group gets no Ctrl-C, not from the wrapper either.

    A fork of it stays in the group and reports the interrupt. The wrapper handles signals one after
    the other, so an interrupt of its own would come before SIGUSR1.
    """
    program = (
        "import os, signal\n"
        "waited = signal.SIGINT, signal.SIGUSR1\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, waited)\n"
        "if os.fork() == 0:\n"
        "    signal.sigwait([signal.SIGINT])\n"
        "    print('interrupted', flush=True)\n"
        "    os._exit(0)\n"
        "os.setpgid(0, 0)\n"
        "print('ready', flush=True)\n"
        "print('got', signal.Signals(signal.sigwait(waited)).name)\n"
    )
    assert press_ctrl_c(tmp_path, program) == ("got SIGUSR1\n", 0)


def test_missing_command_is_reported_like_in_a_shell(tmp_path: Path) -> None:
    """127 for not found, 126 for not executable, one line, no run."""
    missing = run(tmp_path, "no-such-command-here")
    assert (missing.returncode, missing.stdout) == (127, "")
    assert missing.stderr == "otel-distro: local: no-such-command-here: command not found [OD802]\n"
    plain = tmp_path / "plain"
    plain.write_text("no program")
    refused = run(tmp_path, plain)
    assert refused.returncode == 126
    assert refused.stderr == f"otel-distro: local: {plain}: Permission denied [OD802]\n"
    assert not (tmp_path / "state").exists()


def test_wrong_usage_is_explained(tmp_path: Path) -> None:
    """Without a command, or with a bad port: usage on stderr and status 2."""
    for options, words in (((), "COMMAND is missing"), (("--port", "99999"), "'99999' is not a port")):
        done = run(tmp_path, options=options)
        assert done.returncode == 2
        assert words in done.stderr


def test_taken_port_is_reported_and_nothing_started(tmp_path: Path) -> None:
    """A given port that is not free is an error; no other port is used."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run(tmp_path, *python("print('started')"), options=("--port", str(port)))
    assert (done.returncode, done.stdout) == (125, "")
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in done.stderr


def test_unusable_state_directory_gives_one_line(tmp_path: Path) -> None:
    """The program runs, its exit code is kept, and the summary comes from memory."""
    (tmp_path / "state").write_text("a file where a directory is needed")
    done = run(tmp_path, sys.executable, "-c", SENDER + "raise SystemExit(4)")
    assert done.returncode == 4
    assert len(re.findall("^otel-distro: .*kept in memory only \\[OD806\\]$", done.stderr, re.MULTILINE)) == 1
    assert re.search(r"by hand +1 ", done.stderr)
    assert "Kept in memory only, gone now." in done.stderr


def test_full_disk_costs_the_data_only(tmp_path: Path) -> None:
    """With a full disk the program keeps its exit code, and the summary has a warning."""
    limit = (600_000, 600_000)
    many = "for n in range(1000): provider.get_tracer('t').start_span('s', attributes={'v': 'x' * 2000}).end()\n"
    done = run(
        tmp_path,
        *(
            sys.executable,
            "-c",
            SENDER.replace("provider.shutdown()", many + "provider.shutdown()\nraise SystemExit(4)"),
        ),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )
    assert done.returncode == 4
    assert "! traces: not stored: d" in done.stderr
    assert "kept in memory" not in done.stderr


def test_telemetry_is_sent_to_the_receiver_despite_settings(tmp_path: Path) -> None:
    """Endpoints, headers and proxies of the real backend are replaced; other settings stay."""
    theirs = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://192.0.2.1:4318",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://192.0.2.1:4318/v1/traces",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=secret",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_TRACES_EXPORTER": "console",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_METRIC_EXPORT_INTERVAL": "60000",
        "OTEL_RESOURCE_ATTRIBUTES": "team=blue,",
        "OTEL_SERVICE_NAME": "mine",
        "HTTP_PROXY": "http://192.0.2.1:3128",
        "no_proxy": "example.com",
    }
    show = (
        "import os; print(*sorted(f'{k}={v}' for k, v in os.environ.items() if 'OTEL' in k or 'proxy' in k), sep='\\n')"
    )
    done = run(tmp_path, sys.executable, "-c", SENDER + show, env=environment(tmp_path, theirs))
    seen = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", seen.pop("OTEL_EXPORTER_OTLP_ENDPOINT"))
    assert re.fullmatch(r"team=blue,otel_distro\.run\.id=[0-9a-f]{16}", seen["OTEL_RESOURCE_ATTRIBUTES"])
    assert not [name for name in seen if "HEADERS" in name or name.endswith("S_ENDPOINT")]
    expected = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_METRIC_EXPORT_INTERVAL": "60000",
        "OTEL_DISTRO_SPOOL": "off",
        "no_proxy": "example.com,127.0.0.1",
    }
    assert {name: seen[name] for name in expected} == expected
    assert stored(tmp_path, "select name, service from span join resource using (rid)") == [("by hand", "mine")]
    assert stored(tmp_path, "select distinct run_id = (select id from run) from resource") == [(1,)]


def test_summary_of_unmodified_program_has_everything(tmp_path: Path) -> None:
    """SQL, log, error and metrics of a program without telemetry code are in the summary."""
    app = tmp_path / "app.py"
    app.write_text(
        "import logging, sqlalchemy\n"
        "engine = sqlalchemy.create_engine('sqlite://')\n"
        "with engine.connect() as connection:\n"
        "    print(connection.execute(sqlalchemy.text('select 41 + 1')).scalar())\n"
        "logging.warning('nearly done')\n"
        "def fail():\n"
        "    raise LookupError('no such order')\n"
        "fail()\n"
    )
    done = run(
        tmp_path, sys.executable, app, options=("--name", "the shop"), env=environment(tmp_path, {"COLUMNS": "200"})
    )
    assert (done.returncode, done.stdout) == (1, "42\n")
    program, summary = done.stderr.split("── otel-distro local", 1)
    assert program.count("Traceback") == 1
    assert "· the shop ─" in summary
    assert re.search(r"^  select \? \+ \? |^  select 41 \+ 1 ", summary, re.MULTILINE), summary
    assert re.search(r"WARN 1", summary)
    assert re.search(r"^  1 . LookupError: no such order\n +File .*app\.py., line 7, in fail$", summary, re.MULTILINE)
    assert not re.search(r"no (traces|logs|metrics) arrived", summary)


def test_unsupported_opentelemetry_is_reported_with_the_remedy(tmp_path: Path) -> None:
    """If another release of OpenTelemetry keeps telemetry off, the remedy is printed."""
    metadata = tmp_path / "packages" / "opentelemetry_sdk-1.99.0.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Metadata-Version: 2.1\nName: opentelemetry-sdk\nVersion: 1.99.0\n")
    more = {"PYTHONPATH": str(metadata.parents[1])}
    done = run(tmp_path, *python("raise SystemExit(3)"), env=environment(tmp_path, more))
    assert done.returncode == 3
    lines = done.stderr.splitlines()
    number = next(index for index, line in enumerate(lines) if line.endswith("[OD808]"))
    assert "opentelemetry-sdk 1.99.0 found" in lines[number]
    assert " install 'opentelemetry-api" in lines[number + 1]
