"""The checks of a whole run of a pair, in whatever situation a request was."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.contract.evidence import Evidence, comparable

if TYPE_CHECKING:
    from tests.contract.client import Call


def one_span_per_request(evidence: Evidence) -> None:
    """Each request has one SERVER span, and there are no others."""
    wanted = sorted(call.user_agent for call in evidence.counted())
    assert sorted(str(span.attributes.get("user_agent.original")) for span in evidence.requests()) == wanted


def measured_once(evidence: Evidence) -> None:
    """Each request is measured once; a websocket is no request of HTTP."""
    total = evidence.receiver.total("http.server.request.duration")
    assert total == len(evidence.counted(websockets=False))


def measured_as_spans(evidence: Evidence) -> None:
    """The series of the duration count what the spans say."""
    names = ("http.request.method", "http.response.status_code", "http.route", "error.type")
    wanted: dict[tuple[object, ...], float] = {}
    for call in evidence.counted(websockets=False):
        for span in evidence.spans(call):
            key = tuple(span.attributes.get(name) for name in names)
            wanted[key] = wanted.get(key, 0) + 1
    measured: dict[tuple[object, ...], float] = {}
    for point in evidence.receiver.series("http.server.request.duration"):
        key = tuple(point.attributes.get(name) for name in names)
        measured[key] = measured.get(key, 0) + point.value
    assert measured == wanted


def measured_with_bounded_attributes(evidence: Evidence) -> None:
    """The duration has the attributes of the conventions and no others."""
    series = evidence.receiver.series("http.server.request.duration")
    required = {"http.request.method", "url.scheme", "network.protocol.version"}
    allowed = {*required, "http.response.status_code", "http.route", "error.type", "network.protocol.name"}
    assert series
    for point in series:
        assert required <= set(point.attributes) <= allowed
    assert len(series) < 60


def nothing_active(evidence: Evidence) -> None:
    """The number of active requests is back at 0."""
    series = evidence.receiver.series("http.server.active_requests")
    assert series
    assert {point.value for point in series} == {0}
    allowed = {"http.request.method", "url.scheme", "server.address", "server.port"}
    assert not [point.attributes for point in series if not set(point.attributes) <= allowed]


def attribute(name: str, right: Callable[[Evidence, Call], set[object]]) -> Callable[[Evidence], None]:
    """Return the fact that every span has an attribute with one of its right values."""

    def fact(evidence: Evidence) -> None:
        wrong = {
            f"{call.method} {call.path}": span.attributes.get(name)
            for call in evidence.counted()
            for span in evidence.spans(call)
            if (wanted := right(evidence, call)) and span.attributes.get(name) not in wanted
        }
        assert not wrong, f"{len(wrong)} values of {name} are wrong, such as {dict(list(wrong.items())[:4])}"

    fact.__name__ = name.replace(".", "_")
    return fact


ATTRIBUTES = (
    attribute("url.path", lambda _, call: {call.path}),
    attribute("url.scheme", lambda _, call: {"ws", "http"} if call.websocket else {"http"}),
    attribute("server.address", lambda _, call: {"h.example.org" if call.path.startswith("/onhost") else "127.0.0.1"}),
    attribute("server.port", lambda evidence, call: set() if call.path.startswith("/onhost") else {evidence.port}),
    attribute("client.address", lambda _, call: {"127.0.0.1"}),
    attribute("network.protocol.version", lambda evidence, _: {"2" if evidence.pair.server.http2 else "1.1"}),
    attribute("http.request.method", lambda _, call: {"_OTHER" if call.method == "BREW" else call.method}),
    attribute(
        "http.response.status_code",
        lambda _, call: set() if call.websocket or call.status is None else {call.status},
    ),
)
"""The attributes of the conventions; an empty set is any value."""


def no_other_exceptions(evidence: Evidence) -> None:
    """Only the failures of the application are counted, each once."""
    counted: dict[str, float] = {}
    for point in evidence.receiver.series("python.exceptions"):
        kind = str(point.attributes["exception.type"]).rpartition(".")[2]
        counted[kind] = counted.get(kind, 0) + point.value
    counted.pop("Refusal", None)
    wanted = {"Broken": 1.0, evidence.pair.framework.stream_error: 1.0}
    if "websocket_fails" not in evidence.pair.without:
        wanted["BrokenSocket"] = 1.0
    assert counted == wanted


def exceptions_have_traces(evidence: Evidence) -> None:
    """Each record of an exception, also a server's, belongs to the trace of a request."""
    traces = {span.trace_id for span in evidence.requests()}
    kinds = {"Broken", "BrokenStream", "BrokenSocket", "Refusal", evidence.pair.framework.stream_error}
    records = [log for kind in kinds for log in evidence.records(kind)]
    assert records
    assert not [log.body for log in records if log.trace_id not in traces]


def no_other_roots(evidence: Evidence) -> None:
    """Nothing but requests is the root of a trace."""
    assert not [
        span.name for span in evidence.receiver.spans() if not span.parent_id and span not in evidence.requests()
    ]


def same_answers(evidence: Evidence) -> None:
    """The client gets what it gets from the application without telemetry."""
    different = {
        f"{ours.method} {ours.path}": (seen(ours), seen(bare))
        for ours, bare in zip(evidence.ours.calls, evidence.bare.calls, strict=True)
        if seen(ours) != seen(bare)
    }
    assert not different


def seen(call: Call) -> tuple[object, ...]:
    """Return the visible parts of a response.

    The body of ``/work`` is a trace, that of ``/endless`` is cut.
    """
    body = "" if call.path in {"/work", "/endless"} else call.body
    # Whether a server keeps a connection depends on how busy it is.
    return call.status, sorted(set(call.headers) - {"connection", "keep-alive"}), body, call.complete


def same_output(evidence: Evidence) -> None:
    """The program prints what it prints without telemetry."""
    assert comparable(evidence.ours.output) == comparable(evidence.bare.output)


def same_exit_status(evidence: Evidence) -> None:
    """The program ends as it ends without telemetry."""
    assert evidence.ours.status == evidence.bare.status


SAME = {fact.__name__: fact for fact in (same_answers, same_output, same_exit_status)}
"""Facts that users of the application see, recorded or not."""

FACTS: dict[str, Callable[[Evidence], None]] = {
    fact.__name__: fact
    for fact in (
        *(one_span_per_request, measured_once, measured_as_spans, measured_with_bounded_attributes, nothing_active),
        *ATTRIBUTES,
        *(no_other_exceptions, exceptions_have_traces, no_other_roots),
        *SAME.values(),
    )
}
