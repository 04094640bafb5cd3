"""Business events: what happened in the terms of the business, as named log records with fixed fields.

.. code-block:: python

    from otel_distro import log

    log.event("order.paid", outcome="success", user=customer.id, amount=59.90, currency="EUR")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from otel_distro import schema
from otel_distro._otel import events
from otel_distro._runtime.diagnostics import guard

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["event"]

_SCOPE: Final = "otel_distro.log"


def event(
    name: str,
    /,
    *,
    outcome: Literal["success", "failure", "unknown"] = "success",
    user: object = "",
    attributes: Mapping[str, Any] | None = None,
    **fields: Any,
) -> None:
    """Emit a business event. Never raises; where telemetry is switched off it does nothing.

    ``name``: fixed lower-case words joined by dots, without anything that changes from call to call: ``order.paid``. It is the name
    of the OpenTelemetry event. A name that is none of that costs one line on stderr; the event is sent under the nearest
    good name, or ``unnamed``, and keeps what it was given as an attribute.

    ``outcome``: ``success`` (severity INFO), ``failure`` (WARN) or ``unknown`` (INFO; also in place of anything else).

    ``user``: whom it happened to, as ``user.id``. Any object, told by its ``str()``.

    ``attributes``, ``fields``: what else there is to know, under their own names; names with dots go into ``attributes``.
    Values are scalars, lists and dictionaries; any other object is told by its ``str()``, None is left out.

    The event carries the active trace and is never sampled, folded or filtered by level.
    Specification: https://opentelemetry.io/docs/specs/semconv/general/events/
    """
    with guard("a business event"):
        name, given = events.name_of("business", name)
        ended = events.outcome_of("business", name, outcome)
        told = {**events.plain(attributes, fields), **given, schema.EVENT_OUTCOME.name: ended}
        who = events.text_of(user)
        if who:
            told[schema.USER_ID.name] = who
        events.emit(_SCOPE, name, ended, f"{name} {events.VERBS[ended]}{f' for user {who}' if who else ''}", told)
