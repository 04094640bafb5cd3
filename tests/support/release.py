"""Differences between the releases of OpenTelemetry that the tests run on."""

from __future__ import annotations

from otel_distro._otel.patch import sdk_release

ANY_VALUES = sdk_release() >= (1, 45)
"""Whether the SDK keeps attributes of any type, such as lists of mixed types (from 1.45)."""


def mixed(*members: object) -> tuple[object, ...] | None:
    """Return what the SDK makes of a list of members of different types."""
    return members if ANY_VALUES else None
