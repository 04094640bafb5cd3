"""Encodes spans, log records and metrics as OTLP: redacted, and bounded in size."""
