"""Errors: what is told of an exception, once, whoever sees it.

For code that catches an exception and goes on, and wants it to be seen all the same::

    from otel_distro.errors import capture

    try:
        refresh_prices()
    except PriceError as error:
        capture(error)          # inside `except`, capture() does the same

    with capture("refresh prices"):
        refresh_prices()        # an Exception ends here: recorded, and not raised any further

Importing this imports nothing of OpenTelemetry.
"""

from otel_distro.errors.capturing import capture

__all__ = ["capture"]
