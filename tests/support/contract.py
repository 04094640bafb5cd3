"""The contract of an instrumentor, which its test module states as ``CONTRACT``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Contract:
    """Work of an application that an instrumentor records, and the names it may record.

    The contract test reads it as ``CONTRACT`` from ``tests/unit/instrumentation/test_<name>.py``.

    Args:
        work: Functions that do what the instrumentor records; the first is also run alone.
        inside: Dotted path of a function of the distribution that ``work`` calls. The test replaces
            it by one that raises, to see that the application does not notice.
        names: Names of all spans, events and metrics that may be recorded; a plain log record
            has the empty name.
        suppressible: Whether ``suppress_instrumentation()`` applies. It suppresses spans of calls.
            A logged line or an exception that ends a thread is a fact about the process, no
            matter which code is running.
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
