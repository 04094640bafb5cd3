"""Runs until it is stopped, without any telemetry of its own."""

import time

print("waiting", flush=True)
while True:
    time.sleep(60)
