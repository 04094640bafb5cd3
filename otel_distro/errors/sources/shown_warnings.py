"""Warnings of :mod:`warnings` that the filters let through, as log records; what is printed stays as it is.

Not those that ``catch_warnings(record=True)`` keeps, nor those that ``logging.captureWarnings`` makes log records itself.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

from otel_distro import schema
from otel_distro._runtime.diagnostics import guard, text_of
from otel_distro.errors import exception_report
from otel_distro.errors.rate_limit import Limiter

if TYPE_CHECKING:
    from collections.abc import Callable

_limiter = Limiter()


def showing(warnings: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return what wraps the function that every warning passes which is to be shown."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def _showwarnmsg(message: Any) -> Any:
            with guard("recording a warning"):
                if _is_shown(warnings) and not _is_of_our_threads(message):
                    _tell(message)
            return original(message)

        return _showwarnmsg

    return wrap


def _is_shown(warnings: Any) -> bool:
    kept = getattr(warnings._showwarnmsg_impl, "__module__", None) != warnings.__name__
    return not kept and getattr(warnings.showwarning, "__module__", None) != "logging"


def _is_of_our_threads(message: Any) -> bool:
    """Return whether Python 3.13.0 to 3.13.9 warn of a fork with threads that only the hooks after it have started again.

    https://github.com/python/cpython/issues/137109
    """
    return (
        (3, 13) <= sys.version_info < (3, 13, 10)
        and message.category is DeprecationWarning
        and "is multi-threaded, use of fork" in text_of(message.message)
        and threading.active_count() == 1
    )


def _tell(message: Any) -> None:
    kind = exception_report.type_name(message.category)
    held_back = _limiter.take((kind, message.filename, message.lineno))
    if held_back is None:
        return
    text = text_of(message.message)
    told = exception_report.Report(
        {
            schema.EXCEPTION_TYPE.name: kind,
            schema.EXCEPTION_MESSAGE.name: text,
            schema.EXCEPTION_HANDLER.name: "warning",
            schema.CODE_FILE_PATH.name: str(message.filename),
            schema.CODE_LINE_NUMBER.name: message.lineno,
        },
        f"{kind}: {text}",
        "WARN",
        exception_report.current_span(),
        schema.WARNING,
    )
    if held_back:
        told.attributes[schema.LOG_DUPLICATES.name] = held_back
    exception_report.emit(told)
