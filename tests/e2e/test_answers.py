"""Answers are no errors, and the log record of a failed request has its trace."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from otel_distro import schema as s
from tests.support.processes import BIN, free_port
from tests.support.programs import APPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.programs import Launcher
    from tests.support.receiver import Receiver

ERROR = 17
"""Severity number of the level ERROR."""
SERVER = 2
"""The kind of the spans of served requests."""
SERVERS = {
    "uvicorn": (str(BIN / "uvicorn"), "--app-dir", str(APPS), "--port", "{port}", "failing_requests:app"),
    "gunicorn": (
        *(str(BIN / "gunicorn"), "--chdir", str(APPS), "--bind", "127.0.0.1:{port}"),
        "failing_requests:wsgi",
    ),
    "gunicorn-gthread": (
        *(str(BIN / "gunicorn"), "--chdir", str(APPS), "--bind", "127.0.0.1:{port}", "--worker-class", "gthread"),
        "failing_requests:wsgi",
    ),
    "werkzeug": ("failing_requests.py", "{port}"),
}


def test_answers_of_frameworks_are_no_errors(launcher: Launcher, receiver: Receiver) -> None:
    """Each leaves a span without status, event, record and count; a 503 does not."""
    ended = launcher.run("answers.py", OTEL_SERVICE_NAME="shop")
    assert (ended.returncode, ended.stdout.splitlines()) == (0, ["[404, 403]", "[403, 409, 503]", "410"]), ended.stderr
    names = ("Http404", "PermissionDenied", "abort 403", "abort 409", "HTTPException", "cancelled", "Exit")
    for span in [span for name in names for span in receiver.spans(name)]:
        assert (span.name, span.status, span.events) == (span.name, 0, ())
    assert len([span for name in names for span in receiver.spans(name)]) == len(names) + 1
    served = {span.attributes["http.response.status_code"]: span for span in receiver.spans() if span.kind == SERVER}
    assert {code: (span.status, len(span.events)) for code, span in served.items()} == {
        404: (0, 0),
        403: (0, 0),
        409: (0, 0),
        503: (2, 0),
        410: (0, 0),
    }

    (failed,) = receiver.spans("abort 503")
    assert (failed.status, [event.name for event in failed.events]) == (2, ["exception"])
    assert [log.span_id for log in receiver.logs() if log.severity >= ERROR] == [failed.span_id]
    assert receiver.total(s.PYTHON_EXCEPTIONS.name) == 1


@pytest.mark.parametrize("name", SERVERS)
def test_server_record_of_a_failed_request_has_its_trace(name: str, launcher: Launcher, receiver: Receiver) -> None:
    """It is the only record of the failure; a request that is answered with 404 has none."""
    port = free_port()
    server = launcher.serve(*(word.replace("{port}", str(port)) for word in SERVERS[name]))
    assert server.ask(f"http://127.0.0.1:{port}/missing")[0] == 404
    assert server.ask(f"http://127.0.0.1:{port}/fails")[0] == 500
    receiver.wait_for(lambda r: len([span for span in r.spans() if span.kind == SERVER]) == 2)
    server.stop(signal.SIGINT)
    answered, failed = [span for span in receiver.spans() if span.kind == SERVER]
    assert (answered.status, failed.status) == (0, 2)
    records = [log for log in receiver.logs() if log.severity >= ERROR and log.event_name == ""]
    assert [(log.trace_id, log.span_id) for log in records] == [(failed.trace_id, failed.span_id)]
    assert receiver.total(s.PYTHON_EXCEPTIONS.name) == 1


def test_server_record_of_a_chained_exception_has_the_trace_of_its_request(
    launcher: Launcher, receiver: Receiver
) -> None:
    """``raise RuntimeError from error`` in a request is one record, in its trace."""
    port = free_port()
    server = launcher.serve(*(word.replace("{port}", str(port)) for word in SERVERS["uvicorn"]))
    assert server.ask(f"http://127.0.0.1:{port}/chained")[0] == 500
    receiver.wait_for(lambda r: [span for span in r.spans() if span.kind == SERVER])
    server.stop(signal.SIGINT)
    (span,) = [span for span in receiver.spans() if span.kind == SERVER]
    (record,) = [log for log in receiver.logs() if log.severity >= ERROR]
    assert (record.scope, record.trace_id) == ("uvicorn.error", span.trace_id)


@pytest.mark.parametrize(
    "words",
    [
        SERVERS["uvicorn"],
        SERVERS["gunicorn"],
        (str(BIN / "celery"), "--workdir", str(APPS), "-A", "celery_tasks", "worker", "-P", "solo", "-l", "INFO"),
    ],
    ids=["uvicorn", "gunicorn", "celery"],
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_worker_stopped_by_a_signal_reports_no_error(
    words: Sequence[str], number: signal.Signals, launcher: Launcher, receiver: Receiver
) -> None:
    """A normal stop has no record at ERROR, no exception and no failed span."""
    port = free_port()
    broker = str(launcher.folder / "broker")
    server = launcher.serve(*(word.replace("{port}", str(port)) for word in words), BROKER=broker)
    server.wait_for_log("Application startup complete|Booting worker with pid| ready")
    if "celery" not in words[0]:
        assert server.ask(f"http://127.0.0.1:{port}/missing")[0] == 404
        # gunicorn logs an error where SIGINT interrupts a request that is still being sent.
        receiver.wait_for(lambda r: [span for span in r.spans() if span.kind == SERVER])
    server.stop(number)
    assert receiver.logs()
    assert [log.body for log in receiver.logs() if log.severity >= ERROR] == []
    assert [span.name for span in receiver.spans() if span.status == 2 or span.events] == []
    assert receiver.total(s.PYTHON_EXCEPTIONS.name) == 0
