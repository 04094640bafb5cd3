"""The shop on Django."""
