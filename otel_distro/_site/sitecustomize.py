"""Imported by ``site`` at start-up because ``otel-distro run`` puts this directory on PYTHONPATH.

It installs the hooks of telemetry and then runs the ``sitecustomize`` that it shadows.
"""

import os
import sys

sys.path[:] = [entry for entry in sys.path if entry.rstrip(os.sep) != os.path.dirname(__file__)]
try:
    from otel_distro import _boot
except ImportError:
    # Another interpreter inherited the environment and has no otel_distro: it starts as without this.
    pass
else:
    _boot.start()


def _run_shadowed() -> None:
    # The frozen core: importing `importlib.machinery` would take longer than the rest of this file.
    from _frozen_importlib import module_from_spec
    from _frozen_importlib_external import PathFinder

    spec = PathFinder.find_spec("sitecustomize")
    if spec is None or spec.loader is None:
        return
    module = module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


_run_shadowed()
