"""The running stack as tests see it: where to send OTLP, and how to ask each store."""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any, TypeVar

from tests.stack import programs
from tests.stack.process import Process, ProcessError
from tests.stack.programs import Ports, url
from tests.stack.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")
TIMEOUT = 60.0
LOOK_BACK = 3600


class Stack:
    """Collector, Prometheus, Alertmanager, Loki and Tempo, or a recording receiver in Tempo's place.

    Attributes for tests: ``otlp_http`` (set it as ``OTEL_EXPORTER_OTLP_ENDPOINT``), ``otlp_grpc``, ``prometheus``,
    ``alertmanager``, ``loki`` and ``tempo`` are base URLs; ``tempo`` is None where the recorder stands in its place.
    ``processes`` holds the programs by name, ``folder`` all they write, ``measured`` what :meth:`measure` took.
    """

    def __init__(self, folder: Path) -> None:
        """Start everything in ``folder`` and wait until all of it is ready.

        Raises :class:`~tests.stack.build.BuildError` where a program is missing and
        :class:`~tests.stack.process.ProcessError` where one does not start; nothing is left running then.
        """
        self.folder = folder
        self.ports = ports = Ports.free()
        self.processes: dict[str, Process] = {}
        self.measured: list[tuple[str, float]] = []
        self.otlp_http, self.otlp_grpc = url(ports.otlp_http), url(ports.otlp_grpc)
        self.prometheus, self.alertmanager, self.loki = url(ports.prometheus), url(ports.alertmanager), url(ports.loki)
        tempo = programs.find_tempo()
        self.tempo = url(ports.tempo) if tempo else None
        self._recorder = None if tempo else Recorder(ports.tempo_otlp)
        try:
            self._add(programs.start_prometheus(ports, folder))
            self._add(programs.start_alertmanager(ports, folder))
            self._add(programs.start_loki(ports, folder))
            if tempo:
                self._add(programs.start_tempo(tempo, ports, folder))
            self._add(programs.start_collector(ports, folder))
            for process in self.processes.values():
                process.wait_ready()
        except BaseException:
            self.stop()
            raise

    def _add(self, process: Process) -> None:
        self.processes[process.name] = process

    def stop(self) -> None:
        """Stop everything, who sends before who receives, so that all can still deliver."""
        for process in reversed(self.processes.values()):
            process.stop()
        if self._recorder:
            self._recorder.stop()

    def logs(self) -> dict[str, str]:
        """Return the end of each program's log."""
        return {name: process.tail() for name, process in self.processes.items()}

    def wait_for(self, condition: Callable[[], T], timeout: float = TIMEOUT) -> T:
        """Ask until ``condition()`` is true and return its value; an HTTP error of a store counts as "not yet".

        Raises :class:`~tests.stack.process.ProcessError` when a program ended, ``TimeoutError`` with the last answer.
        """
        deadline = time.monotonic() + timeout
        last: object = None
        while True:
            try:
                if value := condition():
                    return value
                last = value
            except urllib.error.HTTPError as error:
                with error:
                    last = f"HTTP {error.code}: {error.read().decode(errors='replace')[:500]}"
            for process in self.processes.values():
                if not process.alive:
                    raise ProcessError(f"{process.name} ended; the end of its log:\n{process.tail()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"nothing after {timeout:.0f} s; the last answer was {last!r}")
            time.sleep(0.05)

    def wait_for_number(self, number: int, ask: Callable[[], list[T]]) -> list[T]:
        """Ask until the answer has ``number`` entries and return it; raises what :meth:`wait_for` raises."""
        found: list[T] = []

        def complete() -> bool:
            found[:] = ask()
            return len(found) == number

        try:
            self.wait_for(complete)
        except TimeoutError:
            raise TimeoutError(f"{len(found)} instead of {number}: {found!r}") from None
        return found

    def measure(self, what: str, since: float, condition: Callable[[], T], timeout: float = TIMEOUT) -> T:
        """Do :meth:`wait_for` and note how long after ``since`` (``time.monotonic()``) the answer came."""
        value = self.wait_for(condition, timeout)
        self.measured.append((what, time.monotonic() - since))
        return value

    def send(self, signal: str, request: dict[str, Any]) -> None:
        """Send one OTLP request as JSON to the Collector; ``signal`` is traces, metrics or logs."""
        post = urllib.request.Request(
            f"{self.otlp_http}/v1/{signal}", json.dumps(request).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(post, timeout=10) as answer:
            said = json.loads(answer.read() or b"{}")
        assert not said.get("partialSuccess"), said

    def text(self, address: str, **query: object) -> str:
        """Return what a store answers."""
        encoded = urllib.parse.urlencode({key: str(value) for key, value in query.items()})
        ask = urllib.request.Request(f"{address}?{encoded}", headers={"Accept": "application/json"})
        with urllib.request.urlopen(ask, timeout=20) as answer:
            body: bytes = answer.read()
        return body.decode()

    def get(self, address: str, **query: object) -> Any:
        """Return the JSON that a store answers."""
        return json.loads(self.text(address, **query))

    def promql(self, query: str) -> list[dict[str, Any]]:
        """Return the result of an instant query: entries with ``metric`` and ``value``."""
        answer: list[dict[str, Any]] = self.get(f"{self.prometheus}/api/v1/query", query=query)["data"]["result"]
        return answer

    def promql_value(self, query: str) -> float | None:
        """Return the one number of an instant query, None when it has no result."""
        result = self.promql(query)
        return float(result[0]["value"][1]) if result else None

    def exemplars(self, query: str) -> list[dict[str, Any]]:
        """Return the exemplars of the last hour of the series in the query: entries with ``labels`` and ``value``."""
        now = time.time()
        found = self.get(f"{self.prometheus}/api/v1/query_exemplars", query=query, start=now - LOOK_BACK, end=now + 60)
        return [exemplar for series in found["data"] for exemplar in series["exemplars"]]

    def logql(self, query: str, *, seconds: float = LOOK_BACK) -> list[tuple[dict[str, str], str]]:
        """Return the lines a log query finds in the last ``seconds``, each with its labels and structured metadata."""
        now = time.time()
        found = self.get(
            f"{self.loki}/loki/api/v1/query_range",
            query=query,
            start=int((now - seconds) * 1e9),
            end=int((now + 60) * 1e9),
            limit=1000,
        )
        return [(stream["stream"], line) for stream in found["data"]["result"] for _, line, *_ in stream["values"]]

    def trace_by_id(self, trace_id: str) -> list[tuple[str, str]]:
        """Return the (service name, span name) pairs of a trace that Tempo, or the receiver in its place, has."""
        if self._recorder:
            return self._recorder.trace(trace_id)
        found = self.get(f"{self.tempo}/api/v2/traces/{trace_id}")
        spans = []
        for resource in found.get("trace", {}).get("resourceSpans", ()):
            attributes = {a["key"]: a["value"].get("stringValue") for a in resource["resource"]["attributes"]}
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    assert trace_id in (span["traceId"], base64.b64decode(span["traceId"]).hex())
                    spans.append((attributes.get("service.name") or "", span["name"]))
        return spans

    def trace_text(self, trace_id: str) -> str:
        """Return all that Tempo, or the receiver in its place, has of a trace, as text; empty where it has nothing."""
        return self._recorder.text(trace_id) if self._recorder else self.text(f"{self.tempo}/api/v2/traces/{trace_id}")

    def traceql(self, query: str) -> list[dict[str, Any]]:
        """Return the traces a TraceQL search finds in the last hour; only in the ring ``tempo``."""
        assert self.tempo, "TraceQL needs a Tempo: mark the test with @pytest.mark.tempo"
        now = int(time.time())
        found: list[dict[str, Any]] = self.get(
            f"{self.tempo}/api/search", q=query, start=now - LOOK_BACK, end=now + 60, limit=100
        ).get("traces", [])
        return found
