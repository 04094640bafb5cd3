"""Audit events: who did what to what, and with which outcome.

.. code-block:: python

    from otel_distro import audit

    audit.event(
        "auth.login", outcome="failure", actor=7, target="admin-console", reason="bad password"
    )

Docs: docs/security.md.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any, Literal

from otel_distro import schema, settings
from otel_distro._otel import events
from otel_distro._runtime.diagnostics import guard
from otel_distro._version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.metrics import CallbackOptions, Observation

    from otel_distro.audit.local import LocalFile

__all__ = ["event"]

_SCOPE = "otel_distro.audit"
_PREFIX = "audit."
_files = dict[str, "LocalFile"]()
"""Path -> the audit file of this process."""
_SENTENCE_FIELDS = (("actor", schema.AUDIT_ACTOR), ("target", schema.AUDIT_TARGET))


def event(
    name: str,
    /,
    *,
    outcome: Literal["success", "failure", "unknown"] = "success",
    actor: object = "",
    target: object = "",
    reason: object = "",
    source: Literal["application", "interpreter", "http", "framework", "auditd"] = "application",
    attributes: Mapping[str, Any] | None = None,
    **fields: Any,
) -> None:
    """Record an audit event.

    The event has the active trace, is never sampled, deduplicated or filtered, and is counted in
    the metric ``audit.events``. With ``OTEL_DISTRO_AUDIT_FILE`` its line is in the audit file
    before the call returns; while the file cannot be written, up to 1,000 lines wait.

    Inside of a request that an instrumentation of this package traces, it has the address of the
    client, unless ``attributes`` gives another ``client.address``.

    Args:
        name: Fixed lower-case words joined by dots, at most 100 characters, without values that
            change from call to call: ``auth.login``. The OpenTelemetry event is
            ``audit.auth.login``. A bad name is reported on stderr; the event is sent under the
            nearest good name, or ``audit.unnamed``, and keeps the given name as an attribute.
        outcome: ``success`` (severity INFO), ``failure`` (WARN) or ``unknown`` (INFO). Any other
            value counts as ``unknown``.
        actor: Who did it. Any object; its ``str()`` is recorded. Empty or None: left out.
        target: What it was done to; as ``actor``.
        reason: Why it had this outcome; as ``actor``.
        source: What noticed the event.
        attributes: Further attributes, for names with dots.
        **fields: Further attributes, under their own names.

    Raises:
        Nothing.

    Example:
        >>> from otel_distro import audit
        >>> audit.event("auth.login", outcome="failure", actor="bob", reason="bad password")
    """
    with guard("an audit event"):
        name, given = events.name_of("audit", name.removeprefix(_PREFIX) if type(name) is str else name)
        checked = events.outcome_of("audit", name, outcome)
        fixed = {
            schema.AUDIT_NAME.name: name,
            schema.AUDIT_OUTCOME.name: checked,
            schema.AUDIT_ACTOR.name: events.text_of(actor),
            schema.AUDIT_TARGET.name: events.text_of(target),
            schema.AUDIT_REASON.name: events.text_of(reason),
            schema.AUDIT_SOURCE.name: events.text_of(source),
        }
        free = events.plain(attributes, fields)
        recorded = {**_client(), **free, **given, **{key: value for key, value in fixed.items() if value}}
        body, now = _sentence(name, checked, fixed), time.time_ns()
        file: LocalFile | None = None
        with guard("an audit event in the audit file"):
            if (file := _local_file()) is not None and (
                link := file.write(now, _PREFIX + name, checked, body, recorded)
            ):
                recorded |= {schema.AUDIT_CHAIN_SEQUENCE.name: link.sequence, schema.AUDIT_CHAIN_HASH.name: link.hash}
        events.emit(_SCOPE, _PREFIX + name, checked, body, recorded, now)
        labels = (schema.AUDIT_NAME.name, schema.AUDIT_OUTCOME.name, schema.AUDIT_SOURCE.name)
        events.count(_SCOPE, schema.AUDIT_EVENTS, {key: fixed[key] for key in labels})
        if file is not None:
            _report_breaks(file)


def _client() -> dict[str, str]:
    """Return the address of the client of the current request; empty outside of one.

    The module is there once an instrumentation has stored a request.
    """
    with guard("the client of an audit event"):
        current = getattr(sys.modules.get("otel_distro._otel.request_context"), "current_request", None)
        request = None if current is None else current()
        if request is not None and request.client_address:
            return {schema.CLIENT_ADDRESS.name: request.client_address}
    return {}


def watch() -> None:
    """Start the metric ``audit.chain.status`` if the settings name an audit file. Internal.

    Called once when the SDK is built. Never raises.
    """
    with guard("watching the audit file"):
        if _local_file() is not None:
            _watch()


def _watch() -> None:
    from opentelemetry import metrics

    def observe(_: CallbackOptions) -> Iterable[Observation]:
        observations: list[Observation] = []
        with guard("checking the audit file"):
            if (file := _local_file()) is not None:
                observations = file.observe()
                _report_breaks(file)
        return observations

    metric = schema.AUDIT_CHAIN_STATUS
    meter = metrics.get_meter(_SCOPE, __version__)
    meter.create_observable_gauge(metric.name, [observe], metric.unit, metric.brief)


def _local_file() -> LocalFile | None:
    path = settings.OTEL_DISTRO_AUDIT_FILE.get()
    if not path:
        return None
    if path not in _files:
        from otel_distro.audit.local import LocalFile

        _files.setdefault(path, LocalFile(path, os.environ))
    return _files[path]


def _report_breaks(file: LocalFile) -> None:
    while file.chain.breaks:
        event("chain.broken", outcome="failure", target=file.chain.path, reason=file.chain.breaks.popleft())


def _sentence(name: str, outcome: str, fixed: Mapping[str, str]) -> str:
    """Return the body: ``auth.login failed (actor 7, target admin-console): bad password``."""
    parts = ((word, fixed[attribute.name]) for word, attribute in _SENTENCE_FIELDS)
    participants = ", ".join(f"{word} {text}" for word, text in parts if text)
    reason = fixed[schema.AUDIT_REASON.name]
    return (
        f"{name} {events.VERBS[outcome]}{f' ({participants})' if participants else ''}{f': {reason}' if reason else ''}"
    )
