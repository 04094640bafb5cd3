"""The last delivery of a process: every signal in a thread of its own, because time is short."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from otel_distro._runtime.worker import run_in_thread

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_distro._runtime import threads
    from otel_distro.export.send.delivery import SpoolExporter

LONGEST = 4.5
"""Seconds that the end of a process may take where the collector is known to take telemetry, but slowly."""

_MARGIN = 1.1
_SLOW = 0.5
_PUT_AWAY = 0.05


def patience(deliveries: Iterable[SpoolExporter], budget: float, longest: float) -> float:
    """Return the seconds of the last delivery: ``budget``, or one answer of a slow collector if that keeps to ``longest``.

    A collector that was never heard, or not the last time, is given ``budget``, and so is one for which ``longest`` would
    not do either.
    """
    needed = _MARGIN * max((delivery.link.answer_time for delivery in deliveries), default=0.0)
    return needed if budget < needed <= longest else budget


def deliver(deliveries: Iterable[SpoolExporter], deadline: float) -> None:
    """Send what waits of these until ``deadline``, as ``time.monotonic()``. What is left then stays in the spool."""
    end = deadline - _PUT_AWAY
    going: list[threads.LockType] = []
    for delivery in deliveries:
        what = f"the last delivery of {delivery.signal}"
        if delivery.link.answer_time > _SLOW and (second := delivery.beside()) is not None:
            # What came while a slow collector is at a request would have to wait for its answer, and then for its own.
            going.append(run_in_thread(what, partial(second.send_last, end)))
            going.append(run_in_thread(what, partial(delivery.await_answer, end)))
        else:
            going.append(run_in_thread(what, partial(delivery.send_last, end)))
    for done in going:
        done.acquire(True, max(0.0, deadline - time.monotonic()))
