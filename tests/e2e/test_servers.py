"""Web servers under their usual commands report each request once, from the first to the last."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import BIN, Process, free_port
from tests.support.programs import APPS, INSTRUMENT, RUN, Command, Launcher
from tests.support.receiver import Receiver, Span, instance

if TYPE_CHECKING:
    from collections.abc import Sequence

SERVER = 2
"""The kind of the spans of served requests."""


def ask_items(server: Process, base: str, pids: int) -> Counter[int]:
    """Request items until ``pids`` processes have answered; return the requests by process."""
    served: Counter[int] = Counter()
    for number in range(1, 501):
        status, body = server.ask(f"{base}/items/{number}")
        assert status == 200, body
        served[json.loads(body)["pid"]] += 1
        if len(served) == pids and number >= 4:
            return served
    raise AssertionError(f"of 500 requests all went to {served}")


def requests_of(receiver: Receiver) -> list[Span]:
    """Return the spans of served requests."""
    return [span for span in receiver.spans() if span.kind == SERVER]


def wait_for_requests(receiver: Receiver, count: int) -> None:
    """Wait until that many spans of served requests have come."""
    receiver.wait_for(lambda r: len(requests_of(r)) == count)


def check_requests(receiver: Receiver, served: Counter[int], route: str) -> None:
    """Check that each request is one span, one log record in it and one count in its process."""
    spans = requests_of(receiver)
    assert served == Counter(span.resource["process.pid"] for span in spans)
    assert {(route, "GET", 200)} == {
        (
            span.attributes["http.route"],
            span.attributes["http.request.method"],
            span.attributes["http.response.status_code"],
        )
        for span in spans
    }
    instances = {span.resource["process.pid"]: instance(span) for span in spans}
    assert len(set(instances.values())) == len(served)
    logs = [log for log in receiver.logs() if str(log.body).startswith("item ")]
    assert Counter(span.span_id for span in spans) == Counter(log.span_id for log in logs)
    durations = receiver.series("http.server.request.duration", http_route=route)
    assert {instances[pid]: count for pid, count in served.items()} == {instance(p): p.value for p in durations}


@pytest.mark.parametrize("command", [INSTRUMENT, RUN])
def test_flask_request_span_holds_queries_logs_and_errors(
    command: Command, launcher: Launcher, receiver: Receiver
) -> None:
    """SQL, logs and errors belong to the request's span; health checks have none; Ctrl-C works."""
    port = free_port()
    server = launcher.serve("flask_shop.py", str(port), command=command, OTEL_SERVICE_NAME="shop")
    served = ask_items(server, f"http://127.0.0.1:{port}", 1)
    assert server.ask(f"http://127.0.0.1:{port}/healthz") == (200, "fine")
    receiver.wait_for(lambda r: len(requests_of(r)) == 4)
    assert server.ask(f"http://127.0.0.1:{port}/items/0")[0] == 500
    receiver.wait_for(lambda r: len(requests_of(r)) == 5)
    failed = requests_of(receiver)[-1]
    assert server.stop(signal.SIGINT) == 0

    assert (failed.status, failed.attributes["http.response.status_code"]) == (2, 500)
    assert receiver.total("http.server.request.duration") == 5
    assert {"shop"} == {span.resource["service.name"] for span in receiver.spans()}
    spans = [span for span in requests_of(receiver) if span != failed]
    assert served.total() == len(spans)
    for span in spans:
        (log,) = [log for log in receiver.logs() if log.span_id == span.span_id]
        assert (log.trace_id, log.scope) == (span.trace_id, "flask_shop")
        below = [child.name for child in receiver.spans() if child.parent_id == span.span_id]
        assert "SELECT shop.db" in below


