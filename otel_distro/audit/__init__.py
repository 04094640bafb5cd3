"""Audit events: who did what to what, with which outcome.

.. code-block:: python

    from otel_distro import audit

    audit.event("auth.login", outcome="failure", actor=user.id, target="admin-console", reason="bad password")
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final, Literal

from otel_distro import schema, settings
from otel_distro._otel import events
from otel_distro._runtime.diagnostics import guard
from otel_distro._version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.metrics import CallbackOptions, Observation

    from otel_distro.audit.local import LocalFile

__all__ = ["event", "watch"]

_SCOPE: Final = "otel_distro.audit"
_ROOT: Final = "audit."
_files: dict[str, LocalFile] = {}
_SAID: Final = (("actor", schema.AUDIT_ACTOR), ("target", schema.AUDIT_TARGET))


def event(
    name: str,
    /,
    *,
    outcome: Literal["success", "failure", "unknown"] = "success",
    actor: object = "",
    target: object = "",
    reason: object = "",
    source: str = "application",
    attributes: Mapping[str, Any] | None = None,
    **fields: Any,
) -> None:
    """Record an audit event. Never raises.

    ``name``: fixed lower-case words joined by dots, without anything that changes from call to call: ``auth.login``. It becomes
    the OpenTelemetry event ``audit.auth.login``. A name that is none of that costs one line on stderr; the event is sent
    under the nearest good name, or ``audit.unnamed``, and keeps what it was given as an attribute.

    ``outcome``: ``success`` (severity INFO), ``failure`` (WARN) or ``unknown`` (INFO; also in place of anything else).

    ``actor``, ``target``, ``reason``: who did it, to what, why it ended so. Any object, told by its ``str()``.

    ``source``: who noticed it, one of the values of ``schema.AUDIT_SOURCE``.

    ``attributes``, ``fields``: further attributes under their own names; names with dots go into ``attributes``.

    The event carries the active trace, is never sampled, folded or filtered, and is counted in ``audit.events``.
    """
    with guard("an audit event"):
        name, given = events.name_of("audit", name.removeprefix(_ROOT) if type(name) is str else name)
        ended = events.outcome_of("audit", name, outcome)
        fixed = {
            schema.AUDIT_NAME.name: name,
            schema.AUDIT_OUTCOME.name: ended,
            schema.AUDIT_ACTOR.name: events.text_of(actor),
            schema.AUDIT_TARGET.name: events.text_of(target),
            schema.AUDIT_REASON.name: events.text_of(reason),
            schema.AUDIT_SOURCE.name: events.text_of(source),
        }
        free = events.plain(attributes, fields)
        told = {**free, **given, **{key: value for key, value in fixed.items() if value}}
        body, now = _sentence(name, ended, fixed), time.time_ns()
        file: LocalFile | None = None
        with guard("an audit event in the audit file"):
            if (file := _local_file()) is not None and (link := file.write(now, _ROOT + name, ended, body, told)):
                told |= {schema.AUDIT_CHAIN_SEQUENCE.name: link.sequence, schema.AUDIT_CHAIN_HASH.name: link.hash}
        events.emit(_SCOPE, _ROOT + name, ended, body, told, now)
        labels = (schema.AUDIT_NAME.name, schema.AUDIT_OUTCOME.name, schema.AUDIT_SOURCE.name)
        events.count(_SCOPE, schema.AUDIT_EVENTS, {key: fixed[key] for key in labels})
        if file is not None:
            _tell_breaks(file)


def watch() -> None:
    """Report the state of the audit file, where the settings name one, as ``audit.chain.status`` from here on. Never raises."""
    with guard("watching the audit file"):
        if _local_file() is not None:
            _watch()


def _watch() -> None:
    from opentelemetry import metrics

    def observe(_: CallbackOptions) -> Iterable[Observation]:
        observations: list[Observation] = []
        with guard("looking at the audit file"):
            if (file := _local_file()) is not None:
                observations = file.observe()
                _tell_breaks(file)
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


def _tell_breaks(file: LocalFile) -> None:
    while file.chain.breaks:
        event("chain.broken", outcome="failure", target=file.chain.path, reason=file.chain.breaks.popleft())


def _sentence(name: str, outcome: str, fixed: Mapping[str, str]) -> str:
    said = ((word, fixed[attribute.name]) for word, attribute in _SAID)
    who = ", ".join(f"{word} {text}" for word, text in said if text)
    reason = fixed[schema.AUDIT_REASON.name]
    return f"{name} {events.VERBS[outcome]}{f' ({who})' if who else ''}{f': {reason}' if reason else ''}"
