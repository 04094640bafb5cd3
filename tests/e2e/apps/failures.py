"""Fails in seven ways, each inside a span of its own, and prints the trace id of each."""

import asyncio
import contextlib
import gc
import multiprocessing
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

from opentelemetry import trace

from otel_distro.errors import capture

tracer = trace.get_tracer("shop")


def fail(kind):
    with tracer.start_as_current_span(kind) as span:
        print(kind, f"{span.get_span_context().trace_id:032x}", flush=True)
        raise ValueError(f"no luck in {kind}")


async def leave_a_task_alone():
    async def lonely():
        fail("task")

    task = asyncio.create_task(lonely(), name="errand")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task


class Cart:
    def __del__(self):
        fail("unraisable")


def main():
    with capture("prices", shop="a1"):
        fail("caught")
    thread = threading.Thread(target=fail, args=("thread",), name="worker")
    thread.start()
    thread.join()
    asyncio.run(leave_a_task_alone())
    cart = Cart()
    del cart
    with ThreadPoolExecutor(1) as pool:
        pool.submit(fail, "executor")
        read = pool.submit(int, "read by somebody")
    with contextlib.suppress(ValueError):
        read.result()
    child = multiprocessing.get_context("fork").Process(target=fail, args=("process",), name="child")
    child.start()
    child.join()
    warnings.warn("old way", stacklevel=1)
    gc.collect()
    fail("main")


if __name__ == "__main__":
    main()
