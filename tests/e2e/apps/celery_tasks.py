"""Celery tasks with a broker in a folder; each writes two log records and counts one order.

Run with a number: enqueues as many tasks.
"""

import logging
import os
import sqlite3
import sys

from celery import Celery
from celery.utils.log import get_task_logger
from opentelemetry import metrics

folder = os.environ["BROKER"]
os.makedirs(folder, exist_ok=True)
app = Celery(broker="filesystem://", broker_connection_retry_on_startup=False)
app.conf.broker_transport_options = {
    "data_folder_in": folder,
    "data_folder_out": folder,
    "control_folder": f"{folder}/control",
}
orders = metrics.get_meter("shop").create_counter("shop.orders")


@app.task(name="order")
def order(number):
    connection = sqlite3.connect(":memory:")
    connection.cursor().execute("SELECT 1")
    connection.close()
    get_task_logger(__name__).info("task line %d", number)
    logging.getLogger("shop").warning("order %d", number)
    orders.add(1)


if __name__ == "__main__":
    for number in range(int(sys.argv[1])):
        order.delay(number)
