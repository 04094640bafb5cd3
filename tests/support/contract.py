"""What an instrumentor's test module says for the contract test: its ``CONTRACT``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Contract:
    """What an application does to be seen by an instrumentor, and what may be recorded then.

    The contract test reads it as ``CONTRACT`` from ``tests/unit/instrumentation/test_<name>.py``.

    Args:
        work: Functions that do what the instrumentor records; the first is also run alone.
        inside: Dotted path of a function of the distribution that ``work`` runs into. The test
            breaks it to see whether the application notices.
        names: Names of all spans, events and metrics that may be recorded; a plain log record
            has the empty name.
        suppressible: Whether ``suppress_instrumentation()`` applies. It is for calls that somebody
            makes, to keep their spans from being made. A line that is logged or an exception that
            ends a thread are facts about the process, no matter which code is running.
        owners: Further modules and classes that the instrumentor patches, beside those of the
            standard library that the contract test knows.
    """

    def __init__(
        self,
        *work: Callable[[], None],
        inside: str,
        names: set[str],
        suppressible: bool,
        owners: tuple[Any, ...] = (),
    ) -> None:
        self.work = work
        self.inside = inside
        self.names = names
        self.suppressible = suppressible
        self.owners = owners
