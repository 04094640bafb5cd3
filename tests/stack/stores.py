"""The log and trace stores behind the Collector, with one interface for all.

A log line is a pair of its labels, named as in Loki (``exception_type``), and its text. A span is a
pair of service name and span name.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.stack import web

LOOK_BACK = 3600
Line = tuple[dict[str, str], str]
Span = tuple[str, str]


@dataclass(frozen=True)
class Lines:
    """A selection of log lines: those of one service that meet all conditions.

    Attributes:
        service: The name of the service.
        where: OpenTelemetry attribute -> its value, or the values that match.
        level: The level in lower case; empty matches any.
        traced: Only lines that belong to a span.
        containing: A part of the line.
        seconds: The maximum age of a line.
    """

    service: str
    where: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    level: str = ""
    traced: bool = False
    containing: str = ""
    seconds: float = LOOK_BACK


class LogStore(Protocol):
    """A log store: the endpoint for the Collector, and queries."""

    name: str
    otlp: str

    def lines(self, wanted: Lines) -> list[Line]:
        """Return the selected lines, at most a thousand."""

    def totals(self, wanted: Lines, attribute: str, by: str) -> dict[str, float]:
        """Return the sum of an attribute over the selected lines, by the value of another one."""


class TraceStore(Protocol):
    """A trace store with queries by trace id."""

    name: str

    def spans(self, trace_id: str) -> list[Span]:
        """Return the spans of a trace; HTTP error if the store does not know it."""

    def text(self, trace_id: str) -> str:
        """Return the store's whole response for a trace."""


def label(name: str) -> str:
    """Return the label that Loki derives from the name of an attribute."""
    made = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return f"key_{made}" if made[:1].isdigit() else made


class Loki:
    """Loki, queried in LogQL."""

    name = "loki"

    def __init__(self, address: str) -> None:
        self.address = address
        self.otlp = f"{address}/otlp"

    def lines(self, wanted: Lines) -> list[Line]:
        """Return the selected lines."""
        return self.logql(self._select(wanted), seconds=wanted.seconds)

    def totals(self, wanted: Lines, attribute: str, by: str) -> dict[str, float]:
        """Return the sum of an attribute over the selected lines, by the value of another one."""
        lines = f"{self._select(wanted)} | unwrap {label(attribute)} [{wanted.seconds:.0f}s]"
        found = self.instant(f"sum by ({label(by)}) (sum_over_time({lines}))")
        return {entry["metric"][label(by)]: float(entry["value"][1]) for entry in found}

    def _select(self, wanted: Lines) -> str:
        query = [f"{{service_name={json.dumps(wanted.service)}}}"]
        for name, value in wanted.where.items():
            one = isinstance(value, str)
            query.append(f"| {label(name)}{'=' if one else '=~'}{json.dumps(value if one else '|'.join(value))}")
        if wanted.level:
            query.append(f"| detected_level={json.dumps(wanted.level)}")
        if wanted.traced:
            query.append('| trace_id!=""')
        if wanted.containing:
            query.append(f"|= {json.dumps(wanted.containing)}")
        return " ".join(query)

    def instant(self, query: str) -> list[dict[str, Any]]:
        """Return the result of a metric query: entries with ``metric`` and ``value``."""
        found: list[dict[str, Any]] = web.get(f"{self.address}/loki/api/v1/query", query=query)["data"]["result"]
        return found

    def logql(self, query: str, *, seconds: float = LOOK_BACK) -> list[Line]:
        """Return the lines of a log query, each with its labels and structured metadata."""
        now = time.time()
        found = web.get(
            f"{self.address}/loki/api/v1/query_range",
            query=query,
            start=int((now - seconds) * 1e9),
            end=int((now + 60) * 1e9),
            limit=1000,
        )
        return [(stream["stream"], line) for stream in found["data"]["result"] for _, line, *_ in stream["values"]]


