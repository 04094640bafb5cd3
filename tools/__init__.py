"""Tools for contributors: what ``make check`` asks beyond linters and types, and the generators it names."""
