"""Options, logging and an orderly exit, for every process of the demo."""

from __future__ import annotations

import argparse
import logging
import math
import os
import signal
import sys
import threading
from types import FrameType

ENDS_WITH_STDIN = "DEMO_ENDS_WITH_STDIN"
"""Environment variable: if set, the closing of standard input ends the process like SIGTERM."""


def start_logging() -> None:
    """Log to standard error, from INFO upwards."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")


def end_orderly() -> None:
    """Make SIGTERM and Ctrl-C end the process like ``sys.exit(0)``, so that exit handlers run.

    Python's default for SIGTERM ends the process immediately.
    """

    def leave(signum: int, frame: FrameType | None) -> None:
        # A second signal must not interrupt the exit handlers.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.exit(0)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    if ENDS_WITH_STDIN in os.environ:
        threading.Thread(target=_end_with_stdin, name="end-with-stdin", daemon=True).start()


def _end_with_stdin() -> None:
    # Not sys.stdin: its lock, held by a daemon thread, would abort the interpreter at exit.
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def add_load_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the amount of load."""
    parser.add_argument("--seconds", type=_positive, default=15, help="how long customers come (default 15)")
    parser.add_argument("--requests-per-second", type=_positive, default=10, help="how many (default 10)")
    parser.add_argument("--seed", type=int, default=1, help="which customers come (default 1)")


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return number
