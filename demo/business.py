"""What the business wants to hear of. Everything else is seen from outside; without otel-distro nobody listens."""

from __future__ import annotations

from typing import Any

try:
    from otel_distro import log
except ImportError:
    log = None  # type: ignore[assignment]


def tell(name: str, *, failed: bool = False, user: str = "", **fields: Any) -> None:
    """Tell of something that happened in the terms of the business."""
    if log is not None:
        log.event(name, outcome="failure" if failed else "success", user=user, **fields)
