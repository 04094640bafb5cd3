"""Causes audit events from four threads at once and prints how much memory grew."""

import logging
import os
import resource
import subprocess
import sys
import threading

times = int(sys.argv[1])
logging.warning("on")
with open("id_rsa", "w") as file:
    file.write("x")
subprocess.run(["true", "--password=hunter2-secret", "plain"], check=True)


def flood():
    for _ in range(times // 4):
        sys.audit("open", "id_rsa", "r", 0)
        sys.audit("open", "notes.txt", "r", 0)
        sys.audit("nobody.looks.for.this", 1)


flood_of_files = [threading.Thread(target=flood) for _ in range(4)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for thread in flood_of_files:
    thread.start()
for thread in flood_of_files:
    thread.join()
if os.fork() == 0:
    open("id_rsa").close()
    os._exit(3)
os.wait()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
sys.exit(7)
