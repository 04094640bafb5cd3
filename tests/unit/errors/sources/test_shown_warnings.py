"""Warnings that Python shows become log records; the others do not."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

from otel_distro import schema as s
from tests.support.failing import counts, logs

if TYPE_CHECKING:
    import pytest

    from otel_distro.testing import Telemetry


def test_warning_shown_repeatedly_is_recorded_once_a_minute(
    telemetry: Telemetry, instrumented: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shown warning is recorded once a minute per place, and printed each time.

    Warnings that ``catch_warnings`` keeps or ``captureWarnings`` logs are not recorded.
    """
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
