"""Every item that a program creates is either received or counted as lost."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from otel_distro import schema

if TYPE_CHECKING:
    from tests.support.programs import Launcher
    from tests.support.receiver import Receiver

_PATHS = {"/v1/traces": b"poison", "/v1/logs": b"poison"}


def outcomes(receiver: Receiver, metric: schema.Metric) -> Counter[str]:
    """Return the last values of a counter by ``error.type``, which is empty for success."""
    counts: Counter[str] = Counter()
    for point in receiver.series(metric.name):
        counts[str(point.attributes.get(schema.ERROR_TYPE.name, ""))] += int(point.value)
    return +counts


def check_accounting(receiver: Receiver, made: int) -> dict[str, Counter[str]]:
    """Check that created = received + lost, for spans and logs; return the counts by outcome."""
    outcome_by_signal = {}
    for signal, arrived in (("traces", len(receiver.spans())), ("logs", len(receiver.logs()))):
        processed = outcomes(receiver, schema.SDK_PROCESSED[signal])
        exported = outcomes(receiver, schema.SDK_EXPORTED[signal])
        assert processed == {"": made}
        assert exported.total() == made
        assert exported[""] == arrived
        outcome_by_signal[signal] = exported
    assert receiver.total(schema.SDK_SPAN_STARTED.name) == receiver.total(schema.SDK_LOG_CREATED.name) == made
    return outcome_by_signal


def test_accounting_collector_rejects_items_counts_each_by_reason(launcher: Launcher, receiver: Receiver) -> None:
    """Items in a partial success or a refused request are counted by reason, others as exported.

    This holds for data points, too.
    """
    refused: Counter[str] = Counter()
    metric_bodies: list[int] = []

    def respond(path: str, body: bytes) -> tuple[int, int]:
        if path in _PATHS and _PATHS[path] in body:
            refused[path] += 1
            return 400, 0
        if path == "/v1/metrics":
            metric_bodies.append(len(receiver.points()))
            return 200, 2 * (len(metric_bodies) == 1)
        return 200, 0

    receiver.respond = respond
    ended = launcher.run("accountant.py", "refused")
    assert ended.returncode == 0
    counted = check_accounting(receiver, 300)
    assert counted["traces"] == counted["logs"] == {"": 297, "HTTP 400 Bad Request": 3}
    assert all(refused.values())
    # The last collection counts the points of the requests before it.
    points = outcomes(receiver, schema.SDK_EXPORTED["metrics"])
    assert points["rejected"] == 2
    assert points[""] + 2 == metric_bodies[-1]
    refusals = [line for line in ended.diagnostics() if "refused by" in line]
    assert len(refusals) == 2
    assert len([line for line in ended.diagnostics() if "partial success" in line]) == 1


def test_accounting_spool_limits_exceeded_counts_dropped_items(launcher: Launcher, receiver: Receiver) -> None:
    """During a long outage, items beyond the spool's size and age limits are dropped and counted.

    Each cause is printed once.
    """
    receiver.status = 503
    program = launcher.serve(
        *("accountant.py", "away"),
        OTEL_DISTRO_SPOOL_MAX_BYTES="614400",
        OTEL_DISTRO_SPOOL_MAX_AGE="3",
        OTEL_METRIC_EXPORT_INTERVAL="600000",
    )
    deadline = time.monotonic() + 60
    aged = [f"items of {signal} were dropped from the spool: age" for signal in ("traces", "logs")]
    while time.monotonic() < deadline and not all(line in program.log for line in aged):
        threading.Event().wait(0.05)
    receiver.status = 200
    (launcher.folder / "back").touch()
    assert program.wait() == 0
    for exported in check_accounting(receiver, 230).values():
        assert set(exported) <= {"", "size", "age"}
        assert exported["size"]
        assert exported["age"]
    lines = [line for line in program.log.splitlines() if line.startswith("otel-distro: ")]
    causes = Counter(" ".join(word for word in line.split() if not word.isdigit()) for line in lines)
    assert set(causes.values()) == {1}
    assert any("cannot deliver" in line for line in lines)
    assert any("delivering to" in line for line in lines)
