"""A log record as one line of JSON, with the fields and names under which Loki shows it.

.. code-block:: json

    {"timestamp":"2026-01-01T10:00:00.000000001Z","severity_text":"INFO","severity_number":9,
     "body":"paid","service_name":"shop"}

Attributes follow under the names that Loki gives them: ``exception.type`` is ``exception_type``,
and a dictionary becomes a field for each of its members. An attribute with the name of a fixed
field gets the suffix ``_extracted``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from otel_distro import schema
from otel_distro._otel.events import LONGEST_TEXT, simple, text_of
from otel_distro._runtime.diagnostics import UNPRINTABLE
from otel_distro._runtime.json_lines import iso, line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_distro.export.encode.request import Encoded
    from otel_distro.redaction import Redactor

_RESOURCE: Final = (
    schema.SERVICE_NAME,
    schema.SERVICE_NAMESPACE,
    schema.DEPLOYMENT_ENVIRONMENT,
    schema.SERVICE_INSTANCE_ID,
    schema.SERVICE_VERSION,
)
_FIXED: Final = frozenset(
    {
        *("timestamp", "severity_text", "severity_number", "body", "event_name", "trace_id", "span_id", "scope_name"),
        *(attribute.label for attribute in _RESOURCE),
    }
)
_MAX_DEPTH: Final = 16
_MAX_VALUES: Final = 5000
_MARGIN_CHARS: Final = 1024
_CACHED_LABELS: Final = 4096
_INVALID_IN_LABEL: Final = re.compile(r"[^a-zA-Z0-9_]")

_labels: dict[str, str] = {}


def encode_lines(items: Sequence[Any], redactor: Redactor) -> Encoded:
    """Return the redacted lines of log records. Never raises.

    Args:
        items: ``ReadableLogRecord`` objects; one that cannot be encoded is dropped and counted.
        redactor: Redacts every text.
    """
    from otel_distro.export.encode.request import Encoded

    lines: list[bytes] = []
    dropped: dict[str, int] = {}
    for item in items:
        try:
            lines.append(line(fields_of(item, redactor)))
        except Exception:
            dropped["unencodable"] = dropped.get("unencodable", 0) + 1
    return Encoded(b"".join(lines), len(lines), dropped)


def fields_of(item: Any, redactor: Redactor) -> dict[str, Any]:
    """Return the fields of a ``ReadableLogRecord``, redacted."""
    record = item.log_record
    severity = record.severity_number
    found = fixed_fields(
        int(record.timestamp or record.observed_timestamp or 0),
        record.severity_text or "",
        0 if severity is None else int(severity.value),
        record.body,
        record.event_name or "",
        (record.trace_id or 0, record.span_id or 0),
        redactor,
    )
    resource = item.resource.attributes if item.resource is not None else {}
    for attribute in _RESOURCE:
        value = resource.get(attribute.name)
        if value not in (None, ""):
            found[attribute.label] = redactor.value(attribute.name, value)
    if item.instrumentation_scope is not None:
        found["scope_name"] = item.instrumentation_scope.name
    add_attributes(found, record.attributes or {}, redactor)
    return found


def fixed_fields(
    timestamp: int,
    severity_text: str,
    severity_number: int,
    body: Any,
    event_name: str,
    ids: tuple[int, int],
    redactor: Redactor,
) -> dict[str, Any]:
    """Return the fields that every line has, without the empty ones.

    Args:
        timestamp: Nanoseconds since 1970.
        severity_text: Name of the severity.
        severity_number: Number of the severity, 0 for none.
        body: The body, of any type.
        event_name: Name of the event, empty for a log record.
        ids: Trace id and span id, 0 for none.
        redactor: Redacts the body.
    """
    found: dict[str, Any] = {"timestamp": iso(timestamp)}
    if severity_text:
        found["severity_text"] = severity_text
    if severity_number:
        found["severity_number"] = severity_number
    if body is not None:
        found["body"] = simple(_redacted("body", body, redactor))
    if event_name:
        found["event_name"] = event_name
    if ids[0]:
        found["trace_id"] = f"{ids[0]:032x}"
        found["span_id"] = f"{ids[1]:016x}"
    return found


def add_attributes(found: dict[str, Any], attributes: Mapping[str, Any], redactor: Redactor) -> None:
    """Add redacted attributes to the fields of a line, under the names that Loki gives them."""
    for key, value in attributes.items():
        try:
            _add(found, label(key), _redacted(key, value, redactor), 0)
        except Exception:
            # A container that raises: the other attributes are still written.
            found[label(key)] = UNPRINTABLE


def _redacted(key: str, value: Any, redactor: Redactor) -> Any:
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        # The rest is not written. With the margin, a secret that would be cut is found whole.
        return redactor.value(key, value[: LONGEST_TEXT + _MARGIN_CHARS])[:LONGEST_TEXT]
    return redactor.value(key, value)


def _add(found: dict[str, Any], name: str, value: Any, depth: int) -> None:
    if isinstance(value, Mapping) and depth < _MAX_DEPTH:
        for key, member in islice(value.items(), _MAX_VALUES):
            _add(found, f"{name}_{label(key)}", member, depth + 1)
    else:
        found[f"{name}_extracted" if name in _FIXED else name] = simple(value)


def label(key: Any) -> str:
    """Return the name that Loki gives an attribute."""
    known = _labels.get(key) if type(key) is str else None
    if known is not None:
        return known
    name = _INVALID_IN_LABEL.sub("_", text_of(key)) or "_"
    name = f"key_{name}" if name[0].isdigit() else name
    if len(_labels) >= _CACHED_LABELS:
        _labels.clear()
    if type(key) is str:
        _labels[key] = name
    return name
