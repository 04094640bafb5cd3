"""OTLP over gRPC: one channel to an endpoint, and the classification of its statuses.

It uses the gRPC library, imported for the first request, and not OpenTelemetry's exporter: that one
would encode the telemetry again, and its own retry loses data.

Source: https://opentelemetry.io/docs/specs/otlp/#otlpgrpc-response
"""

from __future__ import annotations

import os
import time
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from otel_distro._runtime import threads
from otel_distro.export.encode.split import fields_of, varint
from otel_distro.export.send.endpoint import USER_AGENT
from otel_distro.export.send.http_sender import MAX_RETRY_AFTER_S, ExportResult, Outcome, rejected_items

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_distro.export.send.endpoint import OtlpEndpoint

_SERVICES = {"traces": "trace.v1.TraceService", "metrics": "metrics.v1.MetricsService", "logs": "logs.v1.LogsService"}
_PROVIDERS = "opentelemetry_otlp_credential_provider"
_DETAILS = "grpc-status-details-bin"
_RETRY_INFO = b"google.rpc.RetryInfo"
_MAX_REASON_CHARS = 200
_THREAD_NAMES = ("grpc_global_tim", "event_engine", "lifeguard")
"""Names of the library's threads, as the kernel cuts them."""

_IMPORT_TIMEOUT_S = 1.0
_CALL_TIMEOUT_S = 0.5
_THREADS_END_TIMEOUT_S = 0.05


