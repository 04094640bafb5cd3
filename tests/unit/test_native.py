"""What is taken from the interpreter itself."""

from __future__ import annotations

import sys

import pytest

from otel_distro import _native


@pytest.mark.parametrize(("before", "within"), [(0.005, 0.0005), (0.0001, 0.0001)])
def test_turns_are_quick_for_a_while(before: float, within: float) -> None:
    """A thread that computes gives way sooner, unless the program wants it sooner still; then it is as it was."""
    own = sys.getswitchinterval()
    sys.setswitchinterval(before)
    try:
        with pytest.raises(KeyError), _native.QuickTurns():
            assert sys.getswitchinterval() == pytest.approx(within, abs=2e-6)
            raise KeyError
        assert sys.getswitchinterval() == pytest.approx(before, abs=2e-6)
    finally:
        sys.setswitchinterval(own)
