"""A worker of Celery that prints which ``select`` its event loop holds.

Run as ``celery -A celery_select worker``.
"""

import sys

from celery import Celery
from celery.signals import celeryd_init
from kombu.utils import eventio

app = Celery("celery_select", broker="memory://", backend="cache+memory://")


def show(**_: object) -> None:
    """Print module and name of the function."""
    sys.stderr.write(f"select is {eventio._selectf.__module__}.{eventio._selectf.__qualname__}\n")


celeryd_init.connect(show)
