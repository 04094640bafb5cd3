"""Encodes spans, log records and metrics as OTLP: one request per batch, redacted, bounded in size."""
