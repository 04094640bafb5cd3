"""GET requests to the stores of the stack."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from typing import Any


def text(address: str, **query: object) -> str:
    """Return the body of a store's response."""
    encoded = urllib.parse.urlencode({key: str(value) for key, value in query.items()})
    ask = urllib.request.Request(f"{address}?{encoded}", headers={"Accept": "application/json"})
    with urllib.request.urlopen(ask, timeout=20) as answer:
        body: bytes = answer.read()
    return body.decode()


def get(address: str, **query: object) -> Any:
    """Return the parsed JSON of a store's response."""
    return json.loads(text(address, **query))
