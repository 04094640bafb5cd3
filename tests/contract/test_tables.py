"""The tables of the contract name what they leave out."""

from __future__ import annotations

from tests.contract.frameworks import FRAMEWORKS
from tests.contract.servers import SERVERS, UNRECORDED
from tests.contract.situations import SITUATIONS


def test_each_situation_that_is_left_out_exists_and_has_a_reason() -> None:
    """No framework or server leaves out a situation that does not exist, or without a reason."""
    for without in [each.without for each in FRAMEWORKS.values()] + [each.without for each in SERVERS.values()]:
        assert set(without) <= set(SITUATIONS)
        assert all(without.values())
    assert all(UNRECORDED.values())


def test_each_situation_is_had_by_several_frameworks() -> None:
    """Each situation runs for an application of WSGI or of ASGI at least."""
    for name in SITUATIONS:
        assert len([each for each in FRAMEWORKS.values() if name not in each.without]) >= 3, name
