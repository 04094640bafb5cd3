"""The base of our instrumentors: what they patch they can put back.

An instrumentor is one file here, one line under ``opentelemetry_instrumentor`` in pyproject.toml, its names in
``schema`` and its test. It is loaded when telemetry starts (a row in ``targets.ALWAYS``), when a library is imported
(``targets.ON_IMPORT``) or when a function is first called (``targets.FIRST_CALL``).
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]


class Instrumentor(BaseInstrumentor):
    """Patches places and remembers what stood there. Subclasses write :meth:`install`."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the libraries that must be installed, as requirement strings; none by default."""
        return ()

    @abstractmethod
    def install(self) -> None:
        """Patch what is to be patched, by :meth:`patch`."""

    def patch(self, owner: Any, attribute: str, wrap: Wrapper) -> None:
        """Put ``wrap(original)`` in the place of ``owner.attribute``."""
        original = getattr(owner, attribute)
        replacement = functools.wraps(original)(wrap(original))
        setattr(owner, attribute, replacement)
        self._places().append((owner, attribute, original, replacement))

    def _places(self) -> list[tuple[Any, str, Any, Any]]:
        # Not set in __init__, which runs again at every construction of this singleton.
        places: list[tuple[Any, str, Any, Any]] = self.__dict__.setdefault("_patched", [])
        return places

    def _instrument(self, **kwargs: Any) -> None:
        self.install()

    def _uninstrument(self, **kwargs: Any) -> None:
        places = self._places()
        while places:
            owner, attribute, original, replacement = places.pop()
            # Somebody who patched over us keeps their place; we are then called through and find nothing to do.
            if getattr(owner, attribute, None) is replacement:
                setattr(owner, attribute, original)
