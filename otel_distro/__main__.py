"""``python -m otel_distro``: the same as the command ``otel-distro``."""

from __future__ import annotations

import sys

from otel_distro.cli import main

sys.exit(main())
