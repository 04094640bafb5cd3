"""The rings ``loki`` and ``tempo``: tests on programs that must be installed, not built here.

Most tests on logs and traces run twice: on the stores that are built here, VictoriaLogs and Jaeger,
and in a ring on the stores of the bundle. The marks of this module select the stores for a test
that uses the fixture ``stack``; without a mark it runs on those that are built here.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

import pytest

RINGS: Final = {"loki": "OTEL_DISTRO_TEST_LOKI", "tempo": "OTEL_DISTRO_TEST_TEMPO"}
"""Ring (also the name of program and marker) -> the variable with the path of the program."""

BUILT: Final = "built"
"""The parameter of the fixture ``stack`` for the stores that are built here."""

BUNDLED: Final = "bundled"
"""The parameter of the fixture ``stack`` for the stores of the bundle that are installed."""

_LOKI = pytest.param(BUNDLED, marks=pytest.mark.loki, id="loki")
_TEMPO = pytest.param(BUNDLED, marks=pytest.mark.tempo, id="tempo")

LOGS: Final = pytest.mark.parametrize("stack", [pytest.param(BUILT, id="victorialogs"), _LOKI], indirect=True)
"""Run on VictoriaLogs, and in the ring ``loki`` on Loki."""

TRACES: Final = pytest.mark.parametrize("stack", [pytest.param(BUILT, id="jaeger"), _TEMPO], indirect=True)
"""Run on Jaeger, and in the ring ``tempo`` on Tempo."""

LOKI: Final = pytest.mark.parametrize("stack", [_LOKI], indirect=True)
"""Run in the ring ``loki`` only."""

TEMPO: Final = pytest.mark.parametrize("stack", [_TEMPO], indirect=True)
"""Run in the ring ``tempo`` only."""


def find(ring: str) -> Path | None:
    """Return the program of a ring, from its variable or from PATH, or None.

    Raises:
        FileNotFoundError: The variable is set but names no program.
    """
    named = os.environ.get(RINGS[ring])
    found = shutil.which(named or ring)
    if named and found is None:
        raise FileNotFoundError(f"{RINGS[ring]} is {named!r}, which is not a program")
    return Path(found) if found else None
