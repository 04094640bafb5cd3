"""The time that sending at the end of a process may take."""

from __future__ import annotations

import pytest

from otel_distro.export.build import endpoints, spool_exporters
from otel_distro.export.send.delivery import exit_timeout
from otel_distro.export.spool.spool import open_spool


@pytest.mark.parametrize(
    ("answer_time", "budget", "longest", "expected"),
    [
        (0.0, 2.0, 4.5, 2.0),
        (0.1, 2.0, 4.5, 2.0),
        (4.0, 2.0, 4.5, 4.4),
        (10.0, 2.0, 4.5, 2.0),
        (4.0, 2.0, 0.0, 2.0),
        (4.0, 30.0, 4.5, 30.0),
    ],
    ids=["no answer yet", "fast", "slow", "too slow to wait for", "a time that the user has set", "a long one"],
)
def test_exit_timeout_is_extended_only_for_a_slow_answer(
    answer_time: float, budget: float, longest: float, expected: float
) -> None:
    """Only a collector whose answer can be awaited is given more than the budget."""
    exporters = spool_exporters(endpoints({}), open_spool({"OTEL_DISTRO_SPOOL": "off"}, "key", "shop"))
    exporters["traces"].health.answer_time = answer_time
    assert exit_timeout(exporters.values(), budget, longest) == pytest.approx(expected)
