"""Folds log records that repeat themselves, where ``OTEL_DISTRO_LOG_DEDUP_LIMIT`` says so; by default nothing is folded.

Equal are records of one logger, level and message template, and of one fingerprint where they carry an exception: the first
error of its kind is always sent, and events do not come this way at all. Of each kind the first few in a window are sent,
and the last one of those that followed, with the number of those before it: ``otel_distro.log.duplicates``.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics
from opentelemetry.context import Context, get_current
from opentelemetry.metrics import Observation

from otel_distro import schema, settings
from otel_distro._runtime.diagnostics import guard
from otel_distro._version import __version__
from otel_distro.export import lifecycle

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from opentelemetry.metrics import CallbackOptions

    from otel_distro.export.log_entry import CodeLocation

    Arguments = tuple[Any, int, int, str, str, CodeLocation, dict[str, Any]]
    Send = Callable[[Arguments, Context | None], None]

_MOST_KINDS = 2000


class _Run:
    """Equal records within one window. ``last``: the newest that was not sent, which will be if none follows."""

    __slots__ = ("end", "folded", "last", "sent")

    def __init__(self, end: float) -> None:
        self.end = end
        self.sent = 0
        self.folded = 0
        self.last: tuple[Arguments, Context] | None = None


class Folding:
    """Lets ``most`` equal records through in ``window`` seconds. ``now``: a clock in seconds."""

    def __init__(self, most: int, window: float, send: Send, now: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._window = window
        self._send = send
        self._now = now
        self.renew()

    def renew(self) -> None:
        """Start empty: what a forked child inherits is its parent's to send."""
        self._lock = threading.Lock()
        self._runs: dict[Hashable, _Run] = {}
        self._next_end = float("inf")
        self.folded = 0
        """How many records were folded into a later one."""

    def take(self, kind: Hashable, arguments: Arguments) -> None:
        """Send the record or hold it back."""
        now = self._now()
        if now >= self._next_end:
            self.release()
        with self._lock:
            run = self._runs.get(kind)
            if run is None:
                if len(self._runs) >= _MOST_KINDS:
                    # Too many kinds to tell apart: they are sent.
                    run = _Run(now)
                else:
                    run = self._runs[kind] = _Run(now + self._window)
                    self._next_end = min(self._next_end, run.end)
            if run.sent < self._most:
                run.sent += 1
            else:
                if run.last is not None:
                    run.folded += 1
                    self.folded += 1
                run.last = (arguments, get_current())
                return
        self._send(arguments, None)

    def release(self, *, everything: bool = False) -> None:
        """Send what is held back of windows that are over, or of all."""
        now = self._now()
        with self._lock:
            over = [kind for kind, run in self._runs.items() if everything or now >= run.end]
            ended = [self._runs.pop(kind) for kind in over]
            self._next_end = min((run.end for run in self._runs.values()), default=float("inf"))
        for run in ended:
            if run.last is not None:
                arguments, context = run.last
                if run.folded:
                    arguments[-1][schema.LOG_DUPLICATES.name] = run.folded
                self._send(arguments, context)


active: Folding | None = None
"""What folds records in this process; None where nothing is folded."""


def start(send: Send) -> None:
    """Fold from now on, if the settings say so. ``send`` emits a record, in a context of its own where it has one."""
    global active
    most = settings.OTEL_DISTRO_LOG_DEDUP_LIMIT.get()
    if not most:
        return
    active = Folding(most, settings.OTEL_DISTRO_LOG_DEDUP_WINDOW.get(), send)
    lifecycle.before_end.append(_release_all)
    metric = schema.LOG_DEDUPLICATED
    metrics.get_meter("otel_distro.log_records", __version__).create_observable_counter(
        metric.name, [_observe], metric.unit, metric.brief
    )
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=active.renew)


def stop() -> None:
    """Send what is held back and fold nothing more."""
    global active
    if active is not None:
        _release_all()
        lifecycle.before_end.remove(_release_all)
    active = None


def _observe(_: CallbackOptions) -> Iterable[Observation]:
    """Return the count. It is asked for every few seconds, also where no record comes any more: the time to release."""
    folding = active
    if folding is None:
        return
    with guard("releasing folded log records"):
        folding.release()
    yield Observation(folding.folded)


def _release_all() -> None:
    if active is not None:
        active.release(everything=True)
