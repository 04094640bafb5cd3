"""Exceptions that nobody caught become one event and one count each; what Python does with them stays as it is."""

from __future__ import annotations

import asyncio
import gc
import re
import sys
import threading
import traceback
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from otel_distro import schema as s
from otel_distro._otel.sdk import SeverityNumber
from otel_distro.errors import exception_report as errors
from otel_distro.errors import frames
from otel_distro.instrumentation.log_records import LogRecordsInstrumentor
from tests.support.contract import Contract
from tests.support.failing import RefusedError, counts, logs, raised, run_in_thread, uncaught
from tests.support.processes import bare_and_ours

if TYPE_CHECKING:
    from pathlib import Path

    from otel_distro.testing import Telemetry


STOCK: dict[str, int] = {}
REFUSED = f"{RefusedError.__module__}.RefusedError"


def test_event_of_a_thread(telemetry: Telemetry, instrumented: object, hooks: list[Any]) -> None:
    """The event carries class, message, whole trace and thread; the counter counts by class and hook."""

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
        "python.exception.fingerprint": frames.fingerprint(REFUSED, hooks[0], frames.entries(hooks[0].__traceback__)),
        "python.exception.first_seen": True,
        "code.function.name": f"{__name__}.test_event_of_a_thread.<locals>.fail"
        if sys.version_info >= (3, 11)
        else f"{__name__}.fail",
        "thread.id": seen[0],
        "thread.name": "worker",
    }
    assert stack == "".join(traceback.format_exception(hooks[0]))
    assert "KeyError: 'missing'" in stack
    assert "The above exception was the direct cause" in stack
    assert counts(telemetry) == {(REFUSED, "thread"): 1}


def test_event_of_the_main_thread(telemetry: Telemetry, instrumented: object, hooks: list[Any]) -> None:
    """What ends the main thread is fatal; the hook of the application gets what the interpreter gave."""
    error = raised(ValueError("bad"))
    uncaught(error)
    (found,) = telemetry.logs()
    record = found.log_record
    assert record.severity_number is SeverityNumber.FATAL
    assert record.body == "ValueError: bad"
    attributes = dict(record.attributes or {})
    assert (attributes["exception.type"], attributes["python.exception.handler"]) == ("ValueError", "main")
    assert hooks == [(ValueError, error, error.__traceback__)]


def test_names_are_those_declared(telemetry: Telemetry, instrumented: object) -> None:
    """Event and counters have attributes of the schema, and no other."""
    uncaught(raised(ValueError("bad")))
    (found,) = telemetry.logs()
    assert found.log_record.event_name == s.EXCEPTION.name
    assert set(found.log_record.attributes or {}) <= {attribute.name for attribute in s.EXCEPTION.attributes}
    metrics = telemetry.metrics()
    assert metrics.keys() == {s.PYTHON_EXCEPTIONS.name, s.PYTHON_EXCEPTION_FIRST_SEEN.name}
    for declared in (s.PYTHON_EXCEPTIONS, s.PYTHON_EXCEPTION_FIRST_SEEN):
        metric = metrics[declared.name]
        assert (metric.unit, metric.description) == (declared.unit, declared.brief)
        assert set(metric.data.data_points[0].attributes or {}) == {a.name for a in declared.attributes}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), GeneratorExit()])
def test_what_is_no_error_is_not_recorded(
    telemetry: Telemetry, instrumented: object, hooks: list[Any], error: BaseException
) -> None:
    """Interrupts and exits are passed on and not recorded."""
    uncaught(raised(error))
    assert list(telemetry.logs()) == []
    assert len(hooks) == 1


def test_exception_without_words(telemetry: Telemetry, instrumented: object) -> None:
    """An exception that cannot be printed, and one without a message, are recorded all the same."""

    class DumbError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    uncaught(raised(DumbError()))
    uncaught(raised(ValueError()))
    assert [str(found.log_record.body).rpartition(".")[2] for found in telemetry.logs()] == [
        "DumbError: <unprintable>",
        "ValueError",
    ]


def test_once_however_many_hooks_see_it(telemetry: Telemetry, instrumented: object) -> None:
    """The same failure seen by several hooks is one event; the same object raised again is another failure."""
    error = raised(ValueError("bad"))
    uncaught(error)
    uncaught(error)
    assert len(telemetry.logs()) == 1
    uncaught(raised(error))
    assert len(telemetry.logs()) == 2


def test_exception_is_not_kept_alive(telemetry: Telemetry, instrumented: object, hooks: list[Any]) -> None:
    """What the frames of a recorded exception hold is freed as soon as it would be without us."""

    class Big:
        """Something large in a failing function."""

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


def test_task_that_nobody_awaits(telemetry: Telemetry, instrumented: object) -> None:
    """A task whose exception is never retrieved is recorded once, and its log line does not come on top."""

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


