"""Periodic work: a scheduler thread, and the shop's jobs, whose periods are seconds."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import requests

from demo.papers import Papers
from demo.store import Store

logger = logging.getLogger("shop.jobs")


class Scheduler:
    """One thread that runs jobs one after the other, each for the first time at once."""

    def __init__(self) -> None:
        self._jobs: list[tuple[float, Callable[[], None]]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scheduler")

    def every(self, seconds: float, job: Callable[[], None]) -> None:
        """Add a job; only before :meth:`start`."""
        self._jobs.append((seconds, job))

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Let the running job end, then the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        due = [time.monotonic()] * len(self._jobs)
        while not self._stop.wait(max(0, min(due) - time.monotonic())):
            following = due.index(min(due))
            seconds, job = self._jobs[following]
            try:
                job()
            except Exception:
                # A job that fails must not stop the others; it runs again at its next time.
                logger.exception("job %s failed", job.__name__)
            due[following] += seconds


class Jobs:
    """The jobs of the shop."""

    def __init__(self, store: Store, papers: Papers, payments: str) -> None:
        self._store = store
        self._papers = papers
        self._payments = payments

    def stock_sync(self) -> None:
        """Reorder sold products from the wholesaler, who delivers at once."""
        pieces = self._store.fill_stock()
        logger.info("stock filled up with %d pieces", pieces, extra={"pieces": pieces})

    def sales_report(self) -> None:
        """Write the sales report."""
        sales = self._store.sales()
        self._papers.write_sales(sales)
        paid = [row for row in sales if row["status"] == "paid"]
        orders, cents = sum(row["orders"] for row in paid), sum(row["cents"] for row in paid)
        logger.info("sales: %d orders, %.2f EUR", orders, cents / 100, extra={"orders": orders, "cents": cents})

    def settlement(self) -> None:
        """Ask the payment provider for the total of its charges."""
        answer = requests.get(f"{self._payments}/balance", timeout=5)
        answer.raise_for_status()
        cents = answer.json()["cents"]
        logger.info("the payment provider owes us %.2f EUR", cents / 100, extra={"cents": cents})

    def exchange_rates(self) -> None:
        """Load the exchange rates. Their file does not exist: this job fails every time."""
        self._papers.exchange_rates()
