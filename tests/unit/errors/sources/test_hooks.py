"""Uncaught exceptions become one event and one count each; Python treats them as before."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import traceback
import weakref
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

import pytest
from werkzeug.exceptions import NotFound

from otel_distro._otel.sdk import SeverityNumber
from otel_distro.errors import exception_report as errors
from otel_distro.errors import frames
from otel_distro.instrumentation.log_records import LogRecordsInstrumentor
from tests.support.failing import RefusedError, counts, logs, raised, run_in_thread, uncaught

if TYPE_CHECKING:
    from otel_distro.testing import Telemetry


STOCK: dict[str, int] = {}
REFUSED = f"{RefusedError.__module__}.RefusedError"


def test_thread_exception_becomes_event_with_all_fields(
    telemetry: Telemetry, instrumented: object, hooks: list[Any]
) -> None:
    """Event: class, message, stack trace, thread. Counter: by class and handler."""

    def fail() -> None:
        seen.append(threading.get_ident())
        try:
            STOCK["missing"]
        except KeyError as error:
            raise RefusedError("no stock") from error

    seen: list[int] = []
    run_in_thread(fail)

    (found,) = telemetry.logs()
    record = found.log_record
    stack = record.attributes.pop("exception.stacktrace")  # type: ignore[union-attr]
    assert (record.event_name, record.body) == ("exception", f"{REFUSED}: no stock")
    assert (record.severity_number, record.severity_text) == (SeverityNumber.ERROR, "ERROR")
    assert dict(record.attributes or {}) == {
        "exception.type": REFUSED,
        "exception.message": "no stock",
        "python.exception.handler": "thread",
        "python.exception.handled": False,
        "python.exception.fingerprint": frames.fingerprint(
            REFUSED, hooks[0], frames.traceback_entries(hooks[0].__traceback__)
        ),
        "python.exception.first_seen": True,
        "code.function.name": f"{__name__}.test_thread_exception_becomes_event_with_all_fields.<locals>.fail"
        if sys.version_info >= (3, 11)
        else f"{__name__}.fail",
        "thread.id": seen[0],
        "thread.name": "worker",
    }
    assert stack == "".join(traceback.format_exception(hooks[0]))
    assert "KeyError: 'missing'" in stack
    assert "The above exception was the direct cause" in stack
    assert counts(telemetry) == {(REFUSED, "thread"): 1}


def test_main_thread_exception_is_fatal_and_reaches_the_hook(
    telemetry: Telemetry, instrumented: object, hooks: list[Any]
) -> None:
    """The severity is FATAL; the application's hook gets what the interpreter passed."""
    error = raised(ValueError("bad"))
    uncaught(error)
    (found,) = telemetry.logs()
    record = found.log_record
    assert record.severity_number is SeverityNumber.FATAL
    assert record.body == "ValueError: bad"
    attributes = dict(record.attributes or {})
    assert (attributes["exception.type"], attributes["python.exception.handler"]) == ("ValueError", "main")
    assert hooks == [(ValueError, error, error.__traceback__)]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), GeneratorExit()])
def test_interrupt_or_exit_is_not_recorded(
    telemetry: Telemetry, instrumented: object, hooks: list[Any], error: BaseException
) -> None:
    """Interrupts and exits reach the hook and are not recorded."""
    uncaught(raised(error))
    assert list(telemetry.logs()) == []
    assert len(hooks) == 1


def test_exception_without_printable_message_is_recorded(telemetry: Telemetry, instrumented: object) -> None:
    """An exception whose ``str()`` raises, and one without a message, are recorded."""

    class UnprintableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    uncaught(raised(UnprintableError()))
    uncaught(raised(ValueError()))
    assert [str(found.log_record.body).rpartition(".")[2] for found in telemetry.logs()] == [
        "UnprintableError: <unprintable>",
        "ValueError",
    ]


def test_exception_seen_by_two_hooks_is_one_event(telemetry: Telemetry, instrumented: object) -> None:
    """The same failure is one event; the same object raised again is another failure."""
    error = raised(ValueError("bad"))
    uncaught(error)
    uncaught(error)
    assert len(telemetry.logs()) == 1
    uncaught(raised(error))
    assert len(telemetry.logs()) == 2


