"""The local backend: an OTLP/HTTP receiver on loopback, a SQLite file, a summary.

It runs in the process of ``otel-distro local`` and in tests, never in the instrumented program, and
needs only Python and the dependencies of the OTLP exporter.
"""
