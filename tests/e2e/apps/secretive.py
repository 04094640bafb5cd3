"""Puts secrets, and text that resembles them, wherever a program may put text.

``secretive.py FILE WORD...``: the file holds a Python literal, a pair of entries for the API of
OpenTelemetry, each a key (empty for free text) and a value, and a dictionary of secrets for the
libraries. The words show up in the arguments of the process.
"""

import ast
import logging
import os
import sys
import threading
from pathlib import Path

import requests
from flask import Flask, make_response
from opentelemetry import _logs, baggage, context, metrics, trace
from sqlalchemy import create_engine, text
from werkzeug.serving import make_server

logger = logging.getLogger("careless")


def record(number, key, value):
    """Put one entry everywhere the API of OpenTelemetry accepts text."""
    attributes = {key or "text": value}
    shown = value if isinstance(value, str) and not key else f"entry {number}"
    other = trace.get_current_span().get_span_context()
    tracer = trace.get_tracer("careless", attributes={"number": number, **attributes})
    with tracer.start_as_current_span(shown, attributes={"number": number, **attributes}) as span:
        span.add_event(shown, attributes)
        span.add_link(other, attributes)
        if not key:
            span.set_status(trace.StatusCode.ERROR, value)
        logger.warning(shown, extra={"number": number, key or "text": value})
        if key != "url.query":
            # Its names may be percent-encoded; redaction decodes them only in a known query.
            logger.warning("given %s", {"outer": [attributes]})
        records.emit(body={"number": number, "outer": [attributes]}, event_name=shown)
        counter.add(1, {"number": number, **attributes})


def fail(secret):
    try:
        return {}[f"password={secret['cause']}"]
    except KeyError as error:
        raise ConnectionError(f"mysql://root:{secret['exception']}@db/shop") from error


def serve(secret):
    app = Flask("careless")

    @app.get("/pay/<path:rest>")
    def pay(rest):
        app.logger.warning("asked for %s", rest)
        response = make_response("paid")
        response.set_cookie("sid", secret["set-cookie"])
        return response

    server = make_server("127.0.0.1", 0, app)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://shop:{secret['userinfo']}@127.0.0.1:{server.server_port}/pay/{secret['path']}?page=2&api_key={secret['query']}"
    headers = {"X-Api-Key": secret["header"], "Cookie": f"theme=dark; sid={secret['cookie']}", "X-Author": "Jane Doe"}
    logger.warning("asking %s", url)
    requests.get(url, headers=headers, timeout=10)
    server.shutdown()
    thread.join()


def query(secret):
    engine = create_engine("sqlite://", echo=True)
    with engine.connect() as connection:
        connection.execute(text(f"SELECT 'card {secret['literal']}', 1 AS seven")).all()
        try:
            connection.execute(text("INSERT INTO nowhere (pin) VALUES (:pin)"), {"pin": secret["parameter"]})
        except Exception:
            logger.exception("could not store %s", secret["argument"])


def main(entries, secret):
    tracer = trace.get_tracer("careless")
    logger.warning("called as %s", sys.argv)
    with tracer.start_as_current_span("all", attributes={"process.command_args": sys.argv}):
        for number, (key, value) in enumerate(entries):
            record(number, key, value)
        token = context.attach(baggage.set_baggage("session_token", secret["baggage"]))
        trace.get_current_span().set_attributes({f"baggage.{key}": value for key, value in baggage.get_all().items()})
        query(secret)
    serve(secret)
    context.detach(token)
    os.environ["SHOP_DB_PASSWORD"] = secret["environment"]
    logger.warning("started with %s", {name: value for name, value in os.environ.items() if name.startswith("SHOP")})
    try:
        Path(f"/nowhere/export?token={secret['file']}.csv").read_text()
    except OSError:
        logger.exception("no file")
    thread = threading.Thread(target=fail, args=(secret,))
    thread.start()
    thread.join()


if __name__ == "__main__":
    logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
    records = _logs.get_logger("careless")
    counter = metrics.get_meter("careless").create_counter("careless")
    main(*ast.literal_eval(Path(sys.argv[1]).read_text()))
