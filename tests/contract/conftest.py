"""Fixtures: one run for each pair of framework and server, and the check of the installed package."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.register_assert_rewrite("tests.contract.situations", "tests.contract.evidence")

from tests.contract.runs import Run, execute  # noqa: E402
from tests.e2e.conftest import installed  # noqa: E402

if TYPE_CHECKING:
    from tests.contract.servers import Pair

__all__ = ["installed"]


@pytest.fixture(scope="module")
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run of the pair that is the parameter; it has ended, and all that it sent has arrived."""
    pair: Pair = request.param
    return execute(pair, tmp_path_factory.mktemp(str(pair)))
