"""Values of log records keep their types as attributes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from tests.support.release import mixed

if TYPE_CHECKING:
    from otel_distro._otel.sdk import ReadableLogRecord
    from otel_distro.testing import Telemetry


def only(telemetry: Telemetry) -> ReadableLogRecord:
    """Return the only record."""
    (found,) = telemetry.logs()
    return found


def test_extras_become_typed_attributes(telemetry: Telemetry, instrumented: object, logger: logging.Logger) -> None:
    """Extras keep their types; other objects become their text; None is left out."""

    class Odd:
        def __str__(self) -> str:
            raise RuntimeError

    extra: dict[str, Any] = {
        "shop.order": "A1", "n": 3, "price": 1.5, "paid": True, "items": ["tea", 2], "none": None, "odd": Odd()
    }  # fmt: skip
    logger.info("x", extra=extra)
    attributes = dict(only(telemetry).log_record.attributes or {})
    found = {key: attributes[key] for key in extra if key in attributes}
    assert found == {
        "shop.order": "A1", "n": 3, "price": 1.5, "paid": True, "items": mixed("tea", 2), "odd": "<unprintable>"
    }  # fmt: skip
    assert {key: type(value) for key, value in found.items()}["paid"] is bool
