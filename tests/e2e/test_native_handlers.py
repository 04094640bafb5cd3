"""Signal handlers in C still work after telemetry has started in their thread."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import BIN, free_port
from tests.support.programs import RUN

if TYPE_CHECKING:
    from tests.support.programs import Launcher
    from tests.support.receiver import Receiver

FIRST_RECORD_IN_A_REQUEST = """
import logging
def app(environ, start_response):
    if environ["PATH_INFO"] == "/record":
        logging.getLogger("shop").error("first record")
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""
FAULTHANDLER = """
import faulthandler, logging, signal
signal.signal(signal.SIGUSR1, lambda *_: print("the handler in Python"))
faulthandler.register(signal.SIGUSR1)
logging.error("first record")
signal.raise_signal(signal.SIGUSR1)
signal.signal(signal.SIGUSR2, lambda *_: print("the other handler"))
signal.raise_signal(signal.SIGUSR2)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_uwsgi_worker_that_starts_telemetry_in_a_request_still_stops(
    number: signal.Signals, launcher: Launcher, receiver: Receiver
) -> None:
    """A worker stops at SIGINT of the master: uWSGI handles it in C, over a handler of Python."""
    (launcher.folder / "first_record.py").write_text(FIRST_RECORD_IN_A_REQUEST, encoding="utf-8")
    port = free_port()
    server = launcher.serve(
        *(str(BIN / "uwsgi"), "--http-socket", f"127.0.0.1:{port}", "--module", "first_record:app", "--master"),
        *("--virtualenv", sys.prefix, "--processes", "1", "--enable-threads", "--die-on-term"),
        command=RUN,
        OTEL_DISTRO_PROCESS_METRICS_DELAY="600",
    )
    assert server.ask(f"http://127.0.0.1:{port}/record") == (200, "ok")
    receiver.wait_for(lambda r: r.logs("first record"))
    assert server.stop(number) == 0


def test_faulthandler_of_a_signal_still_runs_after_telemetry_has_started(launcher: Launcher) -> None:
    """A handler that the application has replaced in C does not come back."""
    ended = launcher.run("-c", FAULTHANDLER, command=RUN)
    assert (ended.returncode, ended.stdout) == (0, "the other handler\n")
    assert 'File "<string>", line 6 in <module>' in ended.stderr
