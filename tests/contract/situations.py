"""The situations: what the client does, then, after the ``yield``, what is right.

The name of a function is the name of the situation. All calls of one run go to one process; the
checks run when it has ended and everything that it sent has arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from tests.contract.evidence import Evidence
from tests.contract.websocket_situations import WEBSOCKETS

if TYPE_CHECKING:
    from tests.contract.client import Client

Steps = Generator[None, Evidence, None]
Situation = Callable[["Client"], Steps]

SECRET = "hunter2-in-a-query"
SECRET_HEADER = "asked-in-confidence"
UNKNOWN_PATHS = 30


def plain(client: Client) -> Steps:
    """A GET is one root span with the template, and the application's line is in it."""
    call = client.get("/plain/first")
    evidence = yield
    span = evidence.check_route(call, "/plain/{n}")
    assert span.parent_id == ""
    assert span.attributes["http.response.status_code"] == 200
    evidence.check_no_error(call)
    assert [each.name for each in evidence.receiver.spans() if each.trace_id == span.trace_id] == [span.name]
    assert {(log.trace_id, log.span_id) for log in evidence.lines("plain first")} == {(span.trace_id, span.span_id)}


def root(client: Client) -> Steps:
    """The root path has its slash in route and name."""
    call = client.get("/")
    evidence = yield
    span = evidence.span(call)
    assert span.name == ("GET /" if evidence.pair.framework.styles else "GET")
    assert span.attributes.get("http.route", "/") in {"/", "" if not evidence.pair.framework.leading_slash else "/"}


def mount(client: Client) -> Steps:
    """The template is whole through two levels of mounts, blueprints or routers."""
    call = client.get("/api/v1/users/u7/posts/p9")
    evidence = yield
    assert call.body == "u7 p9"
    evidence.check_route(call, "/api/v1/users/{uid}/posts/{pid}")


def nested_parameter(client: Client) -> Steps:
    """The template is whole below a mount whose prefix has a parameter."""
    call = client.get("/sub/acme/things/t3")
    evidence = yield
    assert call.body == "acme t3"
    evidence.check_route(call, "/sub/{tenant}/things/{tid}")


def host(client: Client) -> Steps:
    """A route of a host has its template."""
    call = client.get("/onhost/seven", headers={"Host": "h.example.org"})
    evidence = yield
    assert call.body == "seven"
    evidence.check_route(call, "/onhost/{z}")


def nested(client: Client) -> Steps:
    """An application in an application is one span and one measurement, with the whole template."""
    call = client.get("/inner/plain/nested")
    other = client.get("/wsgi/plain/other") if client.pair.framework.other else None
    evidence = yield
    assert call.body == "plain nested"
    evidence.check_no_error(call)
    span = evidence.check_route(call, "/inner/plain/{n}")
    if other is not None:
        assert other.body == "plain other"
        evidence.check_no_error(other)
        assert evidence.span(other).attributes["http.route"] == client.pair.framework.other
    for route in filter(None, (span.attributes.get("http.route"), client.pair.framework.other)):
        assert evidence.receiver.total("http.server.request.duration", http_route=route) == 1


def head(client: Client) -> Steps:
    """A HEAD is named as such, with the route where the application answers it."""
    call = client.send("HEAD", "/plain/head")
    evidence = yield
    span = evidence.span(call)
    if call.status == 200:
        evidence.check_route(call, "/plain/{n}")
    else:
        check_bounded_name(evidence, span.name, "HEAD", "/plain/{n}")


def other_method(client: Client) -> Steps:
    """A method that the route does not have gives a bounded name and no error."""
    calls = [client.send("DELETE", f"/plain/deleted-{number}") for number in range(2)]
    evidence = yield
    for call in calls:
        check_bounded_name(evidence, evidence.span(call).name, "DELETE", "/plain/{n}")
        evidence.check_no_error(call)


def options(client: Client) -> Steps:
    """OPTIONS gives a bounded name and no error."""
    call = client.send("OPTIONS", "/plain/options")
    evidence = yield
    check_bounded_name(evidence, evidence.span(call).name, "OPTIONS", "/plain/{n}")
    evidence.check_no_error(call)


