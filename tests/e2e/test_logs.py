"""Each log record arrives once with its attributes; the program prints what it prints bare."""

from __future__ import annotations

import re
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any

from otel_distro import schema

if TYPE_CHECKING:
    from tests.support.programs import Launcher
    from tests.support.receiver import Receiver


def printed(text: str) -> str:
    """Return the output of a program without the addresses, which change from run to run."""
    return re.sub(r"0x[0-9a-f]+", "*", text)


def test_logs_of_every_library_arrive_once(launcher: Launcher, receiver: Receiver) -> None:
    """Records of logging, loguru and structlog arrive once, with typed attributes.

    Stdout, stderr and exit status are those of the bare run.
    """
    bare = launcher.run("logs_everywhere.py", command="bare")
    traced = launcher.run("logs_everywhere.py")
    assert (traced.returncode, printed(traced.stdout), traced.stderr) == (0, printed(bare.stdout), bare.stderr)

    logs = receiver.logs()
    assert Counter((log.scope, log.body) for log in logs) == Counter(
        [
            ("shop.unconfigured", "by lastResort"),
            ("shop.early", "by basicConfig"),
            ("shop.early", "switched off by dictConfig"),
            ("shop.late", "by dictConfig"),
            ("shop.once.more", "switched off by fileConfig"),
            ("shop.once.more", "switched on again"),
            ("shop.queued", "through a queue"),
            ("shop.queued", "through our own listener"),
            ("shop.late", "an object that is loud"),
            ("shop.loud", "while it is asked"),
            ("shop.late", "%d is no number"),
            ("__main__", "by loguru"),
            ("__main__", "failed in loguru"),
            ("shop.relayed", "to loguru and not twice"),
            ("__main__", "by structlog"),
            ("__main__", "failed in structlog"),
            ("shop.structlog", "by structlog"),
            ("shop.structlog", "failed in structlog"),
        ]
    )
    assert {log.attributes["code.file.path"].rpartition("/")[2] for log in logs} == {"logs_everywhere.py"}
    (extras,) = receiver.logs("by basicConfig")
    shown: dict[str, Any] = {key: extras.attributes[key] for key in ("order", "paid", "items", "sums")}
    assert shown == {"order": 7, "paid": True, "items": ["tea", 2], "sums": {"net": 1.5}}
    failed = [log for log in logs if log.severity == 17]
    assert len(failed) == 3
    for log in failed:
        assert log.attributes["exception.type"] == "ValueError"
        assert log.attributes["exception.message"] == "invalid literal for int() with base 10: 'tea'"
        assert 'int("tea")' in log.attributes["exception.stacktrace"]
    assert receiver.total(schema.PYTHON_EXCEPTIONS.name) == 3
    functions = {log.attributes["code.function.name"] for log in logs if "structlog" in str(log.body)}
    assert functions == {"by_structlog"}


def test_logs_levels_trace_ids_and_deduplication_work_at_run_time(launcher: Launcher, receiver: Receiver) -> None:
    """Levels apply from the first record, a signal lowers them, and repeats are deduplicated.

    Formats contain the ids of the trace.
    """
    traced = launcher.run(
        "logs_at_run_time.py",
        OTEL_DISTRO_LOG_LEVELS="shop.db=DEBUG",
        OTEL_DISTRO_LOG_DEBUG_SIGNAL="usr2",
        OTEL_DISTRO_LOG_DEDUP_LIMIT="1",
    )
    assert traced.returncode == 0
    inside = receiver.logs("inside of a span")[0]
    assert len(inside.trace_id) == 32
    assert traced.stdout.splitlines() == [
        "0 0 outside of a span",
        f"{inside.trace_id} {inside.span_id} inside of a span",
        *(f"0 0 again and again: {number}" for number in range(5)),
    ]
    assert [line.rpartition(" until ")[0] for line in traced.diagnostics()] == [
        "otel-distro: log levels changed by signal"
    ]
    bodies = [log.body for log in receiver.logs() if log.scope.startswith(("shop", "root"))]
    assert sorted(bodies) == [
        "after the signal",
        "again and again: 0",
        "again and again: 4",
        "below the program's level",
        "first of all",
        "inside of a span",
        "outside of a span",
    ]
    assert not [key for log in receiver.logs() for key in log.attributes if key.startswith("otelT")]
    (last,) = receiver.logs("again and again: 4")
    assert last.attributes[schema.LOG_DUPLICATES.name] == 3
    assert receiver.total(schema.LOG_DEDUPLICATED.name) == 3


def test_logs_before_a_signal_sent_to_itself_are_delivered(launcher: Launcher, receiver: Receiver) -> None:
    """A program that resets SIGTERM and sends it to itself has delivered its last record.

    Uvicorn under gunicorn does so.
    """
    program = (
        "import logging, signal; signal.signal(signal.SIGTERM, signal.SIG_DFL); logging.warning('first')\n"
        "logging.warning('last'); signal.raise_signal(signal.SIGTERM)"
    )
    assert launcher.run("-c", program).returncode == -signal.SIGTERM
    assert [log.body for log in receiver.logs()] == ["first", "last"]