FASTAPI = (str(BIN / "uvicorn"), "--app-dir", str(APPS), "fastapi_shop:app", "--port")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("command", [INSTRUMENT, RUN])
def test_fastapi_under_uvicorn_reports_each_request_once_at_sigterm(
    workers: int, command: Command, launcher: Launcher, receiver: Receiver
) -> None:
    """Each request is one span of its worker; SIGTERM delivers the spans that are still queued."""
    port = free_port()
    words = (*FASTAPI, str(port), *(("--workers", str(workers)) if workers > 1 else ()))
    bare = launcher.serve(*words, command="bare")
    bare.ask(f"http://127.0.0.1:{port}/healthz")
    status = bare.stop()

    server = launcher.serve(*words, command=command, OTEL_METRIC_EXPORT_INTERVAL="600000")
    served = ask_items(server, f"http://127.0.0.1:{port}", workers)
    assert server.ask(f"http://127.0.0.1:{port}/healthz") == (200, '"fine"')
    assert server.stop() == status
    check_requests(receiver, served, "/items/{number}")


def test_fastapi_route_in_a_thread_logs_with_the_request_span(launcher: Launcher, receiver: Receiver) -> None:
    """The log record of a route that runs in a thread has the ids of the request's span."""
    port = free_port()
    server = launcher.serve(*FASTAPI, str(port))
    server.ask(f"http://127.0.0.1:{port}/threads/7")
    server.stop()
    (span,) = requests_of(receiver)
    (log,) = receiver.logs("thread 7")
    assert (log.trace_id, log.span_id) == (span.trace_id, span.span_id)


def test_fastapi_under_uvicorn_reload_reports_requests_before_and_after(launcher: Launcher, receiver: Receiver) -> None:
    """The workers before and after a change of the source both deliver their requests."""
    source = Path(shutil.copy(APPS / "fastapi_shop.py", launcher.folder))
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    server = launcher.serve(str(BIN / "uvicorn"), "fastapi_shop:app", "--reload", "--port", str(port))
    served = ask_items(server, base, 1)
    source.write_text(source.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    server.wait_for_log(r"Application startup complete", times=2)
    served += ask_items(server, base, 1)
    server.stop(signal.SIGINT)
    receiver.wait_for(lambda r: len(requests_of(r)) == served.total())
    assert len(served) == 2
    check_requests(receiver, served, "/items/{number}")


GUNICORN = (str(BIN / "gunicorn"), "--workers", "2", "--chdir")


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["sync", "preload"])
@pytest.mark.parametrize("command", [INSTRUMENT, RUN])
def test_flask_under_gunicorn_workers_are_instances_of_their_own(
    options: Sequence[str], command: Command, launcher: Launcher, receiver: Receiver
) -> None:
    """Each worker is an instance whose counters begin at zero, without the master's counts."""
    port = free_port()
    database = str(launcher.folder)
    for source in ("flask_shop.py",):
        shutil.copy(APPS / source, launcher.folder)
    words = (*GUNICORN, database, "--bind", f"127.0.0.1:{port}", *options, "flask_shop:app")
    server = launcher.serve(*words, command=command)
    served = ask_items(server, f"http://127.0.0.1:{port}", 2)
    assert server.stop() == 0
    check_requests(receiver, served, "/items/<int:number>")

    prepared = receiver.series("db.client.operation.duration", db_operation_name="PRAGMA", db_namespace="shop.db")
    workers = {instance(span) for span in requests_of(receiver)}
    if options:
        (once,) = prepared
        assert once.value == 1
        assert instance(once) not in workers
    else:
        assert [point.value for point in prepared] == [1, 1]
        assert workers == {instance(point) for point in prepared}
    selects = receiver.series("db.client.operation.duration", db_operation_name="SELECT", db_namespace="shop.db")
    assert served.total() == sum(point.value for point in selects)