def check_bounded_name(evidence: Evidence, name: str, method: str, template: str) -> None:
    """Check that a name is the method alone or with the template."""
    routes = evidence.pair.framework.routes(template)
    assert name in {method, *(f"{method} /{route.lstrip('/')}" for route in routes if route)}


def unknown_method(client: Client) -> Steps:
    """An unknown method is ``_OTHER``, and never in a name."""
    call = client.send("BREW", "/plain/coffee")
    evidence = yield
    span = evidence.span(call)
    assert span.attributes["http.request.method"] == "_OTHER"
    assert span.attributes["http.request.method_original"] == "BREW"
    check_bounded_name(evidence, span.name, "HTTP", "/plain/{n}")
    evidence.check_no_error(call)


def unknown_path(client: Client) -> Steps:
    """Any number of unknown paths is one span name, one series and no error."""
    calls = [client.get(f"/nowhere/{number}") for number in range(UNKNOWN_PATHS)]
    evidence = yield
    assert {call.status for call in calls} == {404}
    spans = [evidence.span(call) for call in calls]
    assert {(span.name, span.attributes.get("http.route")) for span in spans} == {("GET", None)}
    evidence.check_no_error(calls[0])
    series = evidence.receiver.series("http.server.request.duration", http_response_status_code=404)
    assert max(point.value for point in series if "http.route" not in point.attributes) >= UNKNOWN_PATHS


def unknown_in_mount(client: Client) -> Steps:
    """An unknown path in a mount has a bounded name, without values of the path."""
    calls = [client.get(f"{prefix}/nowhere-{number}") for prefix in ("/api/v1", "/sub/acme") for number in range(3)]
    evidence = yield
    assert {call.status for call in calls} == {404}
    names = {evidence.span(call).name for call in calls}
    assert len(names) <= 2
    assert not [name for name in names if "nowhere" in name]
    for call in calls:
        evidence.check_no_error(call)


def query(client: Client) -> Steps:
    """The query is on the span, its secrets are redacted, here and in lines of servers."""
    call = client.get("/plain/query", query=f"colour=blue&api_key={SECRET}&password={SECRET}")
    evidence = yield
    span = evidence.span(call)
    assert "colour=blue" in span.attributes["url.query"]
    assert "?" not in span.attributes["url.path"]
    assert not [body for body in evidence.receiver.bodies if SECRET.encode() in body]


def upload(client: Client) -> Steps:
    """The application gets the whole body; the next request on the connection is its own trace.

    A server that resumes reading for a request may keep the context of that request.
    """
    call = client.send("POST", "/upload", body=b"x" * 300_000)
    after = client.get("/plain/after")
    evidence = yield
    assert (call.status, call.body) == (200, "300000")
    spans = evidence.check_route(call, "/upload"), evidence.check_route(after, "/plain/{n}")
    assert [span.parent_id for span in spans] == ["", ""]
    evidence.check_no_error(call)


def stream(client: Client) -> Steps:
    """The span lasts until the last chunk, and the generator's lines are in it."""
    call = client.get("/stream")
    evidence = yield
    assert call.body == "chunk chunk chunk "
    span = evidence.check_route(call, "/stream")
    lines = [log for number in range(3) for log in evidence.lines(f"stream {number}")]
    assert [(log.trace_id, log.span_id) for log in lines] == [(span.trace_id, span.span_id)] * 3
    assert span.start <= lines[0].time
    assert lines[-1].time <= span.end
    evidence.check_no_error(call)


def stream_fails(client: Client) -> Steps:
    """A failure after the first byte is an error with the status that the client got."""
    call = client.get("/stream-fails")
    evidence = yield
    assert (call.status, call.complete) == (
        evidence.bare.calls[call.number].status,
        evidence.bare.calls[call.number].complete,
    )
    span = evidence.span(call)
    kind = evidence.pair.framework.stream_error
    evidence.check_error(call, kind)
    assert span.attributes.get("http.response.status_code") == call.status
    (point,) = [p for p in evidence.receiver.series("http.server.request.duration") if is_of(p.attributes, kind)]
    assert (point.value, point.attributes.get("http.response.status_code")) == (1, call.status)


