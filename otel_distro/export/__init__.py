"""Exports ended items: queue, encode, spool, send; and log records to a local file."""
