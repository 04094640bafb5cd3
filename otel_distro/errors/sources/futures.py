"""Exceptions in futures of :mod:`concurrent.futures` that are never retrieved.

Python does not report them. A future that fails is watched until its exception or its result is
read; one that is freed before, or is still unread when the process ends, is reported. Futures that
succeed, or fail with an exception that is no error, are not touched.
"""

from __future__ import annotations

import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

from otel_distro import schema
from otel_distro._runtime.diagnostics import guard, report_failure
from otel_distro.errors import answers, deferred, exception_report

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from opentelemetry.util.types import AnyValue

_KEY = "_otel_distro_unread"
"""Key of the watch in the ``__dict__`` of a future."""
_EXCEPTION = "_exception"

_watches: weakref.WeakSet[_Watch] = weakref.WeakSet()


class _Watch:
    """Referenced by the failed future only, so that it is freed with the future.

    Holds the exception, as the future does, and sets ``error`` to None once it was retrieved.
    """

    __slots__ = ("__weakref__", "error", "thread")

    def __init__(self, error: Exception) -> None:
        self.error: Exception | None = error
        self.thread = threading.current_thread()

    def __del__(self) -> None:
        if self.error is not None and not sys.is_finalizing():
            self.report()

    def report(self) -> None:
        """Report the exception unless it was retrieved. Runs in finalizers: never raises."""
        error, self.error = self.error, None
        try:
            if error is None:
                return
            thread: dict[str, AnyValue] = {
                schema.THREAD_ID.name: self.thread.ident or 0,
                schema.THREAD_NAME.name: self.thread.name,
            }
            report = exception_report.claim(error, "executor", more=thread)
            if report is not None:
                deferred.send(report)
        except Exception as failure:
            report_failure("recording an exception", failure)


def wrap_set_exception(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return the replacement of ``Future.set_exception``."""
    from concurrent.futures import Future

    class Watched(Future):  # type: ignore[type-arg]
        """A failed future that notices when its exception is read."""

        @property
        def _exception(self) -> Any:
            held = vars(self)
            watch = held.pop(_KEY, None)
            if watch is not None:
                watch.error = None
            return held.get(_EXCEPTION)

        @_exception.setter
        def _exception(self, value: Any) -> None:
            vars(self)[_EXCEPTION] = value

    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(Watched, name, getattr(Future, name))

    def set_exception(future: Future[Any], exception: BaseException | None) -> None:
        # Before the original: other threads may read the exception as soon as it is set.
        with guard("watching a future"):
            if type(future) is Future and isinstance(exception, Exception) and not answers.kind_of(exception):
                watch = _Watch(exception)
                vars(future)[_KEY] = watch
                future.__class__ = Watched
                _watches.add(watch)
        try:
            original(future, exception)
        except BaseException:
            watch = vars(future).pop(_KEY, None)
            if watch is not None:
                watch.error = None
            raise

    return set_exception


def report_unretrieved() -> None:
    """Report every exception that was not retrieved yet: the process ends."""
    for watch in list(_watches):
        watch.report()


def reset_after_fork() -> None:
    """Report no inherited future in a forked child: the parent reports it."""
    for watch in list(_watches):
        watch.error = None