@pytest.mark.parametrize(
    ("app", "options"),
    [
        ("flask_shop", ("--worker-class", "gthread", "--threads", "2")),
        ("flask_shop", ("--worker-class", "gevent")),
        ("fastapi_shop", ("--worker-class", "uvicorn_worker.UvicornWorker", "--max-requests", "5")),
    ],
    ids=["gthread", "gevent", "uvicorn"],
)
def test_gunicorn_worker_class_reports_each_request_once(
    app: str, options: Sequence[str], launcher: Launcher, receiver: Receiver
) -> None:
    """Threads, greenlets and workers that restart report each request once."""
    port = free_port()
    shutil.copy(APPS / f"{app}.py", launcher.folder)
    words = (*GUNICORN, str(launcher.folder), "--bind", f"127.0.0.1:{port}", *options, f"{app}:app")
    server = launcher.serve(*words, OTEL_METRIC_EXPORT_INTERVAL="600000")
    served = ask_items(server, f"http://127.0.0.1:{port}", 2)
    # A new worker has the signal handler of gunicorn's master for a moment and may ignore SIGTERM:
    # gunicorn kills it after 30 s.
    assert server.stop(timeout=60) == 0
    check_requests(receiver, served, "/items/{number}" if app == "fastapi_shop" else "/items/<int:number>")


@pytest.mark.parametrize("options", [("--master",), ("--master", "--lazy-apps")], ids=" ".join)
def test_flask_under_uwsgi_workers_are_instances_of_their_own(
    options: Sequence[str], launcher: Launcher, receiver: Receiver
) -> None:
    """Workers that uWSGI forks in C are instances, with the application loaded before or after."""
    port = free_port()
    shutil.copy(APPS / "flask_shop.py", launcher.folder)
    server = launcher.serve(
        *(str(BIN / "uwsgi"), "--http-socket", f"127.0.0.1:{port}", "--module", "flask_shop:app", "--enable-threads"),
        *("--virtualenv", sys.prefix, "--processes", "2", "--die-on-term", *options),
        OTEL_METRIC_EXPORT_INTERVAL="600000",
    )
    served = ask_items(server, f"http://127.0.0.1:{port}", 2)
    # uWSGI kills workers that have not spooled their last request yet.
    receiver.wait_for(lambda r: len(requests_of(r)) == served.total())
    once = {"db_operation_name": "PRAGMA", "db_namespace": "shop.db"}
    if "--lazy-apps" not in options:
        # The first worker reports the counts of the process that loaded the application, in its name.
        receiver.wait_for(lambda r: r.total("db.client.operation.duration", **once) == 1)
    assert server.stop() == 0
    receiver.wait_for(lambda r: r.total("http.server.request.duration") == served.total())
    check_requests(receiver, served, "/items/<int:number>")
    prepared = receiver.series("db.client.operation.duration", **once)
    assert [point.value for point in prepared] == ([1, 1] if "--lazy-apps" in options else [1])
    assert ({instance(span) for span in requests_of(receiver)} == {instance(p) for p in prepared}) is (
        "--lazy-apps" in options
    )


def test_django_runserver_reports_requests_of_the_reloaded_process(launcher: Launcher, receiver: Receiver) -> None:
    """The child of the autoreloader reports requests; only manage.py names the settings."""
    project = shutil.copytree(APPS / "django_shop", launcher.folder / "django_shop")
    port = free_port()
    command = (sys.executable, str(project / "manage.py"), "runserver", f"127.0.0.1:{port}")
    server = launcher.serve(*command, OTEL_METRIC_EXPORT_INTERVAL="500")
    served = ask_items(server, f"http://127.0.0.1:{port}", 1)
    # Before the stop: the autoreloader kills its child a quarter of a second after Ctrl-C.
    receiver.wait_for(
        lambda r: (
            len(requests_of(r)) == served.total()
            and r.points("http.server.request.duration")
            and r.total("http.server.request.duration") == served.total()
        )
    )
    server.stop_group(signal.SIGINT)
    check_requests(receiver, served, "/items/<int:number>")
    (point,) = receiver.series("http.server.request.duration")
    assert point.resource["process.pid"] != server.pid
    assert "SELECT" in {span.name.split()[0] for span in receiver.spans() if span.kind != SERVER}


