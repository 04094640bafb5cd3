"""Log levels change while the program runs, and its log format has the ids of the trace."""

import logging
import os
import signal
import sys

database = logging.getLogger("shop.db")
database.debug("first of all")

logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="%(otelTraceID)s %(otelSpanID)s %(message)s")

from opentelemetry import trace

logging.warning("outside of a span")
with trace.get_tracer("shop").start_as_current_span("work"):
    logging.warning("inside of a span", extra={"otelServiceName": "mine"})
    database.debug("below the program's level")

logging.getLogger("shop.web").debug("before the signal")
os.kill(os.getpid(), signal.SIGUSR2)
logging.getLogger("shop.web").debug("after the signal")

for number in range(5):
    logging.error("again and again: %d", number)
