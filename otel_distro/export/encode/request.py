"""Encodes ended items as OTLP requests, without building protobuf objects.

Decoded, a body equals the one of upstream's encoder for the same items: messages are grouped by
resource and scope, both in the order of their first item. What is equal in its encoding is one
group. Upstream differs there: it distinguishes a missing version from an empty one, and considers
resources with the same attributes in another order equal.

An item that is hostile or broken never affects another one. Values are adjusted where possible:

- texts are cut at 64 KiB (bodies of log records at 256 KiB, names and keys at 4 KiB), and lone
  surrogates become U+FFFD;
- an item holds at most 5,000 values and 1 MiB of text; the rest is left out and added to its
  dropped counts;
- containers nested deeper than 30 become the text ``...`` (decoders stop at 100 nested messages);
- integers are clamped to 64 bits and times to 0 and above; NaN and infinity stay;
- values of a type that OTLP lacks become a text: for types of the standard library their ``str()``,
  for others the class's name.

Other items are dropped and counted: ``invalid_ids`` (a span without identifiers) and
``unencodable``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from otel_distro._runtime import threads
from otel_distro.export.encode.logs import encode_log
from otel_distro.export.encode.metrics import encode_metric
from otel_distro.export.encode.protobuf import (
    FIELD_1,
    FIELD_2,
    MAX_VALUE_BYTES,
    MAX_VALUES,
    VARINT,
    SizeLimit,
    is_interrupt,
    members,
    named,
    read,
)
from otel_distro.export.encode.spans import InvalidIdsError, encode_span
from otel_distro.export.encode.values import attributes

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Iterable, Sequence

    from opentelemetry.sdk.metrics.export import MetricsData
    from opentelemetry.sdk.trace import ReadableSpan

    from otel_distro._otel.sdk import ReadableLogRecord

_resource_fields = attrgetter("attributes", "schema_url")
_scope_fields = attrgetter("name", "version", "attributes", "schema_url")

_CACHED_ORIGINS = 256
_FRAMES_NEEDED = 120
_DEFAULT_RECURSION_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Encoded:
    """A serialised ``Export…ServiceRequest`` and the number of its items.

    ``dropped`` counts the items left out, by reason.
    """

    body: bytes
    count: int
    dropped: dict[str, int]


_NO_ITEMS = Encoded(b"", 0, {})
_NOTHING: Any = object()


class PreEncoded(NamedTuple):
    """An encoded item, in the place of the item itself in its queue."""

    message: bytes
    resource: Any
    scope: Any


class EncodedResource(NamedTuple):
    """A resource or scope: message as field 1, schema URL as field 3 of the outer message."""

    head: bytes
    schema_url: bytes


class _Group(NamedTuple):
    """The items of one scope.

    It references the resource and the scope, so that no other object gets their identity meanwhile.
    """

    resource: Any
    scope: Any
    parts: list[bytes]


# By identity, with the object itself: a resource's hash is computed from its JSON at each call.
_resources: dict[int, tuple[Any, EncodedResource]] = {}
_scopes: dict[int, tuple[Any, EncodedResource]] = {}


def encode_spans(items: Sequence[ReadableSpan]) -> Encoded:
    """Encode ended spans. Never raises, except what a signal handler raises in the main thread."""
    return _with_enough_stack(lambda: _encode(items, encode_span))


def encode_logs(items: Sequence[ReadableLogRecord]) -> Encoded:
    """Encode log records. Never raises, except what a signal handler raises in the main thread."""
    return _with_enough_stack(lambda: _encode(items, encode_log))


def pre_encode_spans(items: deque[Any], first: int, end: int) -> int:
    """Replace the spans from index ``first`` to before ``end`` by :class:`PreEncoded` ones.

    Never raises, except what a signal handler raises in the main thread. A span that cannot be
    encoded stays; :func:`encode_spans` counts it. Other threads may append items and remove the
    oldest meanwhile.

    Returns:
        The index of the first item that was not visited.
    """
    budget = SizeLimit()
    for index in range(first, end):
        try:
            item = items[index]
            if type(item) is not PreEncoded:
                budget.reset()
                ready = PreEncoded(*encode_span(item, budget))
                # Atomic enough: removing the oldest item moves all others.
                if items[index] is item:
                    items[index] = ready
        except BaseException as error:
            if is_interrupt(error):
                raise
    return end


def encode_metrics(data: MetricsData, between: Callable[[], object] = lambda: None) -> Encoded:
    """Encode collected metrics; an item is a data point.

    Never raises, except what a signal handler raises in the main thread.

    Args:
        data: What the SDK collected.
        between: Called after each metric.
    """
    return _with_enough_stack(lambda: _encode_metrics(data, between))


def _encode(items: Sequence[Any], encode: Callable[[Any, SizeLimit], tuple[bytes, Any, Any]]) -> Encoded:
    budget = SizeLimit()
    groups: dict[tuple[int, int], _Group] = {}
    dropped: dict[str, int] = {}
    count = 0
    # Most items have the resource and the scope of the one before.
    last_resource = last_scope = _NOTHING
    append: Any = None
    for item in items:
        if type(item) is PreEncoded:
            message, resource, scope = item
        else:
            budget.values_left, budget.bytes_left = MAX_VALUES, MAX_VALUE_BYTES
            try:
                message, resource, scope = encode(item, budget)
            except BaseException as error:
                _drop(dropped, error)
                continue
        if resource is not last_resource or scope is not last_scope:
            last_resource, last_scope = resource, scope
            key = (id(resource), id(scope))
            group = groups.get(key)
            if group is None:
                group = groups[key] = _Group(resource, scope, [])
            append = group.parts.append
        append(FIELD_2[len(message)])
        append(message)
        count += 1
    return Encoded(_request(groups.values()), count, dropped)


def _encode_metrics(data: MetricsData, between: Callable[[], object]) -> Encoded:
    budget = SizeLimit()
    groups: list[_Group] = []
    dropped: dict[str, int] = {}
    total = 0
    for resource, scope, metric in _metrics(data, dropped):
        try:
            message, count = encode_metric(metric, budget, lambda error: _drop(dropped, error))
        except BaseException as error:
            _drop(dropped, error)
            continue
        if not groups or groups[-1].resource is not resource or groups[-1].scope is not scope:
            groups.append(_Group(resource, scope, []))
        groups[-1].parts.extend((FIELD_2[len(message)], message))
        total += count
        between()
    return Encoded(_request(groups), total, dropped)


def _metrics(data: MetricsData, dropped: dict[str, int]) -> Iterable[tuple[Any, Any, Any]]:
    """Yield every metric with its resource and scope; an unreadable part is one dropped item."""
    try:
        for resource_metrics in members(data.resource_metrics):
            for scope_metrics in members(resource_metrics.scope_metrics):
                for metric in members(scope_metrics.metrics):
                    yield resource_metrics.resource, scope_metrics.scope, metric
    except Exception as error:
        _drop(dropped, error)


def _drop(dropped: dict[str, int], error: BaseException) -> None:
    """Count an item that could not be encoded; raise the error of a signal handler again."""
    if is_interrupt(error):
        raise error
    reason = "invalid_ids" if isinstance(error, InvalidIdsError) else "unencodable"
    dropped[reason] = dropped.get(reason, 0) + 1


def _request(groups: Iterable[_Group]) -> bytes:
    """Build the request from the items of all groups."""
    resources: dict[EncodedResource, dict[EncodedResource, list[bytes]]] = {}
    for group in groups:
        scopes = resources.setdefault(_origin(group.resource, _resources, _resource), {})
        scopes.setdefault(_origin(group.scope, _scopes, _scope), []).extend(group.parts)
    parts: list[bytes] = []
    for resource, scopes in resources.items():
        members = [resource.head]
        for scope, items in scopes.items():
            size = len(scope.head) + sum(map(len, items)) + len(scope.schema_url)
            members += (FIELD_2[size], scope.head, *items, scope.schema_url)
        members.append(resource.schema_url)
        parts.append(FIELD_1[sum(map(len, members))])
        parts += members
    return b"".join(parts)


def _origin(
    source: Any, known: dict[int, tuple[Any, EncodedResource]], encode: Callable[[Any], tuple[bytes, bytes]]
) -> EncodedResource:
    """Return the encoded resource or scope, from the cache if possible.

    One that cannot be read becomes an empty one; its items stay.
    """
    entry = known.get(id(source))
    if entry is not None and entry[0] is source:
        return entry[1]
    try:
        message, schema_url = (b"", b"") if source is None else encode(source)
    except BaseException as error:
        if is_interrupt(error):
            raise
        message, schema_url = b"", b""
    origin = EncodedResource(FIELD_1[len(message)] + message, schema_url)
    if len(known) >= _CACHED_ORIGINS:
        known.clear()
    known[id(source)] = (source, origin)
    return origin


def _resource(resource: Any) -> tuple[bytes, bytes]:
    mapping, schema_url = read(_resource_fields, resource)
    pairs, lost = attributes(b"\x0a", mapping, SizeLimit())
    return pairs + b"\x10" + VARINT[lost] if lost else pairs, named(b"\x1a", schema_url)


def _scope(scope: Any) -> tuple[bytes, bytes]:
    title, version, mapping, schema_url = read(_scope_fields, scope)
    pairs, lost = attributes(b"\x1a", mapping, SizeLimit())
    head = b"".join((named(b"\x0a", title), named(b"\x12", version), pairs))
    return head + b"\x20" + VARINT[lost] if lost else head, named(b"\x1a", schema_url)


def _with_enough_stack(encode: Callable[[], Encoded]) -> Encoded:
    """Encode in a new thread if the caller's stack is so deep that every item would fail.

    Producers encode when the queue is half full, at any depth of their stack.
    """
    try:
        if not _is_shallow():
            _descend(_FRAMES_NEEDED)
    except RecursionError:
        done = threads.allocate_lock()
        done.acquire()
        results = [_NO_ITEMS]

        def run() -> None:
            try:
                results.append(encode())
            finally:
                done.release()

        try:
            threads.start_new_thread(run, ())
        except RuntimeError:
            return encode()
        done.acquire()
        return results[-1]
    return encode()


def _is_shallow() -> bool:
    """Whether the caller's stack is not deep, as in every thread of the distribution."""
    try:
        sys._getframe(_FRAMES_NEEDED)
    except ValueError:
        return sys.getrecursionlimit() >= _DEFAULT_RECURSION_LIMIT
    return False


def _descend(frames: int) -> None:
    if frames:
        _descend(frames - 1)
