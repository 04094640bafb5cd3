"""Twenty threads write one log record each, at the same time and before anything else happens."""

import logging
import threading

logging.basicConfig(format="%(message)s")
start = threading.Barrier(20)


def write(number):
    start.wait()
    logging.warning("line %d", number)


threads = [threading.Thread(target=write, args=(number,)) for number in range(20)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
