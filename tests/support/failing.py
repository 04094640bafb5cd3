"""Ways for an application to fail, and what was recorded of the failures."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from otel_distro.errors import deferred

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_distro.testing import Telemetry


class RefusedError(Exception):
    """An exception of the application."""


def raised(error: BaseException) -> BaseException:
    """Raise ``error`` and return it with its traceback."""
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


def uncaught(error: BaseException) -> None:
    """Call ``sys.excepthook`` as the interpreter does when an exception ends the main thread."""
    sys.excepthook(type(error), error, error.__traceback__)


def run_in_thread(target: Callable[[], object], name: str = "worker") -> None:
    """Run ``target`` in a thread and join it."""
    thread = threading.Thread(target=target, name=name)
    thread.start()
    thread.join()


def counts(telemetry: Telemetry) -> dict[tuple[object, object], float]:
    """Return the values of the exception counter by class and handler."""
    deferred.drain()
    return {
        (point.attributes["exception.type"], point.attributes["python.exception.handler"]): point.value
        for point in telemetry.metric("python.exceptions")
    }


def logs(telemetry: Telemetry, number: int = 1) -> list[Any]:
    """Wait for ``number`` records and return them: reports of finalizers come from a thread."""
    deferred.drain()
    deadline = time.monotonic() + 10
    while len(telemetry.logs()) < number and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert len(telemetry.logs()) == number
    return [found.log_record for found in telemetry.logs()]
