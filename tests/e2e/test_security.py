"""Audit events of real programs and servers arrive, and a flood of them is limited."""

from __future__ import annotations

import signal
import urllib.error
import urllib.request

import pytest

from otel_distro import schema
from tests.support.processes import BIN, free_port
from tests.support.programs import APPS, Launcher
from tests.support.receiver import Log, Receiver, instance

FILE, PROCESS = schema.AUDIT_FILE_SENSITIVE.name, schema.AUDIT_PROCESS_START.name
REFUSED = schema.AUDIT_HTTP_REFUSED.name


def events(receiver: Receiver, name: str) -> list[Log]:
    """Return the received events of this name."""
    return [log for log in receiver.logs() if log.event_name == name]


def test_audit_flood_is_limited_and_every_event_is_counted(launcher: Launcher, receiver: Receiver) -> None:
    """Of 300,000 matching events and twice as many others, reported and suppressed ones add up.

    The exit status is unchanged, memory stays bounded, and a forked child reports its own events.
    """
    raised = 300_000
    ended = launcher.run(
        "audited.py", str(raised), OTEL_DISTRO_AUDIT_KINDS="all", OTEL_DISTRO_AUDIT_FILES=f"!{launcher.folder}/state/*"
    )
    assert (ended.returncode, ended.diagnostics()) == (7, [])
    # Creating the file before the flood is an open, too; the child opens it once.
    files = events(receiver, FILE)
    parent = {instance(log) for log in events(receiver, PROCESS)}
    of_parent = [log for log in files if instance(log) in parent]
    suppressed = sum(
        point.value
        for point in receiver.series(schema.AUDIT_EVENTS_RATE_LIMITED.name, audit_name="file.sensitive")
        if instance(point) in parent
    )
    assert len(of_parent) + suppressed == raised + 1
    assert 30 <= len(of_parent) <= 40
    assert len(files) - len(of_parent) == 1
    assert receiver.total(schema.AUDIT_EVENTS.name, audit_name="file.sensitive") == len(files)
    assert int(ended.stdout) < 32 * 1024

    (process,) = events(receiver, PROCESS)
    assert process.attributes["process.command_args"][0] == "true"
    assert process.attributes["process.command_args"][2] == "plain"
    assert "hunter2" not in repr(receiver.logs())


def test_audit_of_files_reports_an_open_in_a_short_program(launcher: Launcher, receiver: Receiver) -> None:
    """With the setting the hook works from the first line; without it no telemetry is sent."""
    program = ("-c", "open('/etc/passwd').close()")
    assert launcher.run(*program).returncode == 0
    assert receiver.requests == []
    traced = launcher.run(*program, OTEL_DISTRO_AUDIT_KINDS="files")
    assert (traced.returncode, traced.stderr) == (0, "")
    (event,) = events(receiver, FILE)
    assert event.attributes["file.path"] == "/etc/passwd"


def test_audit_of_processes_reports_exec_before_it_happens(launcher: Launcher, receiver: Receiver) -> None:
    """A program that calls exec reports the new process before it is replaced."""
    program = "import logging, os; logging.warning('on'); os.execv('/bin/true', ['true', 'x'])"
    assert launcher.run("-c", program, OTEL_DISTRO_AUDIT_KINDS="processes").returncode == 0
    launcher.run("-c", "import logging; logging.warning('next')")
    (event,) = events(receiver, PROCESS)
    assert event.attributes["process.command_args"] == ["true", "x"]


SERVERS = {
    "flask": ("guarded_flask.py",),
    "fastapi": (str(BIN / "uvicorn"), "--app-dir", str(APPS), "guarded_fastapi:app", "--port"),
}


@pytest.mark.parametrize("disabled", ["", "flask,fastapi,starlette,asgi,wsgi"], ids=["traced", "not traced"])
@pytest.mark.parametrize("name", SERVERS)
def test_audit_refused_request_is_one_event_in_its_trace(
    name: str, disabled: str, launcher: Launcher, receiver: Receiver
) -> None:
    """Each refused request is one event with the client's address, in the trace if there is one."""
    port = free_port()
    server = launcher.serve(
        *SERVERS[name], str(port), OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=disabled or None,
        OTEL_DISTRO_AUDIT_TRUST_PROXY="true",
    )  # fmt: skip
    base = f"http://127.0.0.1:{port}"
    assert server.ask(f"{base}/open")[0] == 200
    assert server.ask(f"{base}/secret/7?token=x")[0] == 401
    request = urllib.request.Request(f"{base}/closed", headers={"X-Forwarded-For": "6.6.6.6, 203.0.113.9"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, timeout=30)
    receiver.wait_for(lambda r: len(events(r, REFUSED)) == 2)
    server.stop(signal.SIGINT)
    first, second = events(receiver, REFUSED)
    assert len(events(receiver, REFUSED)) == 2
    assert [log.attributes["client.address"] for log in (first, second)] == ["127.0.0.1", "203.0.113.9"]
    assert [log.attributes["http.response.status_code"] for log in (first, second)] == [401, 403]
    assert (first.attributes["url.path"], first.severity) == ("/secret/7", 13)
    if not disabled:
        (span,) = (span for span in receiver.spans() if span.attributes.get("http.response.status_code") == 401)
        assert (first.trace_id, first.span_id) == (span.trace_id, span.span_id)
    assert receiver.total(schema.AUDIT_EVENTS.name, audit_name="http.refused", audit_outcome="failure") == 2
