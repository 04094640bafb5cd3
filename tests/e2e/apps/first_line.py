"""Calls instrument() first, then runs the script in its arguments."""

import otel_distro

otel_distro.instrument()

import runpy
import sys

sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
