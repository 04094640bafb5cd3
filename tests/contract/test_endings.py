"""Requests whose process ends: by a time-out, or by Ctrl-C after the last request."""

from __future__ import annotations

import http.client
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.contract.evidence import SERVER
from tests.contract.servers import APPS, gunicorn
from tests.support.processes import BIN, free_port
from tests.support.programs import RUN

if TYPE_CHECKING:
    from tests.support.programs import Launcher
    from tests.support.receiver import Receiver, Span

ENV = {"PYTHONPATH": str(APPS), "PYTHONDONTWRITEBYTECODE": "1"}


def requests_of(receiver: Receiver) -> list[Span]:
    """Return the spans of served requests."""
    return [span for span in receiver.spans() if span.kind == SERVER]


def ask(port: int, path: str) -> int:
    """Send a GET and return the status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


@pytest.mark.parametrize("module", ["bare_wsgi", "flask_app", "django_app"])
def test_request_whose_worker_times_out_has_a_span_with_an_error(
    module: str, launcher: Launcher, receiver: Receiver
) -> None:
    """A request that gunicorn's time-out ends is an error, and is not active any more."""
    port = free_port()
    words = [word.format(module=module, port=port) for word in gunicorn("sync", "--timeout", "2")]
    server = launcher.serve(str(BIN / words[0]), *words[1:], command=RUN, **ENV)
    server.ask(f"http://127.0.0.1:{port}/healthz")
    assert ask(port, "/hang") == 500
    receiver.wait_for(lambda _: requests_of(receiver))
    server.ask(f"http://127.0.0.1:{port}/plain/after")
    receiver.wait_for(lambda _: len(requests_of(receiver)) == 2)
    assert server.stop() == 0
    timed_out, after = requests_of(receiver)
    assert (timed_out.attributes["url.path"], timed_out.status) == ("/hang", 2)
    assert (timed_out.attributes["http.response.status_code"], timed_out.attributes["error.type"]) == (
        500,
        "SystemExit",
    )
    assert len(timed_out.events) <= 1
    assert (after.attributes["url.path"], after.status) == ("/plain/after", 0)
    assert receiver.total("http.server.request.duration") == 2
    assert receiver.total("http.server.active_requests") == 0


RELOADERS = {
    "runserver": (sys.executable, str(APPS / "django_app.py"), "runserver", "127.0.0.1:{port}"),
    "werkzeug": (sys.executable, str(APPS / "serve.py"), "werkzeug", "flask_app", "{port}", "reload"),
    "uvicorn": (str(BIN / "uvicorn"), "starlette_app:app", "--port", "{port}", "--reload"),
}


@pytest.mark.parametrize("name", RELOADERS)
def test_server_with_a_reloader_loses_nothing_at_ctrl_c(name: str, launcher: Launcher, receiver: Receiver) -> None:
    """All requests arrive although Ctrl-C follows the last one at once."""
    port = free_port()
    server = launcher.serve(*(word.format(port=port) for word in RELOADERS[name]), command=RUN, **ENV)
    server.ask(f"http://127.0.0.1:{port}/healthz")
    assert [ask(port, f"/plain/{number}") for number in range(3)] == [200] * 3
    server.stop_group(signal.SIGINT)
    receiver.wait_for(lambda _: len(requests_of(receiver)) >= 3)
    assert [span.attributes["url.path"] for span in requests_of(receiver)] == ["/plain/0", "/plain/1", "/plain/2"]
    assert receiver.total("http.server.request.duration") == 3
