"""uWSGI forks its workers in C, where Python's at-fork functions are not called; this calls ours.

In the process that forks them no thread of ours may run: one that waits for the interpreter when the fork happens leaves
its lock in a state that stops the child. There what ends is written to the disk at once, for the workers to deliver.

Source: https://uwsgi-docs.readthedocs.io/en/latest/PythonModule.html
"""

from __future__ import annotations

import functools
import os
import sys
from typing import TYPE_CHECKING, Any

from otel_distro._runtime import import_hooks, worker
from otel_distro._runtime.diagnostics import guard

if TYPE_CHECKING:
    from collections.abc import Callable

_OURS = ("otel_distro.", "opentelemetry.")
_in_child: list[Callable[[], object]] = []


def prepare() -> None:
    """Note what we and the SDK register to be called in forked children, from here on; only where uWSGI runs."""
    uwsgi: Any = sys.modules.get("uwsgi")
    register: Any = getattr(os, "register_at_fork", None)
    if register is None or not hasattr(uwsgi, "worker_id"):
        return

    @functools.wraps(register)
    def noting(**functions: Any) -> None:
        in_child = functions.get("after_in_child")
        if in_child is not None and str(getattr(in_child, "__module__", "")).startswith(_OURS):
            _in_child.append(in_child)
        register(**functions)

    os.register_at_fork = noting


def follow(start: Callable[[], object], tell: Callable[[], object]) -> bool:
    """Follow the forks of uWSGI; return whether this process is the one that forks. Only after :func:`prepare`.

    ``start`` starts the threads; it is called when this process turns out to serve requests itself. ``tell`` writes what
    it has counted: the first worker does that with its copy, because the process that forks ends without a word.
    """
    uwsgi: Any = sys.modules.get("uwsgi")
    if not hasattr(os.register_at_fork, "__wrapped__") or not hasattr(uwsgi, "worker_id"):
        return False
    if uwsgi.worker_id() or (hasattr(uwsgi, "mule_id") and uwsgi.mule_id()):
        return False
    parent = os.getpid()

    def look() -> None:
        with guard("telemetry in a worker of uWSGI"):
            if os.getpid() != parent:
                if worker.threads_forbidden is not look:
                    return
                if uwsgi.worker_id() == 1:
                    with guard("the metrics of the process that forks workers"):
                        tell()
                worker.threads_forbidden = None
                for callback in _in_child:
                    with guard("telemetry after a fork of uWSGI"):
                        callback()
            elif uwsgi.worker_id() and worker.threads_forbidden is look:
                worker.threads_forbidden = None
                start()

    def by_python() -> None:
        worker.threads_forbidden = None
        start()

    worker.threads_forbidden = look
    # With --py-call-osafterfork uWSGI has Python call them, and there is nothing left to be done.
    os.register_at_fork(after_in_child=by_python)
    before = getattr(uwsgi, "post_fork_hook", None)

    def hook() -> None:
        look()
        if before is not None:
            before()

    uwsgi.post_fork_hook = hook
    # It puts a hook of its own in this place when it is imported.
    import_hooks.when_imported("uwsgidecorators", lambda module: module.postfork_chain.append(look))
    return True
