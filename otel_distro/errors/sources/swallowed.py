"""Exceptions that the application catches without reporting them.

Enabled by ``OTEL_DISTRO_SWALLOWED_EXCEPTIONS``. ``sys.monitoring`` (Python 3.12) reports which code
has caught an exception. An exception that is then re-raised, logged, captured or reported by
another source is not swallowed; one that is freed without that is. Each is counted; of each
fingerprint one record is sent at once, then one per minute with the number suppressed.

Source: https://docs.python.org/3.12/library/sys.monitoring.html
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from otel_distro import schema, settings
from otel_distro._runtime.diagnostics import report_failure, say
from otel_distro.errors import answers, deferred, exception_report, exception_state, frames
from otel_distro.errors.rate_limit import Limiter

if TYPE_CHECKING:
    from types import CodeType

    from opentelemetry.util.types import AnyValue

_TOOL_IDS: Final = (4, 3)
"""Tool ids of ``sys.monitoring`` that no well-known tool uses, in order of preference."""
_NAME: Final = "otel_distro"

_limiter = Limiter()


class _State:
    """``tool``: the tool id used with ``sys.monitoring``, None while nothing is monitored."""

    __slots__ = ("tool",)

    def __init__(self) -> None:
        self.tool: int | None = None


_state = _State()


class _Swallowed:
    """A caught exception that is reported if it is freed unreported.

    ``attributes``: labels of the counter. ``report``: only of one exception per minute and
    fingerprint, because building it is expensive.
    """

    __slots__ = ("attributes", "done", "report")

    def __init__(self, attributes: dict[str, AnyValue], report: exception_report.Report | None) -> None:
        self.attributes = attributes
        self.report = report
        self.done = False


def start() -> None:
    """Register with ``sys.monitoring``, if the setting is on."""
    if not settings.OTEL_DISTRO_SWALLOWED_EXCEPTIONS.get():
        return
    monitoring: Any = getattr(sys, "monitoring", None)
    if monitoring is None:
        say(
            f"{settings.OTEL_DISTRO_SWALLOWED_EXCEPTIONS.name} needs Python 3.12: swallowed exceptions are not recorded",
            code="OD502",
        )
        return
    tool = next((tool for tool in _TOOL_IDS if monitoring.get_tool(tool) in (None, _NAME)), None)
    if tool is None:
        say(
            f"{settings.OTEL_DISTRO_SWALLOWED_EXCEPTIONS.name}: no free tool id of sys.monitoring; "
            "swallowed exceptions are not recorded",
            code="OD503",
        )
        return
    if monitoring.get_tool(tool) is None:
        monitoring.use_tool_id(tool, _NAME)
    _state.tool = tool
    events = monitoring.events
    monitoring.register_callback(tool, events.EXCEPTION_HANDLED, caught)
    monitoring.register_callback(tool, events.RERAISE, _reraised)
    monitoring.set_events(tool, events.EXCEPTION_HANDLED | events.RERAISE)


def stop() -> None:
    """Free the tool id."""
    tool, _state.tool = _state.tool, None
    if tool is not None:
        monitoring: Any = getattr(sys, "monitoring", None)
        monitoring.set_events(tool, 0)
        for event in (monitoring.events.EXCEPTION_HANDLED, monitoring.events.RERAISE):
            monitoring.register_callback(tool, event, None)
        monitoring.free_tool_id(tool)


def caught(code: CodeType, offset: int, error: BaseException) -> None:
    """Handle an exception that reached an ``except``, a ``finally`` or the end of a ``with``.

    The callback of ``sys.monitoring``. Never raises.
    """
    try:
        if not frames.app_file_name(code.co_filename) or not isinstance(error, Exception) or answers.kind_of(error):
            return
        state = exception_state.get_or_create(error)
        if state.reported or (state.pending is not None and not isinstance(state.pending, _Swallowed)):
            return
        for other in exception_state.linked(error):
            _discard(other)
        state.defer(_describe(error), _on_freed)
    except Exception as failure:
        report_failure("an exception that was caught", failure)


def _reraised(code: CodeType, offset: int, error: BaseException) -> None:
    try:
        if frames.app_file_name(code.co_filename):
            _discard(error)
    except Exception as failure:
        report_failure("an exception that was re-raised", failure)


def _discard(error: BaseException) -> None:
    state = exception_state.lookup(error)
    if state is not None and isinstance(state.pending, _Swallowed):
        state.discard_pending()


def _describe(error: Exception) -> _Swallowed:
    kind = exception_report.type_name(type(error))
    fingerprint = frames.fingerprint(kind, error, frames.traceback_entries(error.__traceback__))
    if _limiter.would_admit(fingerprint):
        report = exception_report.build_report(error, "swallowed", handled=True)
        return _Swallowed(report.attributes, report)
    return _Swallowed(
        {
            schema.EXCEPTION_TYPE.name: kind,
            schema.EXCEPTION_FINGERPRINT.name: fingerprint,
            schema.EXCEPTION_HANDLED.name: True,
            schema.EXCEPTION_HANDLER.name: "swallowed",
        },
        None,
    )


def _on_freed(swallowed: _Swallowed) -> None:
    deferred.submit(_report, swallowed)


def _report(swallowed: _Swallowed) -> None:
    exception_report.count(swallowed.attributes)
    suppressed = _limiter.admit(swallowed.attributes[schema.EXCEPTION_FINGERPRINT.name])
    if suppressed is not None and swallowed.report is not None:
        if suppressed:
            swallowed.attributes[schema.LOG_DUPLICATES.name] = suppressed
        exception_report.emit(swallowed.report)
