"""A signal that ends a process takes effect in whichever thread it arrives, invisibly."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.items import log_bodies
from tests.support.otlp_server import Server
from tests.support.processes import RUN, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a socket does not say who has written")

START = """
import logging, os, signal, sys, threading, time
logging.getLogger().addHandler(logging.NullHandler())
def in_a_thread(number):
    thread = threading.Thread(target=signal.raise_signal, args=(number,))
    thread.start()
    thread.join()
"""
ASLEEP = """
def soon():
    # By now the main thread sleeps: it has nothing else to do.
    time.sleep(0.3)
    signal.raise_signal(signal.SIGTERM)
threading.Thread(target=soon, daemon=True).start()
time.sleep(50)
print("slept on")
"""
QUIET = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}
SHOWN = 'listed = lambda: {int(name) for name in os.listdir("/proc/self/fd")}\n'


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that accepts everything."""
    with Server() as running:
        yield running


def outcome(folder: Path, server: Server, script: str, **changes: str) -> tuple[int, str, str]:
    """Run a script with telemetry and return its status, stdout and stderr."""
    changes = {
        **QUIET,
        "OTEL_DISTRO_PROCESS_METRICS_DELAY": "600",
        "OTEL_EXPORTER_OTLP_ENDPOINT": server.endpoint,
        **changes,
    }
    ended = run(folder, *RUN, sys.executable, "-u", "-W", "error", "-c", START + script, **changes)
    return ended.returncode, ended.stdout, ended.stderr


def test_signal_received_by_another_thread_ends_the_sleeping_process(tmp_path: Path, server: Server) -> None:
    """The main thread sleeps, another thread gets the signal: the process delivers and ends."""
    script = f"logging.error('last words')\n{ASLEEP}"
    assert outcome(tmp_path, server, script) == (-signal.SIGTERM, "", "")
    assert log_bodies(server.requests) == ["last words"]


def test_signal_before_activation_takes_effect_afterwards(tmp_path: Path, server: Server) -> None:
    """A signal that arrives before telemetry has started takes effect when it starts."""
    assert outcome(tmp_path, server, ASLEEP, OTEL_DISTRO_PROCESS_METRICS_DELAY="1") == (-signal.SIGTERM, "", "")


def test_signal_in_a_forked_child_does_not_reach_the_parent(tmp_path: Path, server: Server) -> None:
    """A child handles its own signals, and its parent does not see them."""
    script = f"""
logging.error("parent")
pid = os.fork()
if not pid:
    logging.error("child")
    {ASLEEP.strip().replace(chr(10), chr(10) + "    ")}
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    assert outcome(tmp_path, server, script) == (0, f"{-signal.SIGTERM}\n", "")
    assert sorted(log_bodies(server.requests)) == ["child", "parent"]


def test_signal_in_a_child_forked_in_c_does_not_reach_the_parent(tmp_path: Path, server: Server) -> None:
    """Where the interpreter does not see the fork, the parent does not get the signals either."""
    script = """
import ctypes
logging.error("parent")
# A thread that waits for the interpreter during a fork in C leaves its lock in a state that blocks the child.
from opentelemetry._logs import get_logger_provider
get_logger_provider().force_flush()
library = ctypes.PyDLL(None)
pid = library.fork()
if not pid:
    signal.raise_signal(signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGKILL)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) < 0)
read, write = os.pipe()
# Longer than the main thread may take to run a handler.
import select; select.select([read], [], [], 0.5)
"""
    assert outcome(tmp_path, server, script) == (0, "True\n", "")


def test_signal_with_a_handler_of_the_application_calls_it_once(tmp_path: Path, server: Server) -> None:
    """Python calls it at its time, and only once, also one that is set later."""
    script = (
        """
