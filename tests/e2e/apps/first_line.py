"""Starts telemetry by itself, in its first line."""

import otel_distro; otel_distro.instrument()  # noqa: E702 - as one line, as it is documented

import runpy
import sys

sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
