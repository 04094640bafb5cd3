"""Fixtures: one run for each pair of framework and server, and those of the end-to-end tests."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    *(f"tests.contract.{name}" for name in ("situations", "websocket_situations", "facts", "evidence"))
)

from tests.contract.runs import Run, execute  # noqa: E402
from tests.contract.servers import Pair  # noqa: E402
from tests.e2e.conftest import installed, launcher, receiver  # noqa: E402

__all__ = ["installed", "launcher", "receiver"]


_runs: dict[Pair, Run | Exception] = {}


@pytest.fixture
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run of the pair that is the parameter, one for all its situations.

    It has ended, and all that it sent has arrived.
    """
    pair: Pair = request.param
    if pair not in _runs:
        try:
            _runs[pair] = execute(pair, tmp_path_factory.mktemp(str(pair)))
        except Exception as problem:
            _runs[pair] = problem
    run = _runs[pair]
    if isinstance(run, Exception):
        raise run
    return run