def test_django_under_gunicorn_reports_each_request_once(launcher: Launcher, receiver: Receiver) -> None:
    """Requests of two workers are reported once, health checks are not."""
    port = free_port()
    project = shutil.copytree(APPS / "django_shop", launcher.folder / "django_shop")
    server = launcher.serve(*GUNICORN, str(project), "--bind", f"127.0.0.1:{port}", "shop.wsgi")
    served = ask_items(server, f"http://127.0.0.1:{port}", 2)
    assert server.ask(f"http://127.0.0.1:{port}/healthz") == (200, "fine")
    assert server.stop() == 0
    check_requests(receiver, served, "/items/<int:number>")


BARE = ("/list", "/steps", "/file", "/nowhere", "/fail")


@pytest.mark.parametrize("kind", ["waitress", "gevent", "gunicorn sync", "gunicorn gevent"])
def test_application_without_framework_is_recorded_and_answers_as_bare(
    kind: str, launcher: Launcher, receiver: Receiver
) -> None:
    """Each request is a root span, and the client gets what it gets without telemetry."""
    found: list[list[tuple[int, str]]] = []
    shutil.copy(APPS / "bare_wsgi.py", launcher.folder)
    for command in ("bare", RUN):
        port = free_port()
        words: Sequence[str] = ("bare_wsgi.py", kind, str(port))
        if kind.startswith("gunicorn"):
            options = ("--chdir", str(launcher.folder), "--worker-class", kind.split()[1])
            words = (str(BIN / "gunicorn"), *options, "--bind", f"127.0.0.1:{port}", "bare_wsgi:application")
        server = launcher.serve(*words, command=command)
        found.append([server.ask(f"http://127.0.0.1:{port}{path}") for path in BARE])
        server.stop()
    assert found[0] == found[1]
    assert [status for status, _ in found[1]] == [200, 200, 200, 404, 500]
    receiver.wait_for(lambda r: len(requests_of(r)) == len(BARE))
    spans = {str(span.attributes["url.path"]): span for span in requests_of(receiver)}
    assert set(spans) == set(BARE)
    assert {span.parent_id for span in spans.values()} == {""}
    assert {span.name for span in spans.values()} == {"GET"}
    failed = spans["/fail"]
    assert (failed.status, failed.attributes["error.type"], len(failed.events)) == (2, "ValueError", 1)
    receiver.wait_for(lambda r: r.total("http.server.request.duration") == len(BARE))


def test_request_that_gunicorn_times_out_is_an_error(launcher: Launcher, receiver: Receiver) -> None:
    """The worker is killed in the middle of a request; its span arrives."""
    port = free_port()
    shutil.copy(APPS / "bare_wsgi.py", launcher.folder)
    words = (str(BIN / "gunicorn"), "--chdir", str(launcher.folder), "--timeout", "1", "--bind", f"127.0.0.1:{port}")
    server = launcher.serve(*words, "bare_wsgi:application")
    assert server.ask(f"http://127.0.0.1:{port}/slow")[0] == 500
    receiver.wait_for(lambda r: len(requests_of(r)) == 1)
    (span,) = requests_of(receiver)
    assert (span.status, span.attributes["http.response.status_code"]) == (2, 500)
    assert server.ask(f"http://127.0.0.1:{port}/list")[0] == 200
    assert server.stop() == 0


def test_request_whose_response_is_sent_survives_a_signal_at_once(launcher: Launcher, receiver: Receiver) -> None:
    """A server in one thread is killed between the last byte and the end of the request."""
    for number in range(1, 4):
        port = free_port()
        server = launcher.serve("bare_wsgi.py", "wsgiref", str(port), command=RUN)
        assert server.ask(f"http://127.0.0.1:{port}/list")[0] == 200
        wait_for_requests(receiver, 2 * number - 1)
        assert server.ask(f"http://127.0.0.1:{port}/steps") == (200, "ab")
        server.stop()
        wait_for_requests(receiver, 2 * number)


