"""The results of a run of a pair: the responses, the output and the telemetry received."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.contract.client import Call
    from tests.contract.servers import Pair
    from tests.support.receiver import Log, Receiver, Span

SERVER = 2
ERROR = 17
"""The lowest severity of a record of an error."""
DURATION = "http.server.request.duration"

_UNSTEADY = re.compile(
    r"^[\s|]*[~^]+$|/endless|/late|SIGPIPE|write error|socket\.send\(\)|transport error|Task queue depth|Broken pipe|reset by peer"
)


@dataclass(frozen=True)
class Outcome:
    """The side of a run that users of the application see."""

    calls: Sequence[Call]
    output: str
    status: int


@dataclass(frozen=True)
class Evidence:
    """A run under the distribution and the same run without it."""

    pair: Pair
    port: int
    ours: Outcome
    bare: Outcome
    receiver: Receiver

    def requests(self) -> list[Span]:
        """Return the spans of served requests."""
        return [span for span in self.receiver.spans() if span.kind == SERVER]

    def counted(self, *, websockets: bool = True) -> list[Call]:
        """Return the calls of which each has a span."""
        return [call for call in self.ours.calls if call.counted and (websockets or not call.websocket)]

    def spans(self, call: Call) -> list[Span]:
        """Return the SERVER spans of a call."""
        return [span for span in self.requests() if span.attributes.get("user_agent.original") == call.user_agent]

    def span(self, call: Call) -> Span:
        """Return the only SERVER span of a call, which is the only one in its trace.

        Raises:
            AssertionError: There is another number of them.
        """
        spans = self.spans(call)
        assert len(spans) == 1, f"{len(spans)} SERVER spans of {call}: {[span.name for span in spans]}"
        (span,) = spans
        others = [each.name for each in self.requests() if each.trace_id == span.trace_id and each != span]
        assert not others, f"other SERVER spans in its trace: {others}"
        return span

    def check_route(self, call: Call, template: str) -> Span:
        """Check name and route of the span of a call, and return it."""
        span = self.span(call)
        route = span.attributes.get("http.route")
        assert route in self.pair.framework.routes(template)
        assert span.name == (f"{call.method} /{route.lstrip('/')}" if route else call.method)
        return span

    def check_no_error(self, call: Call, kind: str = "") -> None:
        """Check that a call is no error: in its span, records and counted exceptions."""
        span = self.span(call)
        assert (span.status, [event.name for event in span.events]) == (0, [])
        assert "error.type" not in span.attributes
        records = [log for log in self.receiver.logs() if log.trace_id == span.trace_id and log.severity >= ERROR]
        # A line that the framework itself logs at ERROR about an answer keeps its level, with a mark.
        errors = [log for log in records if not log.attributes.get("python.exception.answer")]
        assert not [log.body for log in errors if "exception.type" in log.attributes]
        if kind:
            assert self.exceptions(kind) == 0

    def check_error(self, call: Call, kind: str) -> None:
        """Check that a call failed once with an exception, everywhere with its type."""
        span = self.span(call)
        assert (span.status, [event.name for event in span.events]) == (2, ["exception"])
        assert str(span.attributes.get("error.type")).rpartition(".")[2] == kind
        assert str(span.events[0].attributes["exception.type"]).rpartition(".")[2] == kind
        records = [log for log in self.records(kind) if log.severity >= ERROR]
        assert [log.trace_id for log in records] == [span.trace_id]
        assert self.exceptions(kind) == 1

    def records(self, kind: str) -> list[Log]:
        """Return the records of exceptions of a class."""
        return [
            log for log in self.receiver.logs() if str(log.attributes.get("exception.type")).rpartition(".")[2] == kind
        ]

    def lines(self, body: str) -> list[Log]:
        """Return the records of the application's lines with this text, which are there."""
        logs = self.receiver.logs(body)
        assert logs, f"no record {body!r}"
        return logs

    def exceptions(self, kind: str) -> float:
        """Return how many exceptions of a class were counted."""
        points = self.receiver.series("python.exceptions")
        return sum(p.value for p in points if str(p.attributes["exception.type"]).rpartition(".")[2] == kind)


def comparable(output: str) -> list[str]:
    """Return the lines of a program's output, sorted, without what differs from run to run.

    That is numbers, the program's folder, frames of telemetry, and what a server prints about a
    client that left: whether it notices depends on the moment.
    """
    kept: list[str] = []
    hidden: int | None = None
    for line in output.splitlines():
        indent = len(line) - len(line.lstrip(" |"))
        if hidden is not None and indent > hidden:
            continue
        hidden = indent if re.search(r'File ".*/(otel_distro|opentelemetry|wrapt)/', line) else None
        if hidden is None and not _UNSTEADY.search(line):
            kept.append(re.sub(r"0x[0-9a-f]+|\d+", "N", re.sub(r"\b(bare|ours)\b", "FOLDER", line)))
    return sorted(kept)
