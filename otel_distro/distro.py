"""The entry point ``opentelemetry_distro``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.distro import BaseDistro  # type: ignore[attr-defined]

from otel_distro import _activation

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


class OTelDistro(BaseDistro):
    """The entry point ``opentelemetry_distro``.

    Used in processes in which upstream's ``sitecustomize`` runs.

    :meth:`_configure` installs the startup hooks. They cover most of the entry points that upstream
    then offers one by one.
    """

    def _configure(self, **kwargs: Any) -> None:
        from otel_distro import instrument

        instrument()

    def load_instrumentor(self, entry_point: EntryPoint, **kwargs: Any) -> None:
        """Load an instrumentor that no startup hook loads; a failure is reported."""
        if entry_point.name not in _activation.KNOWN:
            _activation.load(entry_point.name, entry_point.value)
