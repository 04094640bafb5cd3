"""Spreads twenty items of work over child processes in the way its argument names.

Each item is one log record and one query.
"""

import logging
import multiprocessing
import os
import signal
import sqlite3
import sys
from concurrent.futures import ProcessPoolExecutor

PIECES = range(20)


def work(number):
    connection = sqlite3.connect(":memory:")
    cursor = connection.cursor()
    cursor.execute("SELECT ?", [number])
    cursor.close()
    connection.close()
    logging.warning("piece %d", number)
    return number


def pool(method):
    with multiprocessing.get_context(method).Pool(2) as workers:
        print(sum(workers.map(work, PIECES, chunksize=1)))


def closed_pool(method):
    workers = multiprocessing.get_context(method).Pool(2)
    print(sum(workers.map(work, PIECES, chunksize=1)))
    workers.close()
    workers.join()


def executor(method):
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as workers:
        print(sum(workers.map(work, PIECES)))


def half(start):
    for number in PIECES[start::2]:
        work(number)
    sys.exit(5 + start)


def processes(method):
    context = multiprocessing.get_context(method)
    children = [context.Process(target=half, args=(start,)) for start in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    print([child.exitcode for child in children])


def fork(_):
    children = []
    for start in range(2):
        child = os.fork()
        if not child:
            half(start)
        children.append(child)
    print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])


def killed(_):
    child = os.fork()
    if not child:
        for number in PIECES:
            work(number)
        os.kill(os.getpid(), signal.SIGTERM)
    print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])])


if __name__ == "__main__":
    way, method = sys.argv[1:]
    work(100)
    globals()[way](method)
    work(101)
    sys.exit(3)
