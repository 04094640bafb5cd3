"""A program that fails in seven ways, through the real stack: each failure is stored once."""

from __future__ import annotations

import uuid
from functools import partial
from typing import TYPE_CHECKING

import pytest

from otel_distro import schema
from tests.stack.rings import LOGS
from tests.support.programs import Launcher

if TYPE_CHECKING:
    from tests.stack.stack import Stack

HANDLERS = {
    "caught": "capture",
    "thread": "thread",
    "unraisable": "unraisable",
    "executor": "executor",
    "process": "process",
    "task": "asyncio",
    "main": "main",
}
"""Kind of failure in the program -> the handler that reports it."""


class Run:
    """One run of the program: its service name, and the trace id of each kind of failure."""

    def __init__(self, service: str, output: str) -> None:
        self.service = service
        self.traces = dict(line.split() for line in output.splitlines())


@pytest.fixture(scope="module")
def run(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The program under ``opentelemetry-instrument``, run to its end."""
    folder = tmp_path_factory.mktemp("errors")
    service = f"failing-{uuid.uuid4().hex[:8]}"
    finished = Launcher(folder, stack.otlp_http).run("failures.py", OTEL_SERVICE_NAME=service)
    assert finished.returncode == 1, finished.stderr
    return Run(service, finished.stdout)


@LOGS
def test_errors_of_seven_kinds_are_one_record_each_with_trace(stack: Stack, run: Run) -> None:
    """A query finds seven records, each with the trace in which it was raised.

    The trace store has that trace.
    """
    handler = schema.EXCEPTION_HANDLER.label
    found = stack.wait_for_number(len(HANDLERS), lambda: stack.lines(run.service, {"exception.type": "ValueError"}))
    assert sorted((labels[handler], labels["trace_id"]) for labels, _ in found) == sorted(
        (seen_by, run.traces[kind]) for kind, seen_by in HANDLERS.items()
    )
    for labels, line in found:
        assert line.startswith(f"ValueError: {labels['exception_message']}\nTraceback (most recent call last):\n")
        assert (labels[schema.EXCEPTION_HANDLED.label] == "true") is (labels[handler] == "capture")
        assert len(labels[schema.EXCEPTION_FINGERPRINT.label]) == 16
        spans = stack.wait_for(partial(stack.trace_by_id, labels["trace_id"]))
        assert (run.service, labels["exception_message"].split()[-1]) in spans


@LOGS
def test_errors_of_seven_kinds_are_counted_once(stack: Stack, run: Run) -> None:
    """Prometheus counts each of the seven once, and new fingerprints as the records say."""
    of_service = f'service_name="{run.service}"'
    series = schema.PYTHON_EXCEPTIONS.series()
    stack.wait_for(lambda: stack.promql_value(f"sum({series}{{{of_service}}})") == len(HANDLERS))
    counted = stack.promql(f"sum by ({schema.EXCEPTION_HANDLER.label}) ({series}{{{of_service}}})")
    assert {point["metric"][schema.EXCEPTION_HANDLER.label]: point["value"][1] for point in counted} == dict.fromkeys(
        HANDLERS.values(), "1"
    )
    first = stack.lines(run.service, {schema.EXCEPTION_FIRST_SEEN.name: "true"})
    new = schema.PYTHON_EXCEPTION_FIRST_SEEN.series()
    stack.wait_for(lambda: stack.promql_value(f"sum({new}{{{of_service}}})") == len(first))
    assert len(first) == len({labels[schema.EXCEPTION_FINGERPRINT.label] for labels, _ in first})
