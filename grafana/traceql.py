"""TraceQL over the names registry, for searches in panels and links."""

from __future__ import annotations

from otel_distro.schema import DEPLOYMENT_ENVIRONMENT, SERVICE_NAME, SERVICE_NAMESPACE, Attribute


def chosen(attribute: Attribute, variable: str) -> str:
    """Return the condition for a variable of the dashboard.

    A comparison with an absent attribute is false in TraceQL, whatever the pattern; so *All* (``.*``) is asked for
    apart. Tempo evaluates that half when it parses the query.
    """
    return f'("${variable}" = ".*" || resource.{attribute.name} =~ "${variable}")'


SERVICE = " && ".join(
    (
        f'resource.{SERVICE_NAME.name} =~ "$service"',
        chosen(SERVICE_NAMESPACE, "namespace"),
        chosen(DEPLOYMENT_ENVIRONMENT, "environment"),
    )
)
"""The chosen services."""


def search(*conditions: str) -> str:
    """Return the search for spans that meet all conditions."""
    return f"{{ {' && '.join(conditions)} }}"


def cell(attribute: Attribute) -> str:
    """Return the value that the clicked row of a table has for ``attribute``, as a string of TraceQL."""
    return f'"${{__data.fields.{attribute.label}:percentencode}}"'
