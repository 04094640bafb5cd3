"""An OTLP/HTTP receiver that keeps the spans it is sent: stands in Tempo's place where no Tempo is at hand."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class Recorder:
    """Listens on one loopback port and remembers for each trace its spans, as (service name, span name) and as text."""

    def __init__(self, port: int) -> None:
        """Start to listen."""
        self._spans: dict[str, list[tuple[str, str]]] = {}
        self._texts: dict[str, list[str]] = {}
        self._lock = threading.Lock()
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                recorder._keep(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _keep(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self._lock:
            for resource in request.resource_spans:
                service = next(
                    (a.value.string_value for a in resource.resource.attributes if a.key == "service.name"), ""
                )
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        self._spans.setdefault(span.trace_id.hex(), []).append((service, span.name))
                        self._texts.setdefault(span.trace_id.hex(), []).append(f"{resource.resource} {span}")

    def trace(self, trace_id: str) -> list[tuple[str, str]]:
        """Return the (service name, span name) pairs of the trace received so far."""
        with self._lock:
            return list(self._spans.get(trace_id, ()))

    def text(self, trace_id: str) -> str:
        """Return all that was received of the trace, readable."""
        with self._lock:
            return "\n".join(self._texts.get(trace_id, ()))

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
