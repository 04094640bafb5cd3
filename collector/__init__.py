"""The Collector's configuration, and the generator of its redaction (``python -m collector``)."""
