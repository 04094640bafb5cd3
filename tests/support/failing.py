"""What an application does to fail, and what was told of it."""

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
    """Raise it and return it with its traceback."""
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


def uncaught(error: BaseException) -> None:
    """Do what the interpreter does with an exception that ends the main thread."""
    sys.excepthook(type(error), error, error.__traceback__)


def run_in_thread(target: Callable[[], object], name: str = "worker") -> None:
    """Run in a thread to its end."""
    thread = threading.Thread(target=target, name=name)
    thread.start()
    thread.join()


def counts(telemetry: Telemetry) -> dict[tuple[object, object], float]:
    """Return the counter by class and hook."""
    deferred.drain()
    return {
        (point.attributes["exception.type"], point.attributes["python.exception.handler"]): point.value
        for point in telemetry.metric("python.exceptions")
    }


def logs(telemetry: Telemetry, number: int = 1) -> list[Any]:
    """Return the records, when there are as many as this: what finalizers tell comes from a thread."""
    deferred.drain()
    deadline = time.monotonic() + 10
    while len(telemetry.logs()) < number and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert len(telemetry.logs()) == number
    return [found.log_record for found in telemetry.logs()]
