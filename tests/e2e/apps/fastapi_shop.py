"""The shop on FastAPI: a route that is a coroutine, and one that runs in a thread."""

import logging
import os

from fastapi import FastAPI

logging.basicConfig(level=logging.INFO)
logger = logging.getLogger("shop")
app = FastAPI()


@app.get("/items/{number}")
async def item(number: int):
    logger.info("item %d", number)
    return {"pid": os.getpid(), "result": 100 // number}


@app.get("/threads/{number}")
def item_in_thread(number: int):
    logger.info("thread %d", number)
    return {"pid": os.getpid(), "result": 100 // number}


@app.get("/healthz")
async def health():
    return "fine"
