"""The running stack: its OTLP endpoints and queries to each store."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from tests.stack import programs, web
from tests.stack.programs import Ports, StackProgram, url
from tests.stack.stores import LOOK_BACK, Jaeger, Line, Lines, LogStore, Loki, Span, Tempo, TraceStore, VictoriaLogs
from tests.support.otlp import PROTOBUF
from tests.support.processes import ProcessError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from google.protobuf.message import Message

T = TypeVar("T")
TIMEOUT = 60.0


class Stack:
    """Collector, Prometheus, Alertmanager, a log store and a trace store.

    Attributes:
        otlp_http: The value for ``OTEL_EXPORTER_OTLP_ENDPOINT``.
        otlp_grpc: The same for gRPC.
        prometheus: The base URL of Prometheus.
        alertmanager: The base URL of Alertmanager.
        logs: Loki, or VictoriaLogs in place of it.
        traces: Tempo, or Jaeger in place of it.
        processes: The programs by name.
        folder: The data and logs of all programs.
        measured: What :meth:`measure` measured.
    """

    def __init__(self, folder: Path, *, loki: Path | None = None, tempo: Path | None = None) -> None:
        """Start all programs in ``folder`` and wait until they are ready.

        Args:
            folder: The folder for data and logs of the programs.
            loki: The Loki to run; VictoriaLogs runs if it is None.
            tempo: The Tempo to run; Jaeger runs if it is None.

        Raises:
            BuildError: A program is missing.
            ProcessError: A program does not start; the others are stopped.
        """
        self.folder = folder
        self.ports = ports = Ports.free()
        self.processes: dict[str, StackProgram] = {}
        self.measured: list[tuple[str, float]] = []
        self.otlp_http, self.otlp_grpc = url(ports.otlp_http), url(ports.otlp_grpc)
        self.prometheus, self.alertmanager = url(ports.prometheus), url(ports.alertmanager)
        self.logs: LogStore = Loki(url(ports.loki)) if loki else VictoriaLogs(url(ports.loki))
        self.traces: TraceStore = Tempo(url(ports.tempo)) if tempo else Jaeger(url(ports.jaeger_query))
        try:
            self._add(programs.start_prometheus(ports, folder))
            self._add(programs.start_alertmanager(ports, folder))
            self._add(programs.start_loki(loki, ports, folder) if loki else programs.start_victorialogs(ports, folder))
            self._add(programs.start_tempo(tempo, ports, folder) if tempo else programs.start_jaeger(ports, folder))
            self._add(programs.start_collector(ports, folder, self.logs.otlp))
            for process in self.processes.values():
                process.wait_until_ready()
        except BaseException:
            self.stop()
            raise

    @property
    def loki(self) -> Loki:
        """The log store in tests of the ring ``loki``."""
        assert isinstance(self.logs, Loki), "LogQL needs Loki: mark the test with LOKI of tests/stack/rings.py"
        return self.logs

    @property
    def tempo(self) -> Tempo:
        """The trace store in tests of the ring ``tempo``."""
        assert isinstance(self.traces, Tempo), "TraceQL needs Tempo: mark the test with TEMPO of tests/stack/rings.py"
        return self.traces

    def _add(self, process: StackProgram) -> None:
        self.processes[process.name] = process

    def stop(self) -> None:
        """Stop all programs, senders before receivers, so that all queues can be flushed."""
        for process in reversed(self.processes.values()):
            process.stop()

    def tails(self) -> dict[str, str]:
        """Return the end of each program's log."""
        return {name: process.tail() for name, process in self.processes.items()}

    def wait_for(self, condition: Callable[[], T], timeout: float = TIMEOUT) -> T:
        """Poll until ``condition()`` is true and return its value.

        An HTTP error of a store counts as "not yet".

        Raises:
            ProcessError: A program ended.
            TimeoutError: The condition was not true in time; the message has the last answer.
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
        """Poll until the answer has ``number`` entries and return it; see :meth:`wait_for`."""
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
        """Do :meth:`wait_for` and note the seconds since ``since`` (``time.monotonic()``)."""
        value = self.wait_for(condition, timeout)
        self.measured.append((what, time.monotonic() - since))
        return value

    def send(self, signal: Literal["traces", "metrics", "logs"], request: Message) -> None:
        """Send an export request to the Collector, which must accept every item."""
        post = urllib.request.Request(
            f"{self.otlp_http}/v1/{signal}", request.SerializeToString(), {"Content-Type": PROTOBUF}
        )
        with urllib.request.urlopen(post, timeout=10) as response:
            # The field has the same number in the responses of all signals.
            answer = ExportTraceServiceResponse.FromString(response.read())
        assert not answer.partial_success.rejected_spans, answer

    def promql(self, query: str) -> list[dict[str, Any]]:
        """Return the result of an instant query: entries with ``metric`` and ``value``."""
        answer: list[dict[str, Any]] = web.get(f"{self.prometheus}/api/v1/query", query=query)["data"]["result"]
        return answer

    def promql_value(self, query: str) -> float | None:
        """Return the only number of an instant query, None if it has no result."""
        result = self.promql(query)
        return float(result[0]["value"][1]) if result else None

    def exemplars(self, query: str) -> list[dict[str, Any]]:
        """Return the exemplars of the last hour: entries with ``labels`` and ``value``."""
        now = time.time()
        found = web.get(f"{self.prometheus}/api/v1/query_exemplars", query=query, start=now - LOOK_BACK, end=now + 60)
        return [exemplar for series in found["data"] for exemplar in series["exemplars"]]

    def lines(
        self,
        service: str,
        where: Mapping[str, str | Sequence[str]] | None = None,
        *,
        level: str = "",
        traced: bool = False,
        containing: str = "",
        seconds: float = LOOK_BACK,
    ) -> list[Line]:
        """Return log lines of a service, each with its labels.

        For the conditions see :class:`~tests.stack.stores.Lines`.
        """
        return self.logs.lines(Lines(service, where or {}, level, traced, containing, seconds))

    def trace_by_id(self, trace_id: str) -> list[Span]:
        """Return the (service name, span name) pairs of a trace; HTTP error if it is unknown."""
        return self.traces.spans(trace_id)

    def trace_text(self, trace_id: str) -> str:
        """Return the store's whole response for a trace."""
        return self.traces.text(trace_id)
