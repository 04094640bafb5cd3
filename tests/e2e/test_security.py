"""What a real program does, and what real servers refuse, arrives as audit events; a flood of it takes nothing down."""

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
    """Return the events called so that have come."""
    return [log for log in receiver.logs() if log.event_name == name]


def test_flood_of_audit_events(launcher: Launcher, receiver: Receiver) -> None:
    """A third of a million events that match, and twice as many that do not: the program ends as ever, and all are accounted for.

    Told and counted as beyond the limit are together what happened; memory stays bounded; a forked child tells its own.
    """
    raised = 300_000
    ended = launcher.run(
        "audited.py", str(raised), OTEL_DISTRO_AUDIT_KINDS="all", OTEL_DISTRO_AUDIT_FILES=f"!{launcher.folder}/state/*"
    )
    assert (ended.returncode, ended.diagnostics()) == (7, [])
    # The file is made by an open, too, before the flood; the child opens it once.
    files = events(receiver, FILE)
    parent = {instance(log) for log in events(receiver, PROCESS)}
    mine = [log for log in files if instance(log) in parent]
    suppressed = sum(
        point.value
        for point in receiver.series(schema.AUDIT_SUPPRESSED.name, audit_name="file.sensitive")
        if instance(point) in parent
    )
    assert len(mine) + suppressed == raised + 1
    assert 30 <= len(mine) <= 40
    assert len(files) - len(mine) == 1
    assert receiver.total(schema.AUDIT_EVENTS.name, audit_name="file.sensitive") == len(files)
    assert int(ended.stdout) < 32 * 1024

    (process,) = events(receiver, PROCESS)
    assert process.attributes["process.command_args"][0] == "true"
    assert process.attributes["process.command_args"][2] == "plain"
    assert "hunter2" not in repr(receiver.logs())


def test_short_program_that_only_opens_a_sensitive_file(launcher: Launcher, receiver: Receiver) -> None:
    """Where the setting asks for it the hook is there at the first line; without it such a program tells nothing at all."""
    program = ("-c", "open('/etc/passwd').close()")
    assert launcher.run(*program).returncode == 0
    assert receiver.requests == []
    traced = launcher.run(*program, OTEL_DISTRO_AUDIT_KINDS="files")
    assert (traced.returncode, traced.stderr) == (0, "")
    (event,) = events(receiver, FILE)
    assert event.attributes["file.path"] == "/etc/passwd"


def test_program_that_replaces_itself(launcher: Launcher, receiver: Receiver) -> None:
    """What takes the place of a process is told before it is gone."""
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
def test_refused_requests(name: str, disabled: str, launcher: Launcher, receiver: Receiver) -> None:
    """Each refused request is one event with the client's address, in its trace where upstream's instrumentor runs."""
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