logging.error("started")
calls = []
signal.signal(signal.SIGTERM, lambda *_: calls.append(1))
in_a_thread(signal.SIGTERM)
import select; select.select([], [], [], 0.5)
print(len(calls))
signal.signal(signal.SIGTERM, signal.SIG_DFL)
"""
        + ASLEEP
    )
    assert outcome(tmp_path, server, script) == (-signal.SIGTERM, "1\n", "")


@pytest.mark.parametrize(
    "closing",
    ["os.closerange(3, 2000)", "for number in range(3, 2000):\n    try: os.close(number)\n    except OSError: pass"],
)
def test_signal_after_closing_all_descriptors_works_silently(tmp_path: Path, server: Server, closing: str) -> None:
    """A signal that comes then prints no warning, and ends the program if it should."""
    script = f"""
{closing}
signal.signal(signal.SIGUSR1, lambda *_: print("mine"))
os.kill(os.getpid(), signal.SIGUSR1)
print(os.open("/dev/null", os.O_RDONLY))
{closing}
logging.error("last words")
{ASLEEP}"""
    assert outcome(tmp_path, server, script) == (-signal.SIGTERM, "mine\n3\n", "")
    assert log_bodies(server.requests) == ["last words"]


def test_wakeup_pipe_leaves_the_descriptors_of_the_program_unchanged(tmp_path: Path, server: Server) -> None:
    """The pipe has numbers that no program gets by itself; closing them reports them as closed."""
    script = f"""{SHOWN}
print(os.open("/dev/null", os.O_RDONLY), sorted(listed())[:4])
ours = [number for number in listed() if number > 900]
for number in ours:
    try: os.close(number)
    except OSError as error: print(error)
print(len(ours), set(ours) <= listed())
"""
    refused = "[Errno 9] Bad file descriptor\n"
    assert outcome(tmp_path, server, script) == (0, f"3 [0, 1, 2, 3]\n{refused}{refused}2 True\n", "")


def test_wakeup_fd_of_the_application_replaces_the_pipe_while_set(tmp_path: Path, server: Server) -> None:
    """It gets its own signals and never sees the pipe, which is restored afterwards."""
    script = f"""
import socket
logging.error("started")
reader, writer = socket.socketpair()
writer.setblocking(False)
print(signal.set_wakeup_fd(writer.fileno()))
signal.signal(signal.SIGUSR1, lambda *_: None)
in_a_thread(signal.SIGUSR1)
print(reader.recv(1) == bytes([signal.SIGUSR1]))
print(signal.set_wakeup_fd(-1) == writer.fileno())
print(signal.set_wakeup_fd(-1, warn_on_full_buffer=True))
{ASLEEP}"""
    assert outcome(tmp_path, server, script) == (-signal.SIGTERM, "-1\nTrue\nTrue\n-1\n", "")


def test_signal_under_asyncio_reaches_its_handler_and_then_the_default(tmp_path: Path, server: Server) -> None:
    """The loop handles the signal; after it removes its handler the next one ends the process."""
    script = f"""
import asyncio
async def main():
    received = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, received.set)
    in_a_thread(signal.SIGTERM)
    await received.wait()
    print(loop.remove_signal_handler(signal.SIGTERM))
logging.error("started")
asyncio.run(main())
{ASLEEP}"""
    assert outcome(tmp_path, server, script) == (-signal.SIGTERM, "True\n", "")


def test_signal_with_few_open_files_allowed_is_handled_without_the_pipe(tmp_path: Path, server: Server) -> None:
    """Where few descriptors may be open signals are handled as before, silently."""
    script = f"""{SHOWN}
os.kill(os.getpid(), signal.SIGTERM) if max(listed()) < 64 else print(listed())
"""
    limited = f"import os, resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)); os.execv({sys.executable!r}, sys.argv[1:])"
    changes = {**QUIET, "OTEL_EXPORTER_OTLP_ENDPOINT": server.endpoint}
    command = [sys.executable, "-m", "otel_distro", "run", "--", sys.executable, "-c", START + script]
    ended = run(tmp_path, sys.executable, "-S", "-c", limited, *command, **changes)
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGTERM, "", "")
