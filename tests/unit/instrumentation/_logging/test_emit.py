"""A record becomes a log record with severity and trace; records of OpenTelemetry itself do not."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from opentelemetry import trace

from otel_distro._otel.sdk import SeverityNumber

if TYPE_CHECKING:
    from otel_distro._otel.sdk import ReadableLogRecord
    from otel_distro.testing import Telemetry


def only(telemetry: Telemetry) -> ReadableLogRecord:
    """Return the only record."""
    (found,) = telemetry.logs()
    return found


@pytest.mark.parametrize(
    ("level", "number"),
    [
        (1, 1), (5, 2), (9, 4), (10, 5), (15, 7), (19, 8), (20, 9), (25, 11), (29, 12), (30, 13), (35, 15), (39, 16),
        (40, 17), (45, 19), (49, 20), (50, 21), (55, 23), (60, 24), (1000, 24),
    ],
)  # fmt: skip
def test_level_maps_to_severity_number(
    telemetry: Telemetry, instrumented: object, logger: logging.Logger, level: int, number: int
) -> None:
    """Ten levels are four numbers: DEBUG 5, INFO 9, WARNING 13, ERROR 17, CRITICAL 21."""
    logger.log(level, "x")
    assert only(telemetry).log_record.severity_number == SeverityNumber(number)


def test_severity_rises_with_the_level(telemetry: Telemetry, instrumented: object, logger: logging.Logger) -> None:
    """A higher level never has a lower severity, and every level from 0 to 60 has one."""
    for level in range(61):
        logger.handle(logging.LogRecord("made.shop", level, "", 0, "x", (), None))
    numbers = [found.log_record.severity_number for found in telemetry.logs()]
    assert len(numbers) == 61
    assert [number.value for number in numbers if number] == sorted(number.value for number in numbers if number)
    assert numbers[0] == SeverityNumber.TRACE


@pytest.mark.parametrize("name", ["opentelemetry", "opentelemetry.sdk.trace", "otel_distro.export"])
def test_loggers_of_opentelemetry_are_not_exported(telemetry: Telemetry, instrumented: object, name: str) -> None:
    """Records of OpenTelemetry itself are not exported: a failing export would feed itself."""
    own = logging.getLogger(name)
    own.handle(logging.LogRecord(name, logging.ERROR, "", 0, "x", (), None))
    assert list(telemetry.logs()) == []


def test_logger_with_a_similar_name_is_exported(telemetry: Telemetry, instrumented: object) -> None:
    """A logger whose name only has the same beginning belongs to the application."""
    name = "opentelemetry_shop"
    logging.getLogger(name).handle(logging.LogRecord(name, logging.ERROR, "", 0, "x", (), None))
    assert only(telemetry).log_record.body == "x"


def test_record_has_the_current_span(telemetry: Telemetry, instrumented: object, logger: logging.Logger) -> None:
    """A record that is logged within a span has its trace and span id."""
    with trace.get_tracer("made").start_as_current_span("work") as span:
        logger.info("inside")
    context = span.get_span_context()
    log = only(telemetry).log_record
    assert (log.trace_id, log.span_id) == (context.trace_id, context.span_id)
