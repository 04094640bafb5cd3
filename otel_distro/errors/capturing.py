"""``capture``: the one function here that applications call."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, overload

from otel_distro import schema
from otel_distro._runtime.diagnostics import guard

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from types import TracebackType

_LONGEST_NAME: Final = 100


@overload
def capture(what: str, /, **fields: object) -> AbstractContextManager[None]: ...


@overload
def capture(what: BaseException | None = None, /, **fields: object) -> None: ...


def capture(what: BaseException | str | None = None, /, **fields: object) -> AbstractContextManager[None] | None:
    """Record an exception that the application handles itself: an event with its stack trace, and a step of the counter.

    ``capture(error)`` records the exception given, ``capture()`` the one that the ``except`` block around it handles; outside
    of one it does nothing. Both return None and change nothing.

    ``with capture("section"):`` records **and swallows** an ``Exception`` that ends the block; what comes after the block goes
    on. ``KeyboardInterrupt``, ``SystemExit`` and other ``BaseException`` that are no errors pass through untouched. The name
    of the section is fixed text; it becomes the attribute ``python.exception.section``.

    ``fields``: what else there is to know, as attributes of the event under their own names.

    An exception that something else has recorded since it was raised is not recorded again. Never raises; where telemetry is
    switched off, only the swallowing happens.
    """
    if isinstance(what, str):
        return _Section(what, fields)
    error = what if what is not None else sys.exc_info()[1]
    if error is not None:
        _record(error, fields)
    return None


class _Section:
    """A block whose errors end in it."""

    __slots__ = ("_fields", "_name")

    def __init__(self, name: str, fields: dict[str, object]) -> None:
        self._name = name
        self._fields = fields

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> bool:
        if not isinstance(error, Exception):
            return False
        _record(error, {**self._fields, schema.EXCEPTION_SECTION.name: self._name[:_LONGEST_NAME]})
        return True


def _record(error: BaseException, fields: dict[str, Any]) -> None:
    with guard("capturing an exception"):
        if not isinstance(error, Exception):
            return
        from otel_distro._otel import events
        from otel_distro.errors.exception_report import record

        record(error, "capture", handled=True, more=events.plain(fields))
