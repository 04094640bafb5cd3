"""A signal that ends the process while its main thread is in the code of telemetry."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from otel_distro._otel import metric_patches
from otel_distro._otel.patch import sdk_release
from tests.support.programs import RUN

if TYPE_CHECKING:
    from tests.support.programs import Launcher
    from tests.support.receiver import Receiver

PROGRAM = """
import os, signal, sys
from opentelemetry import metrics, trace

folder, function = sys.argv[1:]
tracer = trace.get_tracer("shop")
counter = metrics.get_meter("shop").create_counter("sold")
counter.add(1)

def begin(frame, event, argument):
    if frame.f_code.co_name == function and folder in frame.f_code.co_filename:
        return end_inside

def end_inside(frame, event, argument):
    lock = frame.f_locals.get("lock")
    if event == "line" and (lock is None or lock.locked()):
        sys.settrace(None)
        os.kill(os.getpid(), signal.SIGTERM)

sys.settrace(begin)
for _ in range(10000):
    tracer.start_span("sale").end()
    counter.add(1)
print("the program was not interrupted there")
"""


PLACES = [("/otel_distro/export/spool/", "_write_inbox"), ("/otel_distro/export/", "spool")]
if metric_patches.FAST_INSTRUMENTS.since <= sdk_release():
    PLACES.append(("/otel_distro/_otel/", "add"))


@pytest.mark.parametrize(("folder", "function"), PLACES)
def test_signal_that_interrupts_telemetry_itself_loses_nothing(
    folder: str, function: str, launcher: Launcher, receiver: Receiver
) -> None:
    """The main thread holds a lock then; all that was recorded arrives."""
    (launcher.folder / "shop.py").write_text(PROGRAM, encoding="utf-8")
    # With such a short queue the main thread writes to the spool itself.
    ended = launcher.run(str(launcher.folder / "shop.py"), folder, function, command=RUN, OTEL_BSP_MAX_QUEUE_SIZE="4")
    assert (ended.returncode, ended.stdout, ended.diagnostics()) == (-signal.SIGTERM, "", [])
    assert receiver.spans("sale")
    assert receiver.total("sold") >= 1
