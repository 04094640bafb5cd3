"""Reads the body of an OTLP/HTTP request, with limits at every step, and decodes it.

Protocol: https://opentelemetry.io/docs/specs/otlp/#otlphttp.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from typing import TYPE_CHECKING, Any, Final

from google.protobuf import json_format
from google.protobuf.message import DecodeError

from otel_distro.local.rows import REQUESTS

if TYPE_CHECKING:
    from email.message import Message
    from io import BufferedIOBase

MAX_SENT: Final = 16 * 1024 * 1024
MAX_INFLATED: Final = 64 * 1024 * 1024
MAX_SKIPPED: Final = 4 * MAX_SENT
PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"

_WINDOW_BITS: Final = {"gzip": 31, "deflate": 15}
_IDS: Final = frozenset({"traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"})
_CHUNK: Final = 64 * 1024


class RefusedError(Exception):
    """The request is answered with ``status``, and counted under ``reason``."""

    def __init__(self, status: int, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.status = status
        self.reason = reason


def read(stream: BufferedIOBase, headers: Message) -> bytes:
    """Read and decompress a body.

    Raises:
        RefusedError: The body violates the protocol or a limit.
    """
    if "chunked" in headers.get("Transfer-Encoding", "").lower():
        sent = _read_chunks(stream)
    else:
        sent = _read_length(stream, headers.get("Content-Length"))
    encoding = headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return sent
    if encoding not in _WINDOW_BITS:
        raise RefusedError(415, "content encoding not supported", encoding)
    return inflate(sent, _WINDOW_BITS[encoding])


def checked(signal: str, content_type: str, body: bytes) -> bytes:
    """Return ``body`` as a protobuf export request of ``signal``.

    Raises:
        RefusedError: The body is not such a request.
    """
    request = REQUESTS[signal]()
    try:
        if content_type == PROTOBUF:
            request.ParseFromString(body)
            return body
        json_format.ParseDict(_with_base64_ids(json.loads(body)), request, ignore_unknown_fields=True)
        encoded: bytes = request.SerializeToString()
    except (DecodeError, json_format.ParseError, ValueError, TypeError, RecursionError) as error:
        raise RefusedError(400, "body not valid", str(error)) from error
    return encoded


def skip(stream: BufferedIOBase, headers: Message) -> None:
    """Read and discard the body of a refused request, so that the client can read the response."""
    length = headers.get("Content-Length", "")
    if _is_size(length):
        _skip(stream, min(int(length), MAX_SKIPPED))


def inflate(data: bytes, window_bits: int) -> bytes:
    """Return the decompressed ``data``, all its members, at most :data:`MAX_INFLATED` bytes."""
    parts = []
    room = MAX_INFLATED
    while data:
        stream = zlib.decompressobj(window_bits)
        try:
            part = stream.decompress(data, room + 1)
        except zlib.error as error:
            raise RefusedError(400, "compression not valid", str(error)) from error
        room -= len(part)
        if room < 0:
            raise RefusedError(413, "body too large", f"more than {MAX_INFLATED} bytes inflated")
        if not stream.eof:
            raise RefusedError(400, "compression not valid", "the data end early")
        parts.append(part)
        data = stream.unused_data
    return b"".join(parts)


def _read_length(stream: BufferedIOBase, length: str | None) -> bytes:
    if length is None:
        raise RefusedError(411, "length missing")
    if not _is_size(length):
        raise RefusedError(400, "length not valid", length[:20])
    size = int(length)
    if size > MAX_SENT:
        # A client that is still sending would see a broken connection instead of the response, and
        # retry for ever.
        _skip(stream, min(size, MAX_SKIPPED))
        raise RefusedError(413, "body too large", f"{size} bytes")
    body = stream.read(size)
    if len(body) < size:
        raise RefusedError(400, "body cut short", f"{len(body)} of {size} bytes")
    return body


def _read_chunks(stream: BufferedIOBase) -> bytes:
    parts = []
    total = 0
    while True:
        line = stream.readline(1024).split(b";")[0].strip()
        try:
            size = int(line, 16)
        except ValueError:
            raise RefusedError(400, "chunk not valid", repr(line[:20])) from None
        total += size
        if size < 0 or total > MAX_SENT:
            raise RefusedError(413, "body too large", "chunked")
        if size == 0:
            break
        part = stream.read(size)
        if len(part) < size or stream.readline(1024).strip():
            raise RefusedError(400, "body cut short", "chunked")
        parts.append(part)
    while stream.readline(1024).strip():
        pass  # Trailers.
    return b"".join(parts)


def _is_size(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20


def _skip(stream: BufferedIOBase, size: int) -> None:
    while size > 0:
        part = stream.read(min(size, _CHUNK))
        if not part:
            return
        size -= len(part)


def _with_base64_ids(value: Any) -> Any:
    """Return OTLP's JSON as protobuf's: identifiers change from hexadecimal to base64."""
    if isinstance(value, dict):
        return {k: _base64(v) if k in _IDS else _with_base64_ids(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_with_base64_ids(v) for v in value]
    return value


def _base64(digits: Any) -> str:
    try:
        return base64.b64encode(bytes.fromhex(digits)).decode("ascii")
    except (TypeError, ValueError, binascii.Error):
        raise RefusedError(400, "body not valid", "an identifier is not hexadecimal") from None
