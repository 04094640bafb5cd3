"""The end of a process whose SDK is built from ``OTEL_CONFIG_FILE``, in real processes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.items import content
from tests.support.otlp_server import Server
from tests.support.processes import RUN, run

if TYPE_CHECKING:
    from pathlib import Path

FILE = """
file_format: "1.0"
meter_provider:
  readers: [{periodic: {interval: 600000, exporter: {otlp_http: {endpoint: "${ENDPOINT}/v1/metrics"}}}}]
"""
STARTED = (
    "import logging, os\nlogging.getLogger().addHandler(logging.NullHandler())\nlogging.error('starts telemetry')\n"
)
COUNT = "from opentelemetry import metrics; metrics.get_meter('shop').create_counter('shop.orders').add(1)\n"


@pytest.mark.parametrize(
    "program",
    [
        COUNT,
        f"import os\n{COUNT}os._exit(0)",
        f"{COUNT}import os, signal\nsignal.signal(signal.SIGTERM, lambda *_: os._exit(0))\nos.kill(os.getpid(), signal.SIGTERM)",
        f"{STARTED}pid = os.fork()\nif not pid:\n    {COUNT}    os._exit(0)\nassert os.waitpid(pid, 0)[1] == 0",
    ],
    ids=["end", "os._exit", "os._exit in a signal handler", "forked child"],
)
def test_external_sdk_whose_first_export_is_the_last_one_writes_nothing_to_stderr(tmp_path: Path, program: str) -> None:
    """The last delivery is the first call of ``requests``: no instrumentor is loaded for it."""
    file = tmp_path / "otel.yaml"
    file.write_text(FILE, encoding="utf-8")
    with Server() as server:
        changes = {"OTEL_CONFIG_FILE": str(file), "ENDPOINT": server.endpoint}
        ended = run(tmp_path, *RUN, sys.executable, "-W", "ignore", "-c", program, **changes)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert any(b"shop.orders" in content(request) for request in server.requests)
