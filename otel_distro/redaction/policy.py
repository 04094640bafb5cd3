"""How the values of one key are redacted, for code that walks through containers itself.

That is the encoder, which knows the limits of containers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

SMALLEST_NUMBER: Final = 10**12
"""Smaller numbers are no card numbers."""


class RedactionPolicy(NamedTuple):
    """How the values of one key are redacted."""

    redact: Callable[[Any], Any]
    """Redacts a text, bytes or a number, each alone or within containers. Never raises."""

    smallest: float = SMALLEST_NUMBER
    """Numbers below this one are not hidden."""

    secret: bool = False
    """Whether the mask replaces a whole mapping."""

    arguments: bool = False
    """Whether a list holds the arguments of a command: ``Redactor.arguments`` runs over it first.
    """

    inherited: bool = False
    """Whether the policy also applies to nested mappings, whatever their keys."""


def identity(value: Any) -> Any:
    """Return the value unchanged."""
    return value


PASSTHROUGH: Final = RedactionPolicy(identity, smallest=float("inf"), inherited=True)
"""The policy for values that the user keeps, and for all values where redaction is off."""
