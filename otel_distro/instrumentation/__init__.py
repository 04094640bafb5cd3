"""Base class of the instrumentors: every patch can be undone.

An instrumentor is one file in this folder, one entry point ``opentelemetry_instrumentor`` in
pyproject.toml, its names in ``schema``, and its test. A table of ``_startup/triggers.py`` says when
it is loaded: when telemetry starts (``ALWAYS``), when a library is imported (``ON_IMPORT``), or
when a function is first called (``FIRST_CALL``). Helpers lie in the folders ``_logging``,
``_process`` and ``_access``.
"""

from __future__ import annotations

import functools
import inspect
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]

from otel_distro._runtime import import_hooks
from otel_distro._runtime.diagnostics import guard
from otel_distro._runtime.import_hooks import without_trampoline

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]


class Instrumentor(BaseInstrumentor):
    """Patches attributes and restores them. Subclasses implement :meth:`install`."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the libraries that must be installed, as requirement strings; by default empty."""
        return ()

    @abstractmethod
    def install(self) -> None:
        """Apply all patches, by :meth:`patch`."""

    def patch(self, owner: Any, attribute: str, wrap: Wrapper) -> None:
        """Replace ``owner.attribute`` by ``wrap(original)``.

        A trampoline in its place is replaced in the same step: each call of another thread reaches
        one of the two.
        """
        original = without_trampoline(getattr(owner, attribute))
        replacement = functools.wraps(original)(wrap(original))
        setattr(owner, attribute, replacement)
        self._patches().append((owner, attribute, original, replacement))

    def patch_static(self, owner: Any, attribute: str, replacement: Callable[..., Any]) -> None:
        """Replace a function of a class by one that gets no instance."""
        original = inspect.getattr_static(owner, attribute)
        replacement = functools.wraps(getattr(owner, attribute))(replacement)
        setattr(owner, attribute, staticmethod(replacement))
        self._patches().append((owner, attribute, original, replacement))

    def patch_when_imported(self, module: str, owner: str, attribute: str, wrap: Wrapper) -> None:
        """Replace an attribute of ``owner`` in a module that is, or will be, imported.

        Args:
            module: Full name of the module.
            owner: Name of a class in it; empty for the module itself.
            attribute: Name of what to replace. One that is missing is left out.
            wrap: See :meth:`patch`.
        """
        patches = self._patches()

        def apply(found: Any) -> None:
            with guard(f"patching {module}"):
                # It may be imported after the instrumentor was uninstalled, or installed again.
                if self.__dict__.get("_patched") is patches:
                    place = getattr(found, owner, None) if owner else found
                    if hasattr(place, attribute):
                        self.patch(place, attribute, wrap)

        import_hooks.when_imported(module, apply)

    def _patches(self) -> list[tuple[Any, str, Any, Any]]:
        # Not set in __init__, which runs again at every construction of this singleton.
        patches: list[tuple[Any, str, Any, Any]] = self.__dict__.setdefault("_patched", [])
        return patches

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of ``instrument()``, without those that are None."""
        found: dict[str, Any] = self.__dict__.get("_arguments", {})
        return found

    def _instrument(self, **kwargs: Any) -> None:
        self.__dict__["_arguments"] = {name: value for name, value in kwargs.items() if value is not None}
        self.install()

    def _uninstrument(self, **kwargs: Any) -> None:
        patches = self._patches()
        del self.__dict__["_patched"]
        while patches:
            owner, attribute, original, replacement = patches.pop()
            # Another tool may have patched the attribute since: its patch stays, and calls on.
            if getattr(owner, attribute, None) is replacement:
                setattr(owner, attribute, original)
