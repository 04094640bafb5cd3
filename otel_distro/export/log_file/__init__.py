"""Writes log records as JSON lines to a local file, with rotation."""
