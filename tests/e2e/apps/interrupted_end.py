"""Ends by os._exit; a signal's handler that raises comes in between, as in Celery's children. Says in a file that it has come."""

import logging
import os
import signal
import sys


def leave(number, _):
    with open(sys.argv[1], "w") as file:
        file.write(str(number))
    raise SystemExit(7)


signal.signal(signal.SIGTERM, leave)
logging.warning("the last line")
os._exit(3)
