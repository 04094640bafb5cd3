"""Reads a file, requests a page, fills a database, and fails in the way its argument names."""

import asyncio
import logging
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import requests
from sqlalchemy import create_engine, text

logger = logging.getLogger("shop")


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, format, *args):
        pass


def ask():
    server = HTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    answer = requests.get(f"http://127.0.0.1:{server.server_port}/page", timeout=10)
    thread.join()
    server.server_close()
    return answer.text


def store(words):
    engine = create_engine("sqlite:///shop.db")
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS words"))
        connection.execute(text("CREATE TABLE words (word TEXT)"))
        connection.execute(text("INSERT INTO words VALUES (:word)"), [{"word": word} for word in words])
        count = connection.execute(text("SELECT count(*) FROM words")).scalar()
    engine.dispose()
    return count


def fail(where):
    raise ValueError(f"no luck in {where}")


async def fail_in_task():
    task = asyncio.create_task(asyncio.sleep(0))
    await task

    async def lonely():
        fail("asyncio")

    task = asyncio.create_task(lonely())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task


def main(where):
    logging.basicConfig(format="%(levelname)s %(name)s %(message)s")
    logging.getLogger("urllib3").setLevel(logging.DEBUG)
    Path("words.txt").write_text("alpha beta gamma")
    words = Path("words.txt").read_text().split()
    print(ask(), store(words))
    logger.warning("stored %d words", len(words), extra={"words": len(words)})
    try:
        fail("a handler")
    except ValueError:
        logger.exception("caught")
    if where == "thread":
        thread = threading.Thread(target=fail, args=(where,), name="worker")
        thread.start()
        thread.join()
    elif where == "asyncio":
        asyncio.run(fail_in_task())
    elif where == "main":
        fail(where)


if __name__ == "__main__":
    main(sys.argv[1])
