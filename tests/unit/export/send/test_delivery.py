"""How long the end of a process may take."""

from __future__ import annotations

import pytest

from otel_distro.export.build import deliveries, targets
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
    ids=["never heard", "fast", "slow", "slower than any use", "a time that the user has set", "a long one"],
)
def test_patience(answer_time: float, budget: float, longest: float, expected: float) -> None:
    """Only a collector whose answer can be waited for is given more than the budget."""
    made = deliveries(targets({}), open_spool({"OTEL_DISTRO_SPOOL": "off"}, "key", "shop"))
    made["traces"].health.answer_time = answer_time
    assert exit_timeout(made.values(), budget, longest) == pytest.approx(expected)
