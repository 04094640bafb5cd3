"""Exceptions in futures of :mod:`concurrent.futures` that nobody ever reads, of thread pools and process pools.

Python says nothing of them. A future that fails is watched until somebody asks for its exception or its result; one that ends
unasked, or is unasked at the end of the process, is told. Futures that succeed are not touched.
"""

from __future__ import annotations

import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

from otel_distro import schema
from otel_distro._runtime.diagnostics import guard, report_failure
from otel_distro.errors import deferred, exception_report

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from opentelemetry.util.types import AnyValue

_KEY = "_otel_distro_unread"
_EXCEPTION = "_exception"

_unread: weakref.WeakSet[_Unread] = weakref.WeakSet()


class _Unread:
    """Lives as long as the future that holds it, and holds its exception, as the future does."""

    __slots__ = ("__weakref__", "error", "thread")

    def __init__(self, error: Exception) -> None:
        self.error: Exception | None = error
        self.thread = threading.current_thread()

    def __del__(self) -> None:
        if self.error is not None and not sys.is_finalizing():
            self.tell()

    def tell(self) -> None:
        error, self.error = self.error, None
        try:
            if error is None:
                return
            thread: dict[str, AnyValue] = {
                schema.THREAD_ID.name: self.thread.ident or 0,
                schema.THREAD_NAME.name: self.thread.name,
            }
            told = exception_report.take(error, "executor", more=thread)
            if told is not None:
                deferred.send(told)
        except Exception as failure:
            report_failure("recording an exception", failure)


def watching(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return what takes the place of ``Future.set_exception``."""
    from concurrent.futures import CancelledError, Future

    class Watched(Future):  # type: ignore[type-arg]
        """A future that has failed: it hears when somebody asks for its exception."""

        @property
        def _exception(self) -> Any:
            held = vars(self)
            token = held.pop(_KEY, None)
            if token is not None:
                token.error = None
            return held.get(_EXCEPTION)

        @_exception.setter
        def _exception(self, value: Any) -> None:
            vars(self)[_EXCEPTION] = value

    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(Watched, name, getattr(Future, name))

    def set_exception(future: Future[Any], exception: BaseException | None) -> None:
        # Before it is set: at once somebody may ask for it.
        with guard("watching a future"):
            if (
                type(future) is Future
                and isinstance(exception, Exception)
                and not isinstance(exception, CancelledError)
            ):
                token = _Unread(exception)
                vars(future)[_KEY] = token
                future.__class__ = Watched
                _unread.add(token)
        try:
            original(future, exception)
        except BaseException:
            token = vars(future).pop(_KEY, None)
            if token is not None:
                token.error = None
            raise

    return set_exception


def end() -> None:
    """Tell of what is unread at the end of the process."""
    for token in list(_unread):
        token.tell()


def forget() -> None:
    """Leave to the parent what a forked child has a copy of."""
    for token in list(_unread):
        token.error = None
