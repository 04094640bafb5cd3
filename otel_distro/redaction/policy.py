"""What a key says about its values, for who walks through containers by himself: the encoder, which knows their bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

SMALLEST_NUMBER: Final = 10**12
"""Shorter numbers are no card's."""


class RedactionPolicy(NamedTuple):
    """How the values of one key are redacted."""

    redact: Callable[[Any], Any]
    """Redacts a text, bytes or a number, each alone or within containers. Never raises."""

    smallest: float = SMALLEST_NUMBER
    """No number below this one is hidden."""

    secret: bool = False
    """Whether the mask takes the place of a whole mapping."""

    arguments: bool = False
    """Whether a list is the arguments of a command, for ``Redactor.arguments`` before each of them."""

    inherited: bool = False
    """Whether mappings within are treated like this too, whatever their keys."""


def same(value: Any) -> Any:
    """Return what was given."""
    return value


PASSTHROUGH: Final = RedactionPolicy(same, smallest=float("inf"), inherited=True)
"""How values are treated that the user wants to see, and all of them where redaction is off."""
