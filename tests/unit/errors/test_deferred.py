"""Deferred reports are sent once: at the end of the process, after a timeout, or by the parent."""

from __future__ import annotations

import contextlib
import gc
import os
from concurrent.futures import Future
from typing import TYPE_CHECKING

from otel_distro._runtime import exit as process_exit
from otel_distro.errors import deferred
from tests.support.failing import RefusedError, logs, raised, uncaught

if TYPE_CHECKING:
    import pytest

    from otel_distro.testing import Telemetry


def refuse(message: str) -> None:
    """Raise the exception of the application."""
    raise RefusedError(message)


def test_live_exception_and_future_are_reported_at_process_end(telemetry: Telemetry, instrumented: object) -> None:
    """A kept exception and an unread future are reported once, when the process ends."""
    tracer = telemetry.providers[0].get_tracer("shop")
    kept: list[BaseException] = []
    try:
        with tracer.start_as_current_span("work"):
            refuse("kept")
    except RefusedError as error:
        kept.append(error)
    future: Future[None] = Future()
    future.set_exception(raised(ValueError("unread")))
    process_exit.run_before_end()
    uncaught(kept[0])
    kept.clear()
    del future
    assert sorted(str(record.body).rpartition(".")[2] for record in logs(telemetry, 2)) == [
        "RefusedError: kept",
        "ValueError: unread",
    ]


def test_kept_exception_is_reported_after_the_timeout(
    telemetry: Telemetry, instrumented: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report waits for its exception for a limited time; re-raised later there is no second."""
    monkeypatch.setattr(deferred, "_MAX_WAIT_S", 0.05)
    kept: list[BaseException] = []
    try:
        with telemetry.providers[0].get_tracer("shop").start_as_current_span("work"):
            refuse("kept")
    except RefusedError as error:
        kept.append(error)
    (record,) = logs(telemetry)
    assert record.attributes["python.exception.handler"] == "span"
    uncaught(kept[0])
    assert len(logs(telemetry)) == 1


def test_forked_child_does_not_report_inherited_exceptions(telemetry: Telemetry, instrumented: object) -> None:
    """Deferred reports that exist in both processes are sent by the parent only."""
    future: Future[None] = Future()
    future.set_exception(raised(RefusedError("of the parent")))
    with telemetry.providers[0].get_tracer("shop").start_as_current_span("work") as span:
        error = raised(RefusedError("on a span"))
        span.record_exception(error)
    deferred.drain()
    child = os.fork()
    if not child:
        status = 1
        with contextlib.suppress(BaseException):
            del future, error
            gc.collect()
            deferred.flush()
            status = len(telemetry.logs())
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    del future, error
    gc.collect()
    assert len(logs(telemetry, 2)) == 2
