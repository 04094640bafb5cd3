"""Common code of business events and audit events: bounded names, outcomes, and emission."""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final

from otel_distro import schema
from otel_distro._otel import sdk
from otel_distro._runtime import diagnostics
from otel_distro._runtime.diagnostics import guard, say
from otel_distro._version import __version__

SUCCESS: Final = "success"
FAILURE: Final = "failure"
UNKNOWN: Final = "unknown"
OUTCOMES: Final = (SUCCESS, FAILURE, UNKNOWN)
VERBS: Final = {SUCCESS: "succeeded", FAILURE: "failed", UNKNOWN: "ended with unknown outcome"}
UNNAMED: Final = "unnamed"
LONGEST_TEXT: Final = 256 * 1024

_NAME: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
_DYNAMIC: Final = re.compile(r"[0-9]{4}|[0-9a-f]{16}")
_NO_LETTER: Final = re.compile(r"[^a-z0-9_.]+")
_MAX_NAME_LENGTH: Final = 100
_MAX_NAMES: Final = 500
_SCALARS: Final = (str, bool, int, float, bytes)
_MAX_DEPTH: Final = 16
_MAX_VALUES: Final = 5000

_names: set[str] = set()


def name_of(kind: str, given: Any) -> tuple[str, dict[str, Any]]:
    """Return the name of an event, and attributes that keep the given one if it was changed.

    A good name is one of a fixed set of lower-case words joined by dots (``order.paid``). Case and
    underscores are repaired. A name with numbers, and any beyond the first 500, becomes
    ``unnamed``: names are labels of series.
    """
    if type(given) is str and given in _names:
        return given, {}
    text = text_of(given)
    good = len(text) <= _MAX_NAME_LENGTH and _NAME.fullmatch(text) is not None and not _DYNAMIC.search(text)
    name = text if good else _repaired(text)
    if name not in _names and len(_names) >= _MAX_NAMES:
        say(
            f"{kind} event {text[:_MAX_NAME_LENGTH]!r}: there are {_MAX_NAMES} names already, sent as {UNNAMED!r}. "
            f"Use a fixed name and put what changes into a field",
            cause=f"{kind} event names",
            code="OD703",
        )
        return UNNAMED, {schema.EVENT_ORIGINAL_NAME.name: text}
    if name != UNNAMED:
        _names.add(name)
    if good:
        return name, {}
    say(
        f"{kind} event {text[:_MAX_NAME_LENGTH]!r}: a name is fixed, of lower-case words joined by dots; "
        f"sent as {name!r}",
        cause=f"{kind} event name {text[:_MAX_NAME_LENGTH]}",
        code="OD702",
    )
    return name, {schema.EVENT_ORIGINAL_NAME.name: text}


def _repaired(text: str) -> str:
    words = [_NO_LETTER.sub("_", word.strip()).strip("_") for word in text[: _MAX_NAME_LENGTH + 1].lower().split(".")]
    name = ".".join(word for word in words if word)
    is_data = any(letter.isdigit() for letter in text) or _DYNAMIC.search(name)
    return UNNAMED if is_data or len(name) > _MAX_NAME_LENGTH or not _NAME.fullmatch(name) else name


def outcome_of(kind: str, name: str, given: Any) -> str:
    """Return the outcome; any other value gives ``unknown`` and prints one line."""
    if type(given) is str and given in OUTCOMES:
        return given
    say(
        f"{kind} event {name!r}: outcome {text_of(given)[:_MAX_NAME_LENGTH]!r} is not one of {', '.join(OUTCOMES)}; "
        f"using {UNKNOWN!r}",
        cause=f"{kind} event outcome {name}",
        code="OD704",
    )
    return UNKNOWN


def text_of(value: object) -> str:
    """Return the text of any value; None is empty."""
    return "" if value is None else diagnostics.text_of(value)


def plain(*fields: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return fields as attributes, without those that are None."""
    found: dict[str, Any] = {}
    with guard("fields of an event, which is sent without them,"):
        for mapping in fields:
            for key, value in (mapping or {}).items():
                if value is not None:
                    found[text_of(key)] = value if type(value) in _SCALARS else simple(value)
    return found


def simple(value: Any, depth: int = 0, room: list[int] | None = None) -> Any:
    """Return a value of JSON's types, bounded in depth, number and length; others by their text."""
    if value is None or value is True or value is False:
        return value
    kind = type(value)
    if kind is str:
        return value if len(value) <= LONGEST_TEXT else value[:LONGEST_TEXT]
    if kind is int:
        return value if -(1 << 63) <= value < 1 << 63 else str(value)[:LONGEST_TEXT]
    if kind is float:
        return value if math.isfinite(value) else repr(value)
    room = [_MAX_VALUES] if room is None else room
    room[0] -= 1
    if room[0] < 0 or depth > _MAX_DEPTH:
        return "..."
    if isinstance(value, bytes):
        return value[:LONGEST_TEXT].decode("utf-8", "backslashreplace")
    if isinstance(value, Mapping):
        return {text_of(key): simple(member, depth + 1, room) for key, member in islice(value.items(), room[0])}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [simple(member, depth + 1, room) for member in islice(value, room[0])]
    return (str.__str__(value) if isinstance(value, str) else text_of(value))[:LONGEST_TEXT]


def active_span() -> tuple[int, int]:
    """Return trace and span id of the active span, zeros without one. Imports nothing."""
    # Missing while the module is being imported, which a signal handler may have interrupted.
    current = getattr(sys.modules.get("opentelemetry.trace"), "get_current_span", None)
    if current is None:
        return 0, 0
    context = current().get_span_context()
    return (context.trace_id, context.span_id) if context.is_valid else (0, 0)


def emit(scope: str, event_name: str, outcome: str, body: str, attributes: dict[str, Any], timestamp: int = 0) -> None:
    """Emit an event through the logs API.

    The first call of that API starts telemetry in an instrumented process.

    The severity follows the outcome: ``failure`` is WARN, everything else INFO.

    Args:
        scope: Name of the logger.
        event_name: Name of the event.
        outcome: One of :data:`OUTCOMES`.
        body: Text of the record.
        attributes: Attributes of the record.
        timestamp: Nanoseconds since 1970; 0: now.
    """
    severity = sdk.SeverityNumber
    failed = outcome == FAILURE
    sdk.get_logger(scope, __version__).emit(
        timestamp=timestamp or time.time_ns(),
        event_name=event_name,
        severity_number=severity.WARN if failed else severity.INFO,
        severity_text="WARN" if failed else "INFO",
        body=body,
        attributes=attributes,
    )


def count(scope: str, metric: schema.Metric, attributes: dict[str, Any]) -> None:
    """Add one to a counter."""
    from opentelemetry import metrics

    metrics.get_meter(scope, __version__).create_counter(metric.name, metric.unit, metric.brief).add(1, attributes)
