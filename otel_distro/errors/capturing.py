"""The public functions of :mod:`otel_distro.errors`: ``capture`` and ``suppress``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, overload

from otel_distro import schema
from otel_distro._runtime.diagnostics import guard

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from types import TracebackType

_MAX_SECTION_CHARS: Final = 100


@overload
def capture(what: str, /, **fields: object) -> AbstractContextManager[None]: ...


@overload
def capture(what: BaseException | None = None, /, **fields: object) -> None: ...


def capture(what: BaseException | str | None = None, /, **fields: object) -> AbstractContextManager[None] | None:
    """Record a handled exception: one event with its stack trace, and one step of the counter.

    ``capture(error)`` records the exception given. ``capture()`` records the exception that the
    surrounding ``except`` block handles, and does nothing outside of one.

    ``with capture("section"):`` records **and swallows** an ``Exception`` that ends the block; it
    is the same as :func:`suppress`. ``KeyboardInterrupt``, ``SystemExit`` and other exceptions that
    do not derive from ``Exception`` pass through untouched.

    An exception that was already recorded since it was raised is not recorded again. Without
    telemetry nothing is recorded; ``with`` swallows all the same.

    Args:
        what: The exception; or the fixed name of a section of code, which becomes the attribute
            ``python.exception.section`` (its first 100 characters).
        **fields: Further attributes of the event, under their own names.

    Returns:
        A context manager for a section name, else None.

    Raises:
        Nothing.

    Example:
        >>> from otel_distro.errors import capture
        >>> try:
        ...     int("tea")
        ... except ValueError as error:
        ...     capture(error, field="amount")
    """
    if isinstance(what, str):
        return _Section(what, fields)
    error = what if what is not None else sys.exc_info()[1]
    if error is not None:
        _record(error, fields)
    return None


def suppress(section: str, /, **fields: object) -> AbstractContextManager[None]:
    """Record and swallow an ``Exception`` that ends the ``with`` block.

    Execution continues after the block. ``KeyboardInterrupt``, ``SystemExit`` and other exceptions
    that do not derive from ``Exception`` pass through untouched.

    Args:
        section: Fixed name of the block; the attribute ``python.exception.section``.
        **fields: Further attributes of the event, under their own names.

    Returns:
        A context manager, which can be used more than once.

    Raises:
        Nothing.

    Example:
        >>> from otel_distro.errors import suppress
        >>> with suppress("parse amount"):
        ...     amount = int("tea")
    """
    return _Section(section, fields)


class _Section:
    """A ``with`` block that records and swallows the ``Exception`` that ends it."""

    __slots__ = ("_fields", "_name")

    def __init__(self, name: str, fields: dict[str, object]) -> None:
        self._name = name
        self._fields = fields

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> bool:
        if not isinstance(error, Exception):
            return False
        _record(error, {**self._fields, schema.EXCEPTION_SECTION.name: self._name[:_MAX_SECTION_CHARS]})
        return True


def _record(error: BaseException, fields: dict[str, Any]) -> None:
    with guard("capturing an exception"):
        if not isinstance(error, Exception):
            return
        from otel_distro._otel import events
        from otel_distro.errors.exception_report import record

        record(error, "capture", handled=True, more=events.plain(fields))
