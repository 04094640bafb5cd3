"""The contract of requests, see `situations.py`."""

from __future__ import annotations

import pytest

from tests.contract.runs import Run, cases
from tests.contract.servers import WSGI_SERVERS_IN_PYTHON

pytestmark = pytest.mark.process


@pytest.mark.parametrize(("run", "situation"), cases(WSGI_SERVERS_IN_PYTHON), indirect=["run"])
def test_python_server_situation_gives_what_is_right(run: Run, situation: str) -> None:
    """Spans, measurements, records and the program's own answers are right in each situation."""
    run.check(situation)
