"""Redaction: hides secrets in everything that leaves the process, in the exporter's encoder.

One table of keys and shapes (:mod:`~otel_distro.redaction.table`), one class that applies it::

    redactor = Redactor.from_environment()
    redactor.text("login with password=hunter2")         # 'login with password=[redacted]'
    redactor.value("url.query", "token=abc&page=2")      # 'token=[redacted]&page=2'
    redactor.attributes(span.attributes)                 # the same object where nothing is secret
"""

from otel_distro.redaction.redactor import Redactor
from otel_distro.redaction.table import MASK

__all__ = ["MASK", "Redactor"]
