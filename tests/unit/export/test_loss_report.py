"""The lines about items that the spool had to drop, and about those unsent at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otel_distro._runtime import diagnostics
from otel_distro.export.loss_report import LossReport
from tests.support.spool_processes import body, spool

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _no_earlier_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnostics, "_last", {})


def test_loss_is_reported_in_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A dropped body gives one line with count, signal and reason; a second report adds none."""
    queue = spool(tmp_path, max_bytes=10_000)
    report = LossReport(queue, {})
    queue.append("traces", b"x" * 10_000, 5)
    report.report()
    report.report()
    assert capfd.readouterr().err == (
        "otel-distro: 5 items of traces were dropped from the spool: size"
        " (more than OTEL_DISTRO_SPOOL_MAX_BYTES; the oldest go first) [OD310]\n"
    )


def test_rejected_items_are_left_to_the_exporter(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Rejected items are counted by the spool, and reported where the answer is read."""
    queue = spool(tmp_path)
    queue.append("logs", body(1), 1)
    batch = queue.lease("logs", 1)
    assert batch is not None
    queue.dead_letter(batch, "HTTP 400")
    LossReport(queue, {}).report()
    assert capfd.readouterr().err == ""


def test_report_at_the_end_has_late_losses_and_unsent_items(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The last report prints the losses since the one before, then what waits and where."""
    queue = spool(tmp_path, max_bytes=10_000)
    report = LossReport(queue, {})
    queue.append("logs", body(1), 3)
    queue.append("traces", b"x" * 10_000, 5)
    report.report_unsent(queue.pending())
    lines = capfd.readouterr().err.splitlines()
    assert [line[-8:] for line in lines] == [" [OD310]", " [OD311]"]
    assert "kept on disk for the next start: 3 of logs" in lines[1]
