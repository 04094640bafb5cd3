"""Business events: named log records with fixed fields.

.. code-block:: python

    from otel_distro import log

    log.event("order.paid", outcome="success", user=7, amount=59.90, currency="EUR")

Docs: docs/logs.md, section "Business events".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from otel_distro import schema
from otel_distro._otel import events
from otel_distro._runtime.diagnostics import guard

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["event"]

_SCOPE = "otel_distro.log"


def event(
    name: str,
    /,
    *,
    outcome: Literal["success", "failure", "unknown"] = "success",
    user: object = "",
    attributes: Mapping[str, Any] | None = None,
    **fields: Any,
) -> None:
    """Emit a business event.

    The event has the active trace and is never sampled, deduplicated or filtered by level. Without
    telemetry the call does nothing. Specification:
    https://opentelemetry.io/docs/specs/semconv/general/events/

    Args:
        name: Fixed lower-case words joined by dots, at most 100 characters, without values that
            change from call to call: ``order.paid``. It is the name of the OpenTelemetry event. A
            bad name is reported on stderr; the event is sent under the nearest good name, or
            ``unnamed``, and keeps the given name as an attribute.
        outcome: ``success`` (severity INFO), ``failure`` (WARN) or ``unknown`` (INFO). Any other
            value counts as ``unknown``.
        user: Whom it concerns; the attribute ``user.id``. Any object; its ``str()`` is recorded.
        attributes: Further attributes, for names with dots.
        **fields: Further attributes, under their own names. Scalars, lists and dictionaries keep
            their types, any other object becomes its ``str()``, and None is left out.

    Raises:
        Nothing.

    Example:
        >>> from otel_distro import log
        >>> log.event("order.paid", user=7, amount=59.90, currency="EUR")
    """
    with guard("a business event"):
        name, given = events.name_of("business", name)
        checked = events.outcome_of("business", name, outcome)
        recorded = {**events.plain(attributes, fields), **given, schema.EVENT_OUTCOME.name: checked}
        user_id = events.text_of(user)
        if user_id:
            recorded[schema.USER_ID.name] = user_id
        body = f"{name} {events.VERBS[checked]}{f' for user {user_id}' if user_id else ''}"
        events.emit(_SCOPE, name, checked, body, recorded)
