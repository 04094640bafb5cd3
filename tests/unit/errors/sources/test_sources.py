"""Exceptions on spans, in futures, and warnings: each is told once, by whoever sees its end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import warnings
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from otel_distro import schema as s
from otel_distro._runtime import exit as process_exit
from otel_distro.errors import deferred
from otel_distro.instrumentation.log_records import LogRecordsInstrumentor
from tests.support.failing import RefusedError, counts, logs, raised, uncaught

if TYPE_CHECKING:
    from otel_distro.testing import Telemetry

REFUSED = f"{RefusedError.__module__}.RefusedError"


def refuse(message: str) -> None:
    """Fail."""
    raise RefusedError(message)


def test_leaving_a_span_is_told_by_whoever_sees_it_last(telemetry: Telemetry, instrumented: object) -> None:
    """An exception that leaves two spans and ends the main thread is one event, in the trace of the inner span."""
    tracer = telemetry.providers[0].get_tracer("shop")

    def work() -> None:
        with tracer.start_as_current_span("outer"), tracer.start_as_current_span("inner"):
            raise RefusedError("in spans")

    try:
        work()
    except RefusedError as error:
        uncaught(error)
    (record,) = logs(telemetry)
    inner, outer = telemetry.spans()
    assert record.span_id == inner.context.span_id
    assert record.attributes["python.exception.handler"] == "main"
    for span in (inner, outer):
        (event,) = span.events
        assert set(event.attributes or {}) == {
            "exception.type",
            "exception.message",
            "exception.stacktrace",
            "exception.escaped",
        }
        assert str((event.attributes or {})["exception.stacktrace"]).startswith("Traceback")
    assert counts(telemetry) == {(REFUSED, "main"): 1}


def test_caught_outside_of_its_span(telemetry: Telemetry, instrumented: object) -> None:
    """An exception that nobody else tells of is told when it ends, in its span."""
    tracer = telemetry.providers[0].get_tracer("shop")
    try:
        with tracer.start_as_current_span("work"):
            refuse("caught")
    except RefusedError:
        assert list(telemetry.logs()) == []
    (record,) = logs(telemetry)
    assert record.span_id == telemetry.spans()[0].context.span_id
    assert (record.attributes["python.exception.handler"], record.attributes["python.exception.handled"]) == (
        "span",
        True,
    )


def test_logged_after_its_span(telemetry: Telemetry, instrumented: object) -> None:
    """The line that the application logs is the record: there is no second one."""
    tracer = telemetry.providers[0].get_tracer("shop")
    LogRecordsInstrumentor().instrument()
    try:
        try:
            with tracer.start_as_current_span("work"):
                refuse("caught")
        except RefusedError:
            logging.getLogger("shop").exception("failed")
    finally:
        LogRecordsInstrumentor().uninstrument()
    (record,) = logs(telemetry)
    assert record.body == "failed"
    assert counts(telemetry) == {(REFUSED, "log"): 1}


def test_what_is_still_alive_at_the_end_is_told(telemetry: Telemetry, instrumented: object) -> None:
    """An exception that somebody keeps, and a future that nobody reads, are told when the process ends, once."""
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


def test_future_that_nobody_reads(telemetry: Telemetry, instrumented: object) -> None:
    """It is told when it is gone, with the thread it failed in; those that somebody reads, in whichever way, are not."""

    def fail() -> None:
        raise RefusedError("in a pool")

    heard: list[object] = []
    with ThreadPoolExecutor(1, thread_name_prefix="pool") as pool:
        pool.submit(fail)
        read = [pool.submit(fail) for _ in range(4)]
        fine = pool.submit(int)
        with pytest.raises(RefusedError):
            read[0].result()
        assert isinstance(read[1].exception(), RefusedError)
        read[2].add_done_callback(lambda future: heard.append(future.exception()))

        async def main() -> None:
            with pytest.raises(RefusedError):
                await asyncio.wrap_future(read[3])

        asyncio.run(main())
        assert repr(read[0]).startswith("<Future at 0x")
        assert isinstance(read[0], Future)
        assert type(fine) is Future
        assert fine.result() == 0
    read.clear()
    heard.clear()
    gc.collect()
    (record,) = logs(telemetry)
    assert (record.attributes["python.exception.handler"], record.attributes["python.exception.handled"]) == (
        "executor",
        False,
    )
    assert record.attributes["thread.name"] == "pool_0"


def test_future_refuses_as_ever(telemetry: Telemetry, instrumented: object) -> None:
    """A future that is set twice raises what it raises, and keeps what it had."""
    future: Future[int] = Future()
    future.set_result(3)
    with pytest.raises(InvalidStateError):
        future.set_exception(RefusedError("late"))
    assert future.result() == 3
    del future
    assert logs(telemetry, 0) == []


def test_shown_warning(telemetry: Telemetry, instrumented: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shown is told once a minute for a place, and shown as ever; what is kept or logged is not told."""
    shown: list[str] = []

    def show(message: Any) -> None:
        shown.append(str(message.message))

    show.__module__ = "warnings"
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "_showwarnmsg_impl", show)
        for _ in range(3):
            warnings.warn("old way", DeprecationWarning, stacklevel=1)
        with warnings.catch_warnings(record=True) as kept:
            warnings.warn("kept", stacklevel=1)
        logging.captureWarnings(capture=True)
        try:
            warnings.warn("logged", stacklevel=1)
        finally:
            logging.captureWarnings(capture=False)
    assert (shown, len(kept)) == (["old way"] * 3, 1)
    (record,) = logs(telemetry)
    assert (record.event_name, record.body, record.severity_text) == (
        s.WARNING.name,
        "DeprecationWarning: old way",
        "WARN",
    )
    assert set(record.attributes) < {attribute.name for attribute in s.WARNING.attributes}
    assert record.attributes["code.file.path"] == __file__
    assert counts(telemetry) == {}


def test_kept_exception_is_told_after_a_while(
    telemetry: Telemetry, instrumented: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception that a program keeps is not waited for without end, and raised on later it is not told again."""
    monkeypatch.setattr(deferred, "_LONGEST_WAIT", 0.05)
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


def test_forked_child_leaves_to_its_parent_what_it_has_copies_of(telemetry: Telemetry, instrumented: object) -> None:
    """What waits for its end in both is told by the parent; the child tells of its own."""
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
            deferred.end()
            status = len(telemetry.logs())
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    del future, error
    gc.collect()
    assert len(logs(telemetry, 2)) == 2
