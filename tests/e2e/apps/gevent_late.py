"""Patched by gevent after logging and requests were imported and used."""

import logging

import requests

logging.basicConfig(format="%(message)s")
logging.warning("before")
session = requests.Session()

from gevent import monkey

monkey.patch_all()

import gevent


def write(number):
    gevent.sleep(0.01)
    logging.warning("greenlet %d", number)


gevent.joinall([gevent.spawn(write, number) for number in range(10)], raise_error=True)
print("end")
raise SystemExit(4)