def is_of(attributes: object, kind: str) -> bool:
    """Return whether attributes have this class as ``error.type``."""
    return isinstance(attributes, dict) and str(attributes.get("error.type")).rpartition(".")[2] == kind


def raises(client: Client) -> Steps:
    """A failure before the first byte: one exception event, one record, counted once."""
    call = client.get("/raises")
    evidence = yield
    evidence.check_route(call, "/raises")
    evidence.check_error(call, "Broken")
    if call.status is not None:
        assert evidence.span(call).attributes["http.response.status_code"] == call.status == 500
    (point,) = [p for p in evidence.receiver.series("http.server.request.duration") if is_of(p.attributes, "Broken")]
    assert (point.value, point.attributes["http.response.status_code"]) == (1, 500)


def handled(client: Client) -> Steps:
    """An exception that a handler answers with a status below 500 is no error."""
    calls = [client.get(f"/handled/{status}") for status in (400, 404)]
    evidence = yield
    assert [call.status for call in calls] == [400, 404]
    for call in calls:
        assert evidence.span(call).attributes["http.response.status_code"] == call.status
        evidence.check_no_error(call)
    assert not [log for log in evidence.records("Refusal") if "refused with 500" not in str(log.attributes)]


def handled_500(client: Client) -> Steps:
    """An exception that a handler answers with 500 is an error, recorded at most once."""
    call = client.get("/handled/500")
    evidence = yield
    span = evidence.span(call)
    assert (call.status, span.status, span.attributes["http.response.status_code"]) == (500, 2, 500)
    assert str(span.attributes["error.type"]).rpartition(".")[2] in {"500", "Refusal"}
    assert len(span.events) <= 1
    assert evidence.exceptions("Refusal") <= 1


def abort(client: Client) -> Steps:
    """403 and 404 in the framework's own way are no errors."""
    calls = [client.get(f"/abort/{status}") for status in (403, 404)]
    evidence = yield
    assert [call.status for call in calls] == [403, 404]
    for call in calls:
        evidence.check_no_error(call)


def redirect(client: Client) -> Steps:
    """A redirect is no error."""
    call = client.get("/redirect")
    evidence = yield
    assert call.status == 302
    evidence.check_route(call, "/redirect")
    evidence.check_no_error(call)


def unavailable(client: Client) -> Steps:
    """A 503 without an exception is an error whose type is the status."""
    call = client.get("/unavailable")
    evidence = yield
    span = evidence.span(call)
    assert (call.status, span.status, span.attributes.get("error.type"), span.events) == (503, 2, "503", ())
    (point,) = evidence.receiver.series("http.server.request.duration", http_response_status_code=503)
    assert point.attributes["error.type"] == "503"


def client_leaves_stream(client: Client) -> Steps:
    """A client that leaves a stream ends its span, without an error.

    Some frameworks log it as one themselves; that record is theirs, and is counted as no exception.
    """
    call = client.leave_stream("/endless")
    evidence = yield
    span = evidence.check_route(call, "/endless")
    assert (span.status, span.events) == (0, ())
    assert "error.type" not in span.attributes


def client_leaves_before_answer(client: Client) -> Steps:
    """A client that leaves while the application works ends its span, without an error."""
    call = client.leave_before_answer("/late")
    evidence = yield
    evidence.check_route(call, "/late")
    evidence.check_no_error(call)


def background(client: Client) -> Steps:
    """The span ends with the response, and the task's line has its trace."""
    call = client.get("/background/task")
    evidence = yield
    span = evidence.check_route(call, "/background/{n}")
    (line,) = evidence.lines("background task")
    assert line.trace_id == span.trace_id
    assert span.end < line.time


def parent(client: Client) -> Steps:
    """A trace of the client continues."""
    trace, caller = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    call = client.get("/plain/parent", headers={"traceparent": f"00-{trace}-{caller}-01"})
    evidence = yield
    span = evidence.span(call)
    assert (span.trace_id, span.parent_id) == (trace, caller)


