"""TraceQL over the names registry, for searches in panels and links."""

from __future__ import annotations

from otel_distro.schema import SERVICE_NAME, Attribute

SERVICE = f'resource.{SERVICE_NAME.name} =~ "$service"'
"""The chosen services, without namespace and environment: in TraceQL a comparison with an absent
attribute is false, whatever the pattern, so a search for "all or absent" finds nothing in a real
Tempo."""


def search(*conditions: str) -> str:
    """Return the search for spans that meet all conditions."""
    return f"{{ {' && '.join(conditions)} }}"


def cell(attribute: Attribute) -> str:
    """Return the value of ``attribute`` in the clicked row of a table, as a TraceQL string."""
    return f'"${{__data.fields.{attribute.label}:percentencode}}"'
