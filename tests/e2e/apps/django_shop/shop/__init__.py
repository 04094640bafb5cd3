"""The same shop on Django."""
