"""Creates spans, logs and points, some of which cannot be delivered at once.

Argument ``refused``: all at once. ``away``: many and large ones, some of them old, until the file
``back`` exists.
"""

import logging
import os
import sys
import time

from opentelemetry import metrics, trace
from opentelemetry._logs import get_logger_provider

tracer = trace.get_tracer("books")
log = logging.getLogger("books")
log.setLevel(logging.INFO)
counter = metrics.get_meter("books").create_counter("books.entries")
PADDING = "x" * (2000 if sys.argv[1] == "away" else 10)


def make(first, last):
    for number in range(first, last):
        name = "poison" if number % 100 == 50 else "entry"
        tracer.start_span(name, attributes={"padding": PADDING}).end()
        log.info("%s %s", name, PADDING)


def flush(metrics_too=True):
    return [
        provider.force_flush(20_000)
        for provider in (trace.get_tracer_provider(), get_logger_provider(), metrics.get_meter_provider())[
            : 2 + metrics_too
        ]
    ]


counter.add(1)
if sys.argv[1] == "refused":
    make(0, 300)
    flush(metrics_too=False)
    flush()
else:
    make(0, 30)
    # Beyond the age limit at the second check: the first one is after a second, the second one five
    # seconds later.
    time.sleep(2.5)
    make(30, 230)
    print("made", flush=True)
    while not os.path.exists("back"):
        time.sleep(0.05)
    deadline = time.monotonic() + 20
    while not all(flush()) and time.monotonic() < deadline:
        time.sleep(0.1)
