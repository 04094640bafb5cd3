"""Report exceptions that the application handles itself.

Uncaught and logged exceptions are reported without any code. For an exception that code catches
and survives, call :func:`capture`::

    from otel_distro.errors import capture, suppress

    try:
        refresh_prices()
    except PriceError as error:
        capture(error, shop="a1")

    with suppress("refresh prices"):  # an Exception ends here: recorded, not raised further
        refresh_prices()

Importing this module does not import OpenTelemetry. Docs: docs/errors.md.
"""

from otel_distro.errors.capturing import capture, suppress

__all__ = ["capture", "suppress"]