class VictoriaLogs:
    """VictoriaLogs, queried in LogsQL."""

    name = "victorialogs"
    # Loki drops the name of an event; the Collector copies it to an attribute, which is compared.
    _own = frozenset({"_time", "_msg", "_stream", "_stream_id", "event_name"})

    def __init__(self, address: str) -> None:
        self.address = address
        self.otlp = f"{address}/insert/opentelemetry"

    def lines(self, wanted: Lines) -> list[Line]:
        """Return the selected lines."""
        return [self._line(row) for row in self._ask(self._select(wanted), wanted.seconds)]

    def totals(self, wanted: Lines, attribute: str, by: str) -> dict[str, float]:
        """Return the sum of an attribute over the selected lines, by the value of another one."""
        stats = f"{self._select(wanted)} | stats by ({json.dumps(by)}) sum({json.dumps(attribute)}) as total"
        return {row[by]: float(row["total"]) for row in self._ask(stats, wanted.seconds)}

    def _select(self, wanted: Lines) -> str:
        query = [f'"service.name":={json.dumps(wanted.service)}']
        for name, value in wanted.where.items():
            values = ",".join(map(json.dumps, [value] if isinstance(value, str) else value))
            query.append(f"{json.dumps(name)}:in({values})")
        if wanted.level:
            query.append(f"severity_text:~{json.dumps(f'(?i)^{wanted.level}$')}")
        if wanted.traced:
            query.append("trace_id:*")
        if wanted.containing:
            query.append(f"_msg:~{json.dumps(re.escape(wanted.containing))}")
        return " ".join(query)

    def _ask(self, query: str, seconds: float) -> list[dict[str, str]]:
        now = time.time()
        found = web.text(
            f"{self.address}/select/logsql/query",
            query=query,
            start=int((now - seconds) * 1e9),
            end=int((now + 60) * 1e9),
            limit=1000,
        )
        return [json.loads(row) for row in found.split("\n") if row]

    def _line(self, row: dict[str, str]) -> Line:
        labels = {label(name): value for name, value in row.items() if name not in self._own}
        return {**labels, "detected_level": row["severity_text"].lower()}, row.get("_msg", "")


class _Traces:
    """A store that answers with OTLP as JSON."""

    def __init__(self, address: str) -> None:
        self.address = address

    def text(self, trace_id: str) -> str:
        """Return the store's whole response for a trace."""
        return web.text(self._of(trace_id))

    def spans(self, trace_id: str) -> list[Span]:
        """Return the spans of a trace."""
        found = []
        for resource in self._resources(web.get(self._of(trace_id))):
            attributes = {a["key"]: a["value"].get("stringValue") for a in resource["resource"]["attributes"]}
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    assert trace_id in (span["traceId"], base64.b64decode(span["traceId"]).hex())
                    found.append((attributes.get("service.name") or "", span["name"]))
        return found

    def _of(self, trace_id: str) -> str:
        raise NotImplementedError

    def _resources(self, answer: Any) -> list[Any]:
        raise NotImplementedError


class Tempo(_Traces):
    """Tempo, queried by trace id and in TraceQL."""

    name = "tempo"

    def _of(self, trace_id: str) -> str:
        return f"{self.address}/api/v2/traces/{trace_id}"

    def _resources(self, answer: Any) -> list[Any]:
        return list(answer.get("trace", {}).get("resourceSpans", ()))

    def traceql(self, query: str) -> list[dict[str, Any]]:
        """Return the traces that a search finds in the last hour."""
        now = int(time.time())
        found: list[dict[str, Any]] = web.get(
            f"{self.address}/api/search", q=query, start=now - LOOK_BACK, end=now + 60, limit=100
        ).get("traces", [])
        return found


class Jaeger(_Traces):
    """Jaeger, queried by trace id."""

    name = "jaeger"

    def _of(self, trace_id: str) -> str:
        return f"{self.address}/api/v3/traces/{trace_id}"

    def _resources(self, answer: Any) -> list[Any]:
        return list(answer["result"]["resourceSpans"])
