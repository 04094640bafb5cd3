"""Logs from threads, a forked child and a pool, with business and audit events.

Then it ends, or with ``wait`` waits for a signal.
"""

import logging
import multiprocessing
import os
import sys
import threading
import time

from opentelemetry import trace

from otel_distro import audit, log

logger = logging.getLogger("shop")


def work(who, times):
    for number in range(times):
        logger.warning("%s %d", who, number, extra={"user.id": number})


def child(number):
    work(f"pool-{number}", 50)


if __name__ == "__main__":
    with trace.get_tracer("shop").start_as_current_span("order"):
        log.event("order.paid", user=7, amount=59.9, card="4111 1111 1111 1111")
        audit.event("auth.login", outcome="failure", actor=7, reason="password=hunter2000")
    threads = [threading.Thread(target=work, args=(f"thread-{number}", 100)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pid = os.fork()
    if pid == 0:
        work("forked", 50)
        audit.event("auth.logout", actor=7)
        sys.exit()
    os.waitpid(pid, 0)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(child, range(2), chunksize=1)
        pool.close()
        pool.join()
    work("main", 100)
    if sys.argv[1:] == ["wait"]:
        print("ready", flush=True)
        time.sleep(60)