def bad_parent(client: Client) -> Steps:
    """A bad ``traceparent`` is ignored."""
    bad = (
        "garbage",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-xyz-01",
        "00-",
    )
    calls = [client.get(f"/plain/bad-{number}", headers={"traceparent": text}) for number, text in enumerate(bad)]
    evidence = yield
    for call in calls:
        assert evidence.span(call).parent_id == ""
        evidence.check_no_error(call)


def health(client: Client) -> Steps:
    """Health routes are left out by default, routes that only look like them are not."""
    left_out = client.get("/healthz", counted=False)
    call = client.get("/myhealthz-report")
    evidence = yield
    evidence.check_route(call, "/myhealthz-report")
    assert evidence.spans(left_out) == []


def excluded(client: Client) -> Steps:
    """URLs that the user excluded are left out, others are not."""
    left_out = client.get("/excluded/7", counted=False)
    call = client.get("/myhealthz-report")
    evidence = yield
    assert (left_out.status, evidence.spans(left_out)) == (200, [])
    evidence.check_route(call, "/myhealthz-report")


def headers(client: Client) -> Steps:
    """Headers that the user names are on the span, the secret ones without their values."""
    call = client.get("/headers", headers={"X-Asked": "seven", "X-Secret": SECRET_HEADER})
    evidence = yield
    attributes = {name.replace("-", "_"): value for name, value in evidence.span(call).attributes.items()}
    assert attributes.get("http.request.header.x_asked") == ["seven"]
    assert attributes.get("http.response.header.x_answer") == ["forty-two"]
    assert {"http.request.header.x_secret", "http.response.header.x_secret_answer"} <= set(attributes)
    for secret in (SECRET_HEADER, "answered-in-confidence"):
        assert not [body for body in evidence.receiver.bodies if secret.encode() in body]


def at_once(client: Client) -> Steps:
    """Requests at the same time do not mix: the line of each is in its own span."""
    calls = client.at_once(f"/number/{number}" for number in range(20))
    evidence = yield
    assert [call.body for call in calls] == [f"number {number}" for number in range(20)]
    spans = [evidence.check_route(call, "/number/{n}") for call in calls]
    assert len({span.trace_id for span in spans}) == 20
    for number, span in enumerate(spans):
        assert span.attributes["url.path"] == f"/number/{number}"
        lines = evidence.lines(f"number {number}")
        assert {(log.trace_id, log.span_id) for log in lines} == {(span.trace_id, span.span_id)}


def keep_alive(client: Client) -> Steps:
    """Requests on one connection are traces of their own."""
    calls = [client.get(f"/plain/kept-{number}") for number in range(5)]
    evidence = yield
    spans = [evidence.span(call) for call in calls]
    assert len({span.trace_id for span in spans}) == 5
    assert {span.parent_id for span in spans} == {""}


def pipelined(client: Client) -> Steps:
    """Requests that a client sends without waiting are traces of their own, also of one path."""
    calls = client.pipeline("/plain/pipelined")
    evidence = yield
    spans = [evidence.check_route(call, "/plain/{n}") for call in calls if call.counted]
    assert spans
    assert {span.parent_id for span in spans} == {""}
    lines = evidence.lines("plain pipelined")
    assert sorted(log.span_id for log in lines) == sorted(span.span_id for span in spans)


def work(client: Client) -> Steps:
    """A statement and a request in the application are children of the request's span."""
    call = client.get("/work")
    evidence = yield
    span = evidence.check_route(call, "/work")
    children = [each for each in evidence.receiver.spans() if each.parent_id == span.span_id]
    assert sorted(each.name.split()[0] for each in children) == ["GET", "SELECT"]
    (outgoing,) = [each for each in children if each.name.split()[0] == "GET"]
    assert call.body.startswith(f"00-{span.trace_id}-{outgoing.span_id}-")


SITUATIONS: dict[str, Situation] = {
    situation.__name__: situation
    for situation in (
        *(plain, root, mount, nested_parameter, host, nested, head, other_method, options, unknown_method),
        *(unknown_path, unknown_in_mount, query, upload, stream, stream_fails, raises, handled, handled_500, abort),
        *(redirect, unavailable, client_leaves_stream, client_leaves_before_answer, background, parent, bad_parent),
        *(health, excluded, headers, at_once, keep_alive, pipelined, work, *WEBSOCKETS),
    )
}
