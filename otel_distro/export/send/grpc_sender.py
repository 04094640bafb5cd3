"""The way out over gRPC: one channel to an OTLP endpoint, and what each status means.

Upstream's exporter would encode once more and has a retry of its own that loses; only the library below it is used, and
imported when the first request goes out. What is sent is bytes already.

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
from otel_distro.export.send.http_sender import MAX_RETRY_AFTER, ExportResult, Outcome, rejected_items

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_distro.export.send.endpoint import OtlpEndpoint

_SERVICES = {"traces": "trace.v1.TraceService", "metrics": "metrics.v1.MetricsService", "logs": "logs.v1.LogsService"}
_PROVIDERS = "opentelemetry_otlp_credential_provider"
_DETAILS = "grpc-status-details-bin"
_RETRY_INFO = b"google.rpc.RetryInfo"
_LONGEST_REASON = 200
_THREADS = ("grpc_global_tim", "event_engine", "lifeguard")
"""The names of the library's threads."""

_FORK_PATIENCE = 1.0
_CALL_PATIENCE = 0.5
_END_PATIENCE = 0.05


class GrpcSender:
    """Takes requests of one signal to one target over gRPC.

    The library's threads do not survive a fork, and a child that inherits its state waits for them for ever. So the
    channel is closed before each fork, which ends them, and opened again by the next request on either side.
    """

    def __init__(self, target: OtlpEndpoint, signal: str) -> None:
        self.target = target
        self._signal = signal
        self._method = f"/opentelemetry.proto.collector.{_SERVICES[signal]}/Export"
        self._metadata = [
            (name, value.encode() if name.endswith("-bin") else value) for name, value in target.headers.items()
        ]
        self.forget()

    def forget(self) -> None:
        """Start anew in a forked child: the channel was closed before."""
        self._opening = threads.allocate_lock()
        self._calling = threads.allocate_lock()
        self._generation = 0
        self._channel: Any = None
        self._call: Callable[..., bytes] | None = None

    def send(self, body: bytes, timeout: float) -> Outcome:
        """Call the service with ``body``; all of it takes at most ``timeout`` seconds. Never raises."""
        generation = self._generation
        try:
            call = self._call or self._open()
            with self._calling:
                answer = call(body, timeout, metadata=self._metadata)
        except Exception as error:
            if generation != self._generation:
                # Our own fork came in between, which says nothing about the endpoint.
                return Outcome(ExportResult.RETRYABLE)
            # A new channel tries to connect at once; this one would do so after a delay of its own.
            self.close()
            return _outcome(error)
        return Outcome(ExportResult.SUCCESS, rejected=rejected_items(answer))

    def another(self) -> GrpcSender:
        """Return one with a channel of its own."""
        return GrpcSender(self.target, self._signal)

    def before_fork(self) -> None:
        """Close the channel, and wait for the library's threads to end.

        A call of another thread has half a second for its end: one that is cut off may have been taken, and is made again.
        """
        self._generation += 1
        # The import of the library would never end in the child.
        if self._opening.acquire(True, _FORK_PATIENCE):
            self._opening.release()
        if self._calling.acquire(True, _CALL_PATIENCE):
            self._calling.release()
        if self._channel is not None:
            self.close()
            until = time.monotonic() + _END_PATIENCE
            while _library_threads() and time.monotonic() < until:
                os.sched_yield()

    def close(self) -> None:
        """Close the channel; the next request opens another."""
        channel, self._channel, self._call = self._channel, None, None
        if channel is not None:
            channel.close()

    def _open(self) -> Callable[..., bytes]:
        with self._opening:
            self._channel = channel = self._new_channel()
            call: Callable[..., bytes] = channel.unary_unary(self._method)
            self._call = call
            return call

    def _new_channel(self) -> Any:
        import grpc

        address = self.target.url
        for scheme in ("http://", "https://"):
            address = address.removeprefix(scheme)
        options = [
            ("grpc.primary_user_agent", USER_AGENT),
            # What other channels of this process learn about the endpoint would delay this one's next attempt.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        if address.startswith(("localhost:", "127.", "[::1]")):
            # A proxy would take it for its own machine.
            options.append(("grpc.enable_http_proxy", 0))
        compression = grpc.Compression.Gzip if self.target.gzip else grpc.Compression.NoCompression
        if self.target.secure:
            return grpc.secure_channel(address, self._credentials(), options, compression)
        return grpc.insecure_channel(address, options, compression)

    def _credentials(self) -> Any:
        import grpc

        if self.target.credentials:
            for entry_point in entry_points(group=_PROVIDERS, name=self.target.credentials):
                return entry_point.load()()
            raise LookupError(f"{self.target.credentials!r} provides no credentials")
        return grpc.ssl_channel_credentials(
            _content(self.target.ca_file), _content(self.target.key_file), _content(self.target.certificate_file)
        )


def _library_threads() -> int:
    """Return how many threads of the library run; 0 where the system does not tell."""
    found = 0
    try:
        for thread in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{thread}/comm", encoding="ascii", errors="replace") as name:
                found += name.read().strip() in _THREADS
    except OSError:
        # One has ended just now, or there is no such directory.
        return found
    return found


def _content(path: str | None) -> bytes | None:
    if path is None:
        return None
    with open(path, "rb") as file:
        return file.read()


def _outcome(error: Any) -> Outcome:
    """Return what the error of a call means: only what is wrong with the content is refused."""
    code = getattr(error, "code", None)
    if not callable(code):
        return Outcome(ExportResult.RETRYABLE, f"{type(error).__name__}: {error}".rstrip(": ")[:_LONGEST_REASON])
    name, details = code().name, str(error.details() or "")
    if name == "INVALID_ARGUMENT":
        return Outcome(ExportResult.PERMANENT, f"gRPC {name}")
    if name == "RESOURCE_EXHAUSTED" and "larger than max" in details:
        # Implementations of gRPC answer so to a message that is longer than they take.
        return Outcome(ExportResult.PERMANENT, f"gRPC {name}", status=413)
    trailers = dict(error.trailing_metadata() or ())
    return Outcome(
        ExportResult.RETRYABLE,
        f"gRPC {name}: {details}".rstrip(": ")[:_LONGEST_REASON],
        _retry_after(trailers.get(_DETAILS, b"")),
    )


def _retry_after(status: bytes) -> float:
    """Return the seconds of the ``RetryInfo`` in a ``google.rpc.Status``; at most a minute, 0 when there is none.

    https://github.com/googleapis/googleapis/blob/master/google/rpc/error_details.proto
    """
    try:
        for detail in _members(status, 3):
            if any(kind.endswith(_RETRY_INFO) for kind in _members(detail, 1)):
                for info in _members(detail, 2):
                    for delay in _members(info, 1):
                        numbers = {field.number: varint(delay, field.value)[0] for field in fields_of(delay)}
                        return min(numbers.get(1, 0) + numbers.get(2, 0) / 1e9, MAX_RETRY_AFTER)
    except (ValueError, TypeError):
        # The server's remark cannot be read; our own delay holds.
        return 0.0
    return 0.0


def _members(message: bytes, number: int) -> list[bytes]:
    return [message[field.value : field.end] for field in fields_of(message) if field.number == number]