def test_request_without_a_response_is_an_error_when_the_process_is_killed(
    launcher: Launcher, receiver: Receiver
) -> None:
    """The client got nothing; the span says so instead of being lost."""
    port = free_port()
    server = launcher.serve("bare_wsgi.py", "waitress", str(port), command=RUN)
    assert server.ask(f"http://127.0.0.1:{port}/list")[0] == 200
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /slow HTTP/1.1\r\nHost: here\r\n\r\n")
        receiver.wait_for(lambda r: len(requests_of(r)) == 1)
        server.stop()
    receiver.wait_for(lambda r: len(requests_of(r)) == 2)
    (span,) = [span for span in requests_of(receiver) if span.attributes["url.path"] == "/slow"]
    assert (span.status, span.attributes["error.type"]) == (2, "interrupted")
    assert "http.response.status_code" not in span.attributes


ASGI_SERVERS = {
    "uvicorn": ("uvicorn", "bare_asgi:app", "--port"),
    "hypercorn": ("hypercorn", "bare_asgi:app", "--bind"),
    "granian": ("granian", "--interface", "asgi", "bare_asgi:app", "--port"),
    "gunicorn": ("gunicorn", "--worker-class", "uvicorn_worker.UvicornWorker", "bare_asgi:app", "--bind"),
}


@pytest.mark.parametrize("name", ASGI_SERVERS)
def test_bare_asgi_application_is_recorded_by_its_server(name: str, launcher: Launcher, receiver: Receiver) -> None:
    """Each request is one root span with its log record; a failure is an error of its request."""
    port = free_port()
    program, *words = ASGI_SERVERS[name]
    where = f"127.0.0.1:{port}" if words[-1] == "--bind" else str(port)
    server = launcher.serve(str(BIN / program), *words, where, command=RUN, PYTHONPATH=str(APPS))
    served = ask_items(server, f"http://127.0.0.1:{port}", 1)
    assert server.ask(f"http://127.0.0.1:{port}/fail")[0] == 500
    server.stop()
    (failed,) = [span for span in requests_of(receiver) if span.status == 2]
    assert failed.attributes["http.response.status_code"] == 500
    assert [event.attributes["exception.type"] for event in failed.events] == ["ValueError"]
    spans = [span for span in requests_of(receiver) if span != failed]
    assert served == Counter(span.resource["process.pid"] for span in spans)
    assert {span.parent_id for span in spans} == {""}
    assert len({span.trace_id for span in spans}) == len(spans)
    logs = [log for log in receiver.logs() if str(log.body).startswith("item ")]
    assert Counter(span.span_id for span in requests_of(receiver)) == Counter(log.span_id for log in logs)


@pytest.mark.parametrize("disabled", ["", "fastapi"], ids=["recorded", "left to it"])
@pytest.mark.parametrize("configures", ["", "true"], ids=["", "with exporters"])
def test_fastapi_telemetry_is_one_span_and_one_record(
    disabled: str, configures: str, launcher: Launcher, receiver: Receiver
) -> None:
    """FastAPI's own telemetry is the source or silent, and adds no exporter."""
    port = free_port()
    server = launcher.serve(
        str(BIN / "uvicorn"),
        "native_fastapi:app",
        "--port",
        str(port),
        command=RUN,
        PYTHONPATH=str(APPS),
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=disabled,
        FASTAPI_OTEL_AUTO_CONFIGURE=configures,
    )
    assert server.ask(f"http://127.0.0.1:{port}/items/7?password=hunter22")[0] == 200
    assert server.ask(f"http://127.0.0.1:{port}/fail")[0] == 500
    server.stop()
    assert sorted(span.name for span in receiver.spans()) == ["GET /fail", "GET /items/{number}"]
    assert "hunter22" not in str(receiver.spans()) + str(receiver.logs())
    failures = [log for log in receiver.logs() if "exception.type" in log.attributes]
    assert [log.attributes["exception.type"] for log in failures] == ["RuntimeError"]
    assert receiver.total("http.server.request.duration") == 2
