"""Counts and is killed.

Argument ``child``: a forked child counts and is killed, too. ``bounds``: too many series, and
callbacks that hang or fail; nothing is killed.
"""

import os
import signal
import sys
import threading
import time
import warnings
from pathlib import Path

from opentelemetry import metrics
from opentelemetry.metrics import Observation

meter = metrics.get_meter("shop")
orders = meter.create_counter("shop.orders")
sizes = meter.create_histogram("shop.size")


def count(number):
    for step in range(number):
        orders.add(1, {"kind": "even" if step % 2 == 0 else "odd"})
        sizes.record(step)


def await_disk(words=b"shop.orders"):
    """Wait until the values are in the spool and no newer ones are being written."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        time.sleep(0.2)
        names = [f"-{os.getpid()}-"]
        files = [path for path in Path("state").rglob("*.metrics.seg") if any(name in path.name for name in names)]
        if any(words in path.read_bytes() for path in files):
            return
    sys.exit("nothing on the disk")


def bounds():
    came_back = threading.Event()
    calls = []

    def hang(_):
        calls.append(1)
        if len(calls) == 1:
            came_back.wait(60)
        yield Observation(len(calls))

    def fail(_):
        raise ValueError("no such table")

    meter.create_observable_gauge("shop.hangs", [hang])
    meter.create_observable_gauge("shop.fails", [fail])
    meter.create_observable_gauge("shop.fine", [lambda _: [Observation(7)]])
    for number in range(100):
        orders.add(1, {"region": "north" if number % 2 else "south", "user.id": str(number)})
    flush = metrics.get_meter_provider().force_flush
    print(flush(30_000), len(calls), flush=True)
    came_back.set()
    while len(calls) < 2:
        time.sleep(0.05)
        flush(30_000)
    print("asked again", flush=True)


if sys.argv[1] == "bounds":
    bounds()
else:
    count(1000)
    metrics.get_meter_provider().force_flush(30_000)
    count(500)
    await_disk()
    warnings.simplefilter("ignore", DeprecationWarning)
    child = os.fork() if sys.argv[1] == "child" else 0
    if child:
        os.waitpid(child, 0)
    elif sys.argv[1] == "child":
        count(70)
        await_disk()
    print("counted", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
