"""TraceQL over the names registry, for searches in panels and links."""

from __future__ import annotations

from otel_distro.schema import SERVICE_NAME, Attribute

SERVICE = f'resource.{SERVICE_NAME.name} =~ "$service"'
"""The chosen services. Namespace and environment are left out: a comparison with an absent attribute is false in TraceQL,
whatever the pattern, and a search for "all or absent" finds nothing in a real Tempo."""


def search(*conditions: str) -> str:
    """Return the search for spans that meet all conditions."""
    return f"{{ {' && '.join(conditions)} }}"


def cell(attribute: Attribute) -> str:
    """Return the value that the clicked row of a table has for ``attribute``, as a string of TraceQL."""
    return f'"${{__data.fields.{attribute.label}:percentencode}}"'
