"""The shop on Flask: one route that queries a database, logs, and fails for item 0."""

import logging
import os

from flask import Flask
from sqlalchemy import create_engine, text

logging.basicConfig(level=logging.INFO)
engine = create_engine("sqlite:///shop.db")
with engine.begin() as connection:
    # Runs at import: under `gunicorn --preload` once for all workers.
    connection.execute(text("PRAGMA user_version = 1"))
engine.dispose()

app = Flask(__name__)


@app.get("/items/<int:number>")
def item(number):
    with engine.connect() as connection:
        result = connection.execute(text("SELECT 100 / :number"), {"number": number}).scalar()
    if result is None:
        raise ZeroDivisionError("no item zero")
    app.logger.info("item %d", number)
    return {"pid": os.getpid(), "result": result}


@app.get("/healthz")
def health():
    return "fine"


if __name__ == "__main__":
    import sys

    app.run(port=int(sys.argv[1]))
