"""One job for Celery and RQ over Redis; it executes a statement and a command of Redis.

Run as ``queues.py LIBRARY NUMBER``: enqueues as many jobs.
"""

import os
import sqlite3
import sys

import redis
from celery import Celery

URL = os.environ["REDIS_URL"]
app = Celery("queues", broker=URL, backend=URL)


def work(number):
    """Use a database and Redis."""
    sqlite3.connect(":memory:").cursor().execute("select 1")
    redis.from_url(URL).incr("worked")
    return number


celery_work = app.task(name="work")(work)

if __name__ == "__main__":
    library, number = sys.argv[1], int(sys.argv[2])
    if library == "celery":
        for each in range(number):
            celery_work.delay(each)
    else:
        import rq

        for each in range(number):
            rq.Queue(connection=redis.from_url(URL)).enqueue("queues.work", each)
