"""Children that fail, for each start method, and a process pool with read and unread results."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor


def fail(why):
    raise ValueError(why)


def main():
    for way in ("fork", "spawn", "forkserver"):
        child = multiprocessing.get_context(way).Process(target=fail, args=(way,), name=way)
        child.start()
        child.join()
        print(way, child.exitcode, flush=True)
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        pool.submit(fail, "pool, unread")
        read = pool.submit(fail, "pool, read")
    read.result()


if __name__ == "__main__":
    main()
