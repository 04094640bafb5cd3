"""Lines of JSON and the time stamps in them, as the log file and the audit file write them."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
_last_second: tuple[int, str] = (-1, "")


def line(fields: Mapping[str, Any]) -> bytes:
    """Return one line in UTF-8, with its newline.

    A lone surrogate stays as the escape that JSON has for it.
    """
    return f"{_encode(fields)}\n".encode("utf-8", "backslashreplace")


def iso(nanoseconds: int) -> str:
    """Return a time in UTC in ISO 8601 format, with nine digits after the second.

    Args:
        nanoseconds: Since 1970; a negative time counts as 0.
    """
    global _last_second
    seconds, rest = divmod(max(0, nanoseconds), 1_000_000_000)
    known, text = _last_second
    if known != seconds:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        _last_second = (seconds, text)
    return f"{text}.{rest:09d}Z"
