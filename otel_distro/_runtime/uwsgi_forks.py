"""Support for uWSGI, which forks its workers in C without the at-fork callbacks of Python.

This module runs the callbacks of the registry in the workers. The process that forks must have no
background threads: a thread that waits for the interpreter lock at the moment of the fork leaves
that lock in a state that blocks the child. So in that process, ended items are written to disk at
once, for the workers to deliver.

Source: https://uwsgi-docs.readthedocs.io/en/latest/PythonModule.html
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from otel_distro._runtime import fork, import_hooks, worker
from otel_distro._runtime.diagnostics import guard

if TYPE_CHECKING:
    from collections.abc import Callable


def prepare() -> None:
    """Record what the SDK registers to run in forked children, from now on.

    Only where uWSGI runs.
    """
    if hasattr(sys.modules.get("uwsgi"), "worker_id"):
        fork.intercept("opentelemetry")


def follow(start: Callable[[], object], report: Callable[[], object]) -> bool:
    """Follow the forks of uWSGI.

    Return whether this process is the one that forks. Only after :func:`prepare`.

    Args:
        start: Starts the threads; called when this process turns out to serve requests itself.
        report: Writes what this process has counted. The first worker does that with its copy,
        because
            the process that forks ends without running any exit function.
    """
    uwsgi: Any = sys.modules.get("uwsgi")
    if not hasattr(uwsgi, "worker_id"):
        return False
    if uwsgi.worker_id() or (hasattr(uwsgi, "mule_id") and uwsgi.mule_id()):
        return False
    parent = os.getpid()

    def check_process() -> None:
        with guard("telemetry in a worker of uWSGI"):
            if os.getpid() != parent:
                if worker.threads_forbidden is not check_process:
                    return
                if uwsgi.worker_id() == 1:
                    with guard("the metrics of the process that forks workers"):
                        report()
                worker.threads_forbidden = None
                fork.reset_after_fork()
            elif uwsgi.worker_id() and worker.threads_forbidden is check_process:
                worker.threads_forbidden = None
                start()

    def reset_after_fork() -> None:
        worker.threads_forbidden = None
        start()

    worker.threads_forbidden = check_process
    # With --py-call-osafterfork uWSGI lets Python run the callbacks, and check_process() finds nothing left to do.
    fork.register("uWSGI", fork.Order.UWSGI, after_in_child=reset_after_fork)
    before = getattr(uwsgi, "post_fork_hook", None)

    def hook() -> None:
        check_process()
        if before is not None:
            before()

    uwsgi.post_fork_hook = hook
    # This module sets a hook of its own in the same place when it is imported.
    import_hooks.when_imported("uwsgidecorators", lambda module: module.postfork_chain.append(check_process))
    return True
