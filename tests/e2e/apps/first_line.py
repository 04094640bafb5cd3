"""Starts telemetry by itself, before anything else."""

import otel_distro

otel_distro.instrument()

import runpy
import sys

sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
