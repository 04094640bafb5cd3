"""Each failure of a program is reported once in its trace; the program's output is unchanged."""

from __future__ import annotations

import re
import signal
import sys
from typing import TYPE_CHECKING

from otel_distro import schema as s

if TYPE_CHECKING:
    from tests.support.programs import Launcher
    from tests.support.receiver import Log, Receiver

HANDLERS = {
    "caught": "capture",
    "thread": "thread",
    "task": "asyncio",
    "unraisable": "unraisable",
    "executor": "executor",
    "process": "process",
    "main": "main",
}


def events(receiver: Receiver) -> list[Log]:
    """Return the exception events that arrived."""
    return [log for log in receiver.logs() if log.event_name == s.EXCEPTION.name]


def without_addresses(text: str) -> str:
    """Return the text with all addresses of objects made equal."""
    return re.sub("0x[0-9a-f]+", "0x", text)


def test_errors_of_seven_kinds_are_each_one_event_and_one_count(launcher: Launcher, receiver: Receiver) -> None:
    """Each failure is one event in its trace and one count; the output is that of the bare run."""
    bare = launcher.run("failures.py", command="bare")
    traced = launcher.run("failures.py", OTEL_SERVICE_NAME="shop")
    assert (traced.returncode, without_addresses(traced.stderr)) == (bare.returncode, without_addresses(bare.stderr))
    traces = dict(line.split() for line in traced.stdout.splitlines())

    found = {log.attributes[s.EXCEPTION_MESSAGE.name].split()[-1]: log for log in events(receiver)}
    assert len(events(receiver)) == len(HANDLERS)
    assert {kind: (log.attributes[s.EXCEPTION_HANDLER.name], log.trace_id) for kind, log in found.items()} == {
        kind: (handler, traces[kind]) for kind, handler in HANDLERS.items()
    }
    for kind, log in found.items():
        assert log.attributes.keys() <= {*(attribute.name for attribute in s.EXCEPTION.attributes), "shop"}
        assert log.severity == (21 if kind == "main" else 17)
        (span,) = receiver.spans(kind)
        assert [event.name for event in span.events] == ["exception"]
    assert found["task"].attributes[s.ASYNCIO_TASK_NAME.name] == "errand"
    assert found["executor"].attributes[s.THREAD_NAME.name].startswith("ThreadPoolExecutor")
    assert found["process"].resource["process.pid"] != found["main"].resource["process.pid"]

    # A cumulative point may be sent more than once; a series is the last of them.
    points = receiver.series(s.PYTHON_EXCEPTIONS.name)
    assert sorted(str(point.attributes[s.EXCEPTION_HANDLER.name]) for point in points) == sorted(HANDLERS.values())
    assert {point.value for point in points} == {1}
    new = {log.attributes[s.EXCEPTION_FINGERPRINT.name] for log in found.values()}
    firsts = [log for log in found.values() if log.attributes.get(s.EXCEPTION_FIRST_SEEN.name)]
    assert len(firsts) == len(new)

    (warning,) = [log for log in receiver.logs() if log.event_name == s.WARNING.name]
    assert (warning.body, warning.severity) == ("UserWarning: old way", 13)


def test_errors_seen_by_an_earlier_process_are_not_new(launcher: Launcher, receiver: Receiver) -> None:
    """An error is new once per service version, whichever process raises it first."""
    program = ("-c", "raise ValueError")
    for version in ("1", "1", "2"):
        launcher.run(
            *program, command="otel-distro run", OTEL_SERVICE_NAME="shop",
            OTEL_RESOURCE_ATTRIBUTES=f"service.version={version}",
        )  # fmt: skip
    first = {log.resource["service.version"]: 0 for log in events(receiver)}
    for log in events(receiver):
        first[log.resource["service.version"]] += bool(log.attributes.get(s.EXCEPTION_FIRST_SEEN.name))
    assert len(events(receiver)) == 3
    assert first == {"1": 1, "2": 1}
    assert receiver.total(s.PYTHON_EXCEPTION_FIRST_SEEN.name) == 2


def test_errors_of_children_are_reported_once_for_each_start_method(launcher: Launcher, receiver: Receiver) -> None:
    """A child reports its fatal exception; an exception that a pool returns is reported once."""
    bare = launcher.run("failing_children.py", command="bare")
    traced = launcher.run("failing_children.py")
    assert (traced.returncode, traced.stdout) == (bare.returncode, bare.stdout)
    assert sorted(without_addresses(traced.stderr).splitlines()) == sorted(without_addresses(bare.stderr).splitlines())
    assert sorted(
        (str(log.attributes[s.EXCEPTION_MESSAGE.name]), str(log.attributes[s.EXCEPTION_HANDLER.name]))
        for log in events(receiver)
    ) == [
        ("fork", "process"),
        ("forkserver", "process"),
        ("pool, read", "main"),
        ("pool, unread", "executor"),
        ("spawn", "process"),
    ]


def test_crash_is_reported_by_the_next_process_of_the_service(launcher: Launcher, receiver: Receiver) -> None:
    """A segmentation fault is one event of the next process; status and stderr are unchanged."""
    crash = "import os, signal, logging\nlogging.error('about to crash')\nos.kill(os.getpid(), signal.SIGSEGV)"
    bare = launcher.run("-c", crash, command="bare")
    traced = launcher.run("-c", crash, command="otel-distro run", OTEL_SERVICE_NAME="shop")
    assert (
        (traced.returncode, traced.stderr)
        == (bare.returncode, bare.stderr)
        == (-signal.SIGSEGV, "ERROR:root:about to crash\n")
    )
    for _ in range(2):
        launcher.run(
            "-c", "import logging\nlogging.error('again')", command="otel-distro run", OTEL_SERVICE_NAME="shop"
        )
    (event,) = events(receiver)
    assert (event.severity, event.attributes[s.EXCEPTION_HANDLER.name]) == (21, "crash")
    assert event.attributes[s.EXCEPTION_TYPE.name] == "Segmentation fault"
    assert 'File "<string>", line 3 in <module>' in event.attributes[s.EXCEPTION_STACKTRACE.name]
    (counted,) = receiver.series(s.PYTHON_EXCEPTIONS.name)
    assert counted.value == 1


def test_errors_with_locals_and_swallowed_exceptions_enabled_report_both(
    launcher: Launcher, receiver: Receiver
) -> None:
    """Local variables are reported redacted, and swallowed exceptions on Python 3.12 or newer."""
    program = (
        "def pay(card_number, amount):\n"
        "    try:\n        int('x')\n    except ValueError:\n        amount += 1\n"
        "    raise KeyError('refused')\n"
        "pay('4111111111111111', 5)"
    )
    traced = launcher.run(
        "-c", program, command="otel-distro run",
        OTEL_DISTRO_ERROR_LOCALS="true", OTEL_DISTRO_SWALLOWED_EXCEPTIONS="true",
    )  # fmt: skip
    found = {str(log.attributes[s.EXCEPTION_HANDLER.name]): log for log in events(receiver)}
    shown = str(found["main"].attributes[s.EXCEPTION_LOCALS.name])
    assert "  amount = 6\n" in shown
    assert "4111" not in shown
    if sys.version_info >= (3, 12):
        assert traced.diagnostics() == []
        assert found.keys() == {"main", "swallowed"}
        assert found["swallowed"].attributes[s.EXCEPTION_TYPE.name] == "ValueError"
    else:
        (line,) = traced.diagnostics()
        assert "OTEL_DISTRO_SWALLOWED_EXCEPTIONS needs Python 3.12" in line
        assert found.keys() == {"main"}
