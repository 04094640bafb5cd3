"""Starlette applications: add upstream's middleware when an application builds its stack.

Upstream replaces the class ``Starlette``. A FastAPI application created afterwards is a subclass of
the replacement and is instrumented twice: as FastAPI and as Starlette.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.starlette import StarletteInstrumentor as Upstream

from otel_distro._runtime.diagnostics import guard
from otel_distro.instrumentation import Instrumentor

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


class StarletteInstrumentor(Instrumentor):
    """Replaces upstream's entry point ``starlette``."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the versions of Starlette that upstream supports."""
        return ("starlette >= 0.13",)

    def install(self) -> None:
        """Add the outermost middleware; skip subclasses with a stack of their own (FastAPI)."""
        from starlette.applications import Starlette

        self.patch(Starlette, "build_middleware_stack", _with_middleware)


def _with_middleware(original: Callable[..., Any]) -> Callable[..., Any]:
    def build_middleware_stack(app: Any) -> Any:
        with guard("instrumenting a Starlette application"):
            Upstream.instrument_app(app)
        return original(app)

    return build_middleware_stack