class GrpcSender:
    """Sends requests of one signal to one endpoint over gRPC.

    The library's threads do not survive a fork, and a child that inherits its state waits for them
    for ever. So the channel is closed before each fork, which ends them, and opened again by the
    next request on either side.
    """

    def __init__(self, endpoint: OtlpEndpoint, signal: str) -> None:
        self.endpoint = endpoint
        self._signal = signal
        self._method = f"/opentelemetry.proto.collector.{_SERVICES[signal]}/Export"
        self._metadata = [
            (name, value.encode() if name.endswith("-bin") else value) for name, value in endpoint.headers.items()
        ]
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """Start without a channel in a forked child: it was closed before the fork."""
        self._open_lock = threads.allocate_lock()
        self._call_lock = threads.allocate_lock()
        self._generation = 0
        self._channel: Any = None
        self._call: Callable[..., bytes] | None = None

    def send(self, body: bytes, timeout: float) -> Outcome:
        """Call the service with a serialised request, within ``timeout`` seconds. Never raises."""
        generation = self._generation
        try:
            call = self._call or self._open()
            with self._call_lock:
                answer = call(body, timeout, metadata=self._metadata)
        except Exception as error:
            if generation != self._generation:
                # A fork has cancelled the call: that says nothing about the endpoint.
                return Outcome(ExportResult.RETRYABLE)
            # A new channel connects at once; the old one would wait for a backoff of its own.
            self.close()
            return _outcome(error)
        return Outcome(ExportResult.SUCCESS, rejected=rejected_items(answer))

    def clone(self) -> GrpcSender:
        """Return a sender with a channel of its own."""
        return GrpcSender(self.endpoint, self._signal)

    def before_fork(self) -> None:
        """Close the channel, and wait for the library's threads to end.

        A call of another thread has half a second to finish. One that is cut off is made again,
        even if the collector has accepted it.
        """
        self._generation += 1
        # An import of the library that has begun would never end in the child.
        if self._open_lock.acquire(True, _IMPORT_TIMEOUT_S):
            self._open_lock.release()
        if self._call_lock.acquire(True, _CALL_TIMEOUT_S):
            self._call_lock.release()
        if self._channel is not None:
            self.close()
            deadline = time.monotonic() + _THREADS_END_TIMEOUT_S
            while _library_threads() and time.monotonic() < deadline:
                os.sched_yield()

    def close(self) -> None:
        """Close the channel; the next request opens another."""
        channel, self._channel, self._call = self._channel, None, None
        if channel is not None:
            channel.close()

    def _open(self) -> Callable[..., bytes]:
        with self._open_lock:
            self._channel = channel = self._new_channel()
            call: Callable[..., bytes] = channel.unary_unary(self._method)
            self._call = call
            return call

    def _new_channel(self) -> Any:
        import grpc

        address = self.endpoint.url
        for scheme in ("http://", "https://"):
            address = address.removeprefix(scheme)
        options = [
            ("grpc.primary_user_agent", USER_AGENT),
            # Connection failures of other channels would delay the next attempt of this one.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        if address.startswith(("localhost:", "127.", "[::1]")):
            # A proxy elsewhere would connect to itself.
            options.append(("grpc.enable_http_proxy", 0))
        compression = grpc.Compression.Gzip if self.endpoint.gzip else grpc.Compression.NoCompression
        if self.endpoint.secure:
            return grpc.secure_channel(address, self._credentials(), options, compression)
        return grpc.insecure_channel(address, options, compression)

    def _credentials(self) -> Any:
        import grpc

        if self.endpoint.credentials:
            for entry_point in entry_points(group=_PROVIDERS, name=self.endpoint.credentials):
                return entry_point.load()()
            raise LookupError(f"{self.endpoint.credentials!r} provides no credentials")
        return grpc.ssl_channel_credentials(
            _content(self.endpoint.ca_file), _content(self.endpoint.key_file), _content(self.endpoint.certificate_file)
        )


def _library_threads() -> int:
    """Return how many threads of the library run; 0 where the system has no ``/proc``."""
    found = 0
    try:
        for thread in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{thread}/comm", encoding="utf-8", errors="replace") as name:
                found += name.read().strip() in _THREAD_NAMES
    except OSError:
        # A thread has just ended, or there is no such directory.
        return found
    return found


def _content(path: str | None) -> bytes | None:
    if path is None:
        return None
    with open(path, "rb") as file:
        return file.read()


def _outcome(error: Any) -> Outcome:
    """Classify the error of a call: permanent only if the content is at fault."""
    code = getattr(error, "code", None)
    if not callable(code):
        return Outcome(ExportResult.RETRYABLE, f"{type(error).__name__}: {error}".rstrip(": ")[:_MAX_REASON_CHARS])
    name, details = code().name, str(error.details() or "")
    if name == "INVALID_ARGUMENT":
        return Outcome(ExportResult.PERMANENT, f"gRPC {name}")
    if name == "RESOURCE_EXHAUSTED" and "larger than max" in details:
        # The answer of gRPC implementations to a message longer than their limit.
        return Outcome(ExportResult.PERMANENT, f"gRPC {name}", status=413)
    trailers = dict(error.trailing_metadata() or ())
    return Outcome(
        ExportResult.RETRYABLE,
        f"gRPC {name}: {details}".rstrip(": ")[:_MAX_REASON_CHARS],
        _retry_after(trailers.get(_DETAILS, b"")),
    )


def _retry_after(status: bytes) -> float:
    """Return the seconds of the ``RetryInfo`` in a ``google.rpc.Status``, at most 60.

    0 without one.
    https://github.com/googleapis/googleapis/blob/master/google/rpc/error_details.proto
    """
    try:
        for detail in _members(status, 3):
            if any(kind.endswith(_RETRY_INFO) for kind in _members(detail, 1)):
                for info in _members(detail, 2):
                    for delay in _members(info, 1):
                        numbers = {field.number: varint(delay, field.value)[0] for field in fields_of(delay)}
                        return min(numbers.get(1, 0) + numbers.get(2, 0) / 1e9, MAX_RETRY_AFTER_S)
    except (ValueError, TypeError):
        # Unreadable: the delay of the backoff applies.
        return 0.0
    return 0.0


def _members(message: bytes, number: int) -> list[bytes]:
    return [message[field.value : field.end] for field in fields_of(message) if field.number == number]
