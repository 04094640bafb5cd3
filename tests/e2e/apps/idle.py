"""Lives until it is stopped, and has nothing to tell."""

import time

print("waiting", flush=True)
while True:
    time.sleep(60)
