"""Starlette applications through upstream's middleware, each when its own middleware is put together.

Upstream swaps the class ``Starlette``, so that a FastAPI application made after it, being a subclass, is instrumented
twice: once as itself and once as a Starlette.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.starlette import StarletteInstrumentor as Upstream

from otel_distro._runtime.diagnostics import guard
from otel_distro.instrumentation import Instrumentor

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


class StarletteInstrumentor(Instrumentor):
    """Takes the place of upstream's entry point ``starlette``."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the versions of Starlette that upstream supports."""
        return ("starlette >= 0.13",)

    def install(self) -> None:
        """Add the middleware as the outermost one; subclasses that build their own stack (FastAPI) are left alone."""
        from starlette.applications import Starlette

        self.patch(Starlette, "build_middleware_stack", _with_middleware)


def _with_middleware(original: Callable[..., Any]) -> Callable[..., Any]:
    def build_middleware_stack(app: Any) -> Any:
        with guard("instrumenting a Starlette application"):
            Upstream.instrument_app(app)
        return original(app)

    return build_middleware_stack
