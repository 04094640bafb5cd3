"""Logs and fails while another thread starts telemetry, which takes until this thread waits for it.

The argument says how the program ends.
"""

import importlib.util
import logging
import os
import signal
import sys
import threading

GATE = "opentelemetry.sdk.trace"
reached, opened = threading.Event(), threading.Event()


class Finder:
    """Stops the import of the SDK until the gate is opened."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != GATE:
            return None
        sys.meta_path.remove(Finder)
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module

        def exec_module(module):
            reached.set()
            opened.wait()
            run(module)

        spec.loader.exec_module = exec_module
        return spec


def open_gate_once_main_waits():
    """Open the gate when the innermost frame of the main thread is one of the distribution."""
    main = threading.main_thread().ident
    while not opened.is_set():
        frame = sys._current_frames().get(main)
        if frame is not None and f"{os.sep}otel_distro{os.sep}" in frame.f_code.co_filename:
            opened.set()


def log_everywhere():
    import asyncio

    from loguru import logger as loguru_logger

    logging.getLogger("shop").info("by logging %s", ["tea"], extra={"order": 7})
    loguru_logger.bind(order=8).info("by loguru")
    thread = threading.Thread(target=int, args=("thread",), name="worker")
    thread.start()
    thread.join()

    async def errand():
        raise LookupError("task")

    async def main():
        task = asyncio.get_running_loop().create_task(errand(), name="errand")
        while not task.done():  # noqa: ASYNC110 - the task must not be awaited
            await asyncio.sleep(0)

    asyncio.run(main())


how = sys.argv[1]
sys.meta_path.insert(0, Finder)
logging.basicConfig(level=logging.INFO)
reached.wait()
log_everywhere()
print("nothing has waited", not opened.is_set(), flush=True)
threading.Thread(target=open_gate_once_main_waits, daemon=True).start()
if how == "error":
    raise ValueError("main")
if how == "signal":
    os.kill(os.getpid(), signal.SIGTERM)
if how == "_exit":
    os._exit(3)
if how == "span":
    from opentelemetry import trace

    with trace.get_tracer("shop").start_as_current_span("first"):
        pass
if how == "fork" and os.fork() == 0:
    logging.getLogger("shop").info("in the child")
    sys.exit(0)
if how == "fork":
    os.wait()
