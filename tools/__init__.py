"""Tools for contributors: the checks of ``make check``, and the generators they name."""
