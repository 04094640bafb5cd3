"""What the encoder asks of the process's redactor: nothing becomes bytes that it has not seen.

The redactor is made at the first question: when the export path is put together, or by whoever encodes without one.
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
"""How much more than what is sent of a text is looked at: a secret that would be cut is seen whole."""

_redactor: Redactor | None = None


def redactor() -> Redactor:
    """Return the process's redactor, as the settings have it."""
    global _redactor
    if _redactor is None:
        from otel_distro.redaction import Redactor

        try:
            _redactor = Redactor.from_environment()
        except Exception as error:
            report_failure("reading the settings of redaction, which holds without them,", error)
            _redactor = Redactor()
    return _redactor


def redacted(value: _Text, limit: int, redact: Callable[[Any], Any]) -> Any:
    """Return what ``redact`` makes of a text of which at most ``limit`` is sent, so that the rest costs nothing."""
    if len(value) <= limit + MARGIN:
        return redact(value)
    from otel_distro.redaction import MASK

    # At the end of what was looked at there may be the beginning of a secret.
    return redact(value[: limit + MARGIN])[:-MARGIN] or MASK


def reset_after_fork() -> None:
    """Count from zero: in a forked child."""
    if _redactor is not None:
        _redactor.hidden.clear()


def report_hidden(meter: Meter) -> None:
    """Report at every collection how much was hidden."""

    def observe(_: CallbackOptions) -> Iterable[Observation]:
        hidden = dict(_redactor.hidden) if _redactor is not None else {}
        return [Observation(count, {schema.REDACTION_KIND.name: kind}) for kind, count in hidden.items()]

    metric = schema.REDACTION_HIDDEN
    meter.create_observable_counter(metric.name, [observe], metric.unit, metric.brief)