def test_recorded_exception_is_not_kept_alive(telemetry: Telemetry, instrumented: object, hooks: list[Any]) -> None:
    """Objects in the frames of a recorded exception are freed as without instrumentation."""

    class Big:
        """A large local variable of a failing function."""

    watched: list[weakref.ref[Big]] = []

    def fail() -> None:
        big = Big()
        watched.append(weakref.ref(big))
        raise ValueError

    run_in_thread(fail)
    hooks.clear()
    gc.collect()
    assert len(telemetry.logs()) == 1
    assert watched[0]() is None


def test_unretrieved_task_exception_is_recorded_once(telemetry: Telemetry, instrumented: object) -> None:
    """It is one record; the line that asyncio logs about it is not exported as well."""

    async def fail() -> None:
        raise RefusedError("in a task")

    async def main() -> None:
        task = asyncio.create_task(fail(), name="errand")
        await asyncio.wait([task])
        del task
        gc.collect()

    LogRecordsInstrumentor().instrument()
    try:
        asyncio.run(main())
    finally:
        LogRecordsInstrumentor().uninstrument()
    (record,) = logs(telemetry)
    assert record.body == f"{REFUSED}: in a task"
    assert record.attributes["python.asyncio.task.name"] == "errand"
    assert counts(telemetry) == {(REFUSED, "asyncio"): 1}


def test_exception_handler_of_the_loop_is_called(telemetry: Telemetry, instrumented: object) -> None:
    """The application's exception handler gets what asyncio passes."""
    handled: list[dict[str, Any]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: handled.append(context))
        loop.call_soon(lambda: 1 / 0)
        loop.call_exception_handler({"message": "nothing was raised"})
        await asyncio.sleep(0)

    asyncio.run(main())
    assert [type(context.get("exception")) for context in handled] == [type(None), ZeroDivisionError]
    assert counts(telemetry) == {("ZeroDivisionError", "asyncio"): 1}


def test_failing_recorder_does_not_reach_the_hooks(
    telemetry: Telemetry,
    instrumented: object,
    hooks: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    swallowed: list[str],
) -> None:
    """When recording fails, the application's hook is called, and the failure is reported."""
    monkeypatch.setattr(errors, "stack_trace", lambda *_: 1 / 0)
    uncaught(raised(ValueError("bad")))
    assert len(hooks) == 1
    assert swallowed == ["recording an exception: ZeroDivisionError: division by zero"]
    swallowed.clear()


class Failing:
    """Fails when it is finalized."""

    def __del__(self) -> None:
        raise RefusedError("in a finalizer")


def test_failing_finalizer_is_recorded_once(telemetry: Telemetry, instrumented: object, hooks: list[Any]) -> None:
    """It is recorded once, and the hook of the application is called."""
    Failing()
    (record,) = logs(telemetry)
    assert record.attributes["python.exception.handler"] == "unraisable"
    assert [type(error) for error in hooks] == [RefusedError]


def test_finalizer_during_recording_does_not_deadlock(
    telemetry: Telemetry, instrumented: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finalizer that the garbage collector runs while the SDK's lock is held does not wait."""
    lock = threading.Lock()
    count = errors.count

    def counting(attributes: dict[str, Any]) -> None:
        with lock:
            count(attributes)

    monkeypatch.setattr(errors, "count", counting)
    with lock:
        Failing()
    assert len(logs(telemetry)) == 1


def test_thread_ended_by_a_cancellation_is_no_error(telemetry: Telemetry, instrumented: object) -> None:
    """A response is an error there, because no request gets it; Python prints both."""

    def wait() -> None:
        raise CancelledError

    def respond() -> None:
        raise NotFound

    run_in_thread(wait)
    run_in_thread(respond)
    (record,) = logs(telemetry)
    assert record.attributes["exception.type"] == "werkzeug.exceptions.NotFound"


def test_task_ended_by_an_answer_is_no_error(telemetry: Telemetry, instrumented: object) -> None:
    """A server leaves the task of a cancelled request unread; in the main thread it is an error."""

    async def respond() -> None:
        raise NotFound

    async def main() -> None:
        task = asyncio.get_running_loop().create_task(respond())
        await asyncio.sleep(0)
        del task
        gc.collect()

    asyncio.run(main())
    assert list(logs(telemetry, 0)) == []
    uncaught(raised(NotFound()))
    (record,) = logs(telemetry)
    assert record.severity_text == "FATAL"
