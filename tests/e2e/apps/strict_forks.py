"""Forks and waits repeatedly; Python 3.12 and newer warn of a fork with more than one thread."""

import logging
import os
import time

logging.warning("before")
if os.environ.get("LIVE_ON"):
    # Long enough for a timer of the telemetry to fire.
    time.sleep(float(os.environ["LIVE_ON"]))
for number in range(20):
    child = os.fork()
    if not child:
        os._exit(number)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == number
    logging.warning("child %d", number)
