"""Prints two lines, runs a query, logs a record, and exits with the status in its argument."""

import logging
import sqlite3
import sys

logging.basicConfig(format="%(message)s")
print("begin")
cursor = sqlite3.connect(":memory:").cursor()
cursor.execute("SELECT 1")
logging.warning("talking")
print("end")
sys.exit(int(sys.argv[1]))
