"""Twenty threads, each with one line for the log, at the same time and before anything else happened."""

import logging
import threading

logging.basicConfig(format="%(message)s")
start = threading.Barrier(20)


def tell(number):
    start.wait()
    logging.warning("line %d", number)


threads = [threading.Thread(target=tell, args=(number,)) for number in range(20)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
