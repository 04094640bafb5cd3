"""Redaction of everything that is encoded, by one redactor for the process.

It is created when the export path is built, or by the first encoder that runs without one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from opentelemetry.metrics import Observation

from otel_distro import schema
from otel_distro._runtime.diagnostics import report_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.metrics import CallbackOptions, Meter

    from otel_distro.redaction import Redactor

_Text = TypeVar("_Text", str, bytes)

MARGIN = 1024
"""Characters beyond the limit that are redacted too: a secret that would be cut is found whole."""

_redactor: Redactor | None = None


def redactor() -> Redactor:
    """Return the process's redactor, created from the settings."""
    global _redactor
    if _redactor is None:
        from otel_distro.redaction import Redactor

        try:
            _redactor = Redactor.from_environment()
        except Exception as error:
            report_failure("reading the settings of redaction (the defaults apply)", error)
            _redactor = Redactor()
    return _redactor


def redacted(value: _Text, limit: int, redact: Callable[[Any], Any]) -> Any:
    """Redact a text, of a long one only as much as is sent.

    Args:
        value: The text.
        limit: Characters that are sent.
        redact: Returns the text, or another one in its place.
    """
    if len(value) <= limit + MARGIN:
        return redact(value)
    from otel_distro.redaction import MASK

    # The margin is cut off: a secret may begin in it and end beyond.
    return redact(value[: limit + MARGIN])[:-MARGIN] or MASK


def reset_after_fork() -> None:
    """Count redactions from zero."""
    if _redactor is not None:
        _redactor.hidden.clear()


def report_hidden(meter: Meter) -> None:
    """Report the number of redactions, by kind, at every collection."""

    def observe(_: CallbackOptions) -> Iterable[Observation]:
        hidden = dict(_redactor.hidden) if _redactor is not None else {}
        return [Observation(count, {schema.REDACTION_KIND.name: kind}) for kind, count in hidden.items()]

    metric = schema.REDACTION_HIDDEN
    meter.create_observable_counter(metric.name, [observe], metric.unit, metric.brief)
