"""The backend for a machine with nothing but Python: an OTLP/HTTP receiver on loopback, a SQLite file, a summary.

It runs in the process of ``otel-distro local`` and in tests, never in the instrumented program, and needs nothing that
the OTLP exporter does not bring along.
"""
