"""The instrumentor records with declared names, and programs end as they do without it."""

from __future__ import annotations

import asyncio
import gc
import re
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from otel_distro import schema as s
from tests.support.contract import Contract
from tests.support.failing import raised, uncaught
from tests.support.processes import bare_and_ours

if TYPE_CHECKING:
    from pathlib import Path

    from otel_distro.testing import Telemetry


def test_event_and_counters_have_declared_names_only(telemetry: Telemetry, instrumented: object) -> None:
    """Event and counters have the names and attributes of the schema, and no others."""
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
def test_failing_program_ends_as_without_instrumentation(tmp_path: Path, name: str) -> None:
    """Exit status, stdout and stderr are byte for byte those of the bare program."""
    bare, ours = bare_and_ours(tmp_path, PROGRAMS[name])
    assert without_addresses(ours[2]) == without_addresses(bare[2])
    assert ours[:2] == bare[:2]


def without_addresses(text: str) -> str:
    """Return the text with all object addresses replaced."""
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
    """Never await a task that fails."""

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