def test_handler_of_the_loop_is_called(telemetry: Telemetry, instrumented: object) -> None:
    """The application's exception handler gets what asyncio gives it."""
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


def test_error_of_ours_does_not_reach_the_hooks(
    telemetry: Telemetry,
    instrumented: object,
    hooks: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    swallowed: list[str],
) -> None:
    """When recording fails, the application's hook is called as ever, and we say so."""
    monkeypatch.setattr(errors, "stack_trace", lambda *_: 1 / 0)
    uncaught(raised(ValueError("bad")))
    assert len(hooks) == 1
    assert swallowed == ["recording an exception: ZeroDivisionError: division by zero"]
    swallowed.clear()


class Failing:
    """Fails when it is finalized."""

    def __del__(self) -> None:
        raise RefusedError("in a finalizer")


def test_finalizer_that_fails(telemetry: Telemetry, instrumented: object, hooks: list[Any]) -> None:
    """It is told once, and the hook of the application is called."""
    Failing()
    (record,) = logs(telemetry)
    assert record.attributes["python.exception.handler"] == "unraisable"
    assert [type(error) for error in hooks] == [RefusedError]


def test_finalizer_in_the_middle_of_our_own_work(
    telemetry: Telemetry, instrumented: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that the garbage collector runs while a lock of the SDK is held waits for nobody."""
    lock = threading.Lock()
    count = errors.count

    def counting(attributes: dict[str, Any]) -> None:
        with lock:
            count(attributes)

    monkeypatch.setattr(errors, "count", counting)
    with lock:
        Failing()
    assert len(logs(telemetry)) == 1


PROGRAMS = {
    "main": "def f():\n    raise ValueError('bad')\nf()\n",
    "group": "raise ExceptionGroup('many', [ValueError(1), KeyError(2)]) if hasattr(__builtins__, 'ExceptionGroup') else OSError\n",
    "thread": "import threading\ndef f():\n    raise ValueError('bad')\nt = threading.Thread(target=f)\nt.start()\nt.join()\n",
    "task": (
        "import asyncio\nasync def f():\n    raise ValueError('bad')\n"
        "async def main():\n    t = asyncio.ensure_future(f())\n    await asyncio.wait([t])\n    del t\n"
        "asyncio.run(main())\nprint('goes on')\n"
    ),
    "own hook": "import sys\nsys.excepthook = lambda *args: print('mine', args[1], file=sys.stderr)\nraise ValueError('bad')\n",
    "finalizer": "class A:\n    def __del__(self):\n        raise ValueError('bad')\nA()\nprint('goes on')\n",
    "child": (
        "import multiprocessing\ndef f():\n    raise ValueError('bad')\n"
        "p = multiprocessing.get_context('fork').Process(target=f, name='child')\np.start()\np.join()\nprint(p.exitcode)\n"
    ),
    "pool": (
        "from concurrent.futures import ThreadPoolExecutor\ndef f():\n    raise ValueError('bad')\n"
        "with ThreadPoolExecutor(1) as pool:\n    pool.submit(f)\n    future = pool.submit(f)\nfuture.result()\n"
    ),
    "warning": "import warnings\nwarnings.warn('old way')\nwarnings.warn('old way', DeprecationWarning)\n",
    "exit": "import sys\nsys.exit(7)\n",
    "interrupt": "raise KeyboardInterrupt\n",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_ends_as_it_does_bare(tmp_path: Path, name: str) -> None:
    """Exit status, stdout and stderr are byte for byte those of the program without us."""
    bare, ours = bare_and_ours(tmp_path, PROGRAMS[name])
    assert without_addresses(ours[2]) == without_addresses(bare[2])
    assert ours[:2] == bare[:2]


def without_addresses(text: str) -> str:
    """Return the text with all addresses of objects made equal."""
    return re.sub("0x[0-9a-f]+", "0x", text)


def raise_in_main() -> None:
    """End the main thread, as the interpreter does it."""
    error = ValueError("application")
    sys.excepthook(type(error), error, error.__traceback__)


def raise_in_thread() -> None:
    """End a thread by an exception."""
    thread = threading.Thread(target=lambda: int("application"))
    thread.start()
    thread.join()


def raise_in_task() -> None:
    """Leave the exception of a task to nobody."""

    async def main() -> None:
        task = asyncio.ensure_future(asyncio.wait_for(asyncio.Event().wait(), 0))
        await asyncio.wait([task])
        del task
        gc.collect()

    asyncio.run(main())


CONTRACT = Contract(
    raise_in_main,
    raise_in_thread,
    raise_in_task,
    inside="otel_distro.errors.exception_report.type_name",
    names={s.EXCEPTION.name, s.PYTHON_EXCEPTIONS.name, s.PYTHON_EXCEPTION_FIRST_SEEN.name},
    suppressible=False,
)
