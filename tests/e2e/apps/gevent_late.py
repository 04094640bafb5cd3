"""Patched by gevent when logging and requests were imported and used already."""

import logging

import requests

logging.basicConfig(format="%(message)s")
logging.warning("before")
session = requests.Session()

from gevent import monkey

monkey.patch_all()

import gevent


def tell(number):
    gevent.sleep(0.01)
    logging.warning("greenlet %d", number)


gevent.joinall([gevent.spawn(tell, number) for number in range(10)], raise_error=True)
print("end")
raise SystemExit(4)
