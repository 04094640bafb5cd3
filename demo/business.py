"""Business events, the only telemetry code of the shop; without otel-distro they do nothing."""

from __future__ import annotations

from typing import Any

try:
    from otel_distro import log
except ImportError:
    log = None  # type: ignore[assignment]


def report(name: str, *, failed: bool = False, user: str = "", **fields: Any) -> None:
    """Report a business event."""
    if log is not None:
        log.event(name, outcome="failure" if failed else "success", user=user, **fields)
