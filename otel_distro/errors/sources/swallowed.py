"""Exceptions that the application's own code catches and tells nobody of; on by ``OTEL_DISTRO_SWALLOWED_EXCEPTIONS``.

``sys.monitoring`` of Python 3.12 says which code has caught an exception. One that is then raised on, logged, captured or
otherwise told is not silent; one that ends untold is. Each is counted; of one fingerprint a record is sent at once, and then
one a minute with the number of those between.

Source: https://docs.python.org/3.12/library/sys.monitoring.html
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from otel_distro import schema, settings
from otel_distro._runtime.diagnostics import report_failure, say
from otel_distro.errors import deferred, exception_report, exception_state, frames
from otel_distro.errors.rate_limit import Limiter

if TYPE_CHECKING:
    from types import CodeType

    from opentelemetry.util.types import AnyValue

_CONTROL_FLOW: Final = (StopIteration, StopAsyncIteration)
_TOOL_IDS: Final = (4, 3)
_NAME: Final = "otel_distro"

_limiter = Limiter()
_state: dict[str, Any] = {}


class _Silent:
    """What is to be told of an exception if it ends untold: of one in a minute everything, of the others their labels."""

    __slots__ = ("attributes", "done", "report")

    def __init__(self, attributes: dict[str, AnyValue], report: exception_report.Report | None) -> None:
        self.attributes = attributes
        self.report = report
        self.done = False


def start() -> None:
    """Listen, if the setting says so."""
    if not settings.OTEL_DISTRO_SWALLOWED_EXCEPTIONS.get():
        return
    monitoring: Any = getattr(sys, "monitoring", None)
    if monitoring is None:
        say(f"{settings.OTEL_DISTRO_SWALLOWED_EXCEPTIONS.name} needs Python 3.12: silent exceptions are not recorded")
        return
    tool = next((tool for tool in _TOOL_IDS if monitoring.get_tool(tool) in (None, _NAME)), None)
    if tool is None:
        say(
            f"{settings.OTEL_DISTRO_SWALLOWED_EXCEPTIONS.name}: other tools have taken all places of sys.monitoring; off"
        )
        return
    if monitoring.get_tool(tool) is None:
        monitoring.use_tool_id(tool, _NAME)
    _state["tool"] = tool
    events = monitoring.events
    monitoring.register_callback(tool, events.EXCEPTION_HANDLED, caught)
    monitoring.register_callback(tool, events.RERAISE, _raised_on)
    monitoring.set_events(tool, events.EXCEPTION_HANDLED | events.RERAISE)


def stop() -> None:
    """Listen no more."""
    tool = _state.pop("tool", None)
    if tool is not None:
        monitoring: Any = getattr(sys, "monitoring", None)
        monitoring.set_events(tool, 0)
        for event in (monitoring.events.EXCEPTION_HANDLED, monitoring.events.RERAISE):
            monitoring.register_callback(tool, event, None)
        monitoring.free_tool_id(tool)


def caught(code: CodeType, offset: int, error: BaseException) -> None:
    """Called for each exception that arrives at an ``except``, a ``finally`` or the end of a ``with``."""
    try:
        if (
            not frames.own_name(code.co_filename)
            or not isinstance(error, Exception)
            or isinstance(error, _CONTROL_FLOW)
            or type(error).__name__ == "CancelledError"
        ):
            return
        mark = exception_state.get(error)
        if mark.told or (mark.waiting is not None and not isinstance(mark.waiting, _Silent)):
            return
        for other in exception_state.linked(error):
            _forget(other)
        mark.wait(_noted(error), _ended)
    except Exception as failure:
        report_failure("an exception that was caught", failure)


def _raised_on(code: CodeType, offset: int, error: BaseException) -> None:
    try:
        if frames.own_name(code.co_filename):
            _forget(error)
    except Exception as failure:
        report_failure("an exception that was raised on", failure)


def _forget(error: BaseException) -> None:
    mark = exception_state.find(error)
    if mark is not None and isinstance(mark.waiting, _Silent):
        mark.drop()


def _noted(error: Exception) -> _Silent:
    kind = exception_report.type_name(type(error))
    fingerprint = frames.fingerprint(kind, error, frames.entries(error.__traceback__))
    if _limiter.would_tell(fingerprint):
        report = exception_report.report_of(error, "swallowed", handled=True)
        return _Silent(report.attributes, report)
    return _Silent(
        {
            schema.EXCEPTION_TYPE.name: kind,
            schema.EXCEPTION_FINGERPRINT.name: fingerprint,
            schema.EXCEPTION_HANDLED.name: True,
            schema.EXCEPTION_HANDLER.name: "swallowed",
        },
        None,
    )


def _ended(silent: _Silent) -> None:
    deferred.run(_tell, silent)


def _tell(silent: _Silent) -> None:
    exception_report.count(silent.attributes)
    held_back = _limiter.take(silent.attributes[schema.EXCEPTION_FINGERPRINT.name])
    if held_back is not None and silent.report is not None:
        if held_back:
            silent.attributes[schema.LOG_DUPLICATES.name] = held_back
        exception_report.emit(silent.report)
