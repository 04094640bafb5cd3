"""What the distribution has to say about itself: single lines on stderr, never through logging.

Imported at the start of every process, so it needs nothing but :mod:`os` and :mod:`time`.
"""

import os
import time

_INTERVAL = 60.0
_last: "dict[str, float]" = {}


def say(line: str, cause: "str | None" = None) -> None:
    """Write one line to file descriptor 2, at most once a minute for each ``cause`` (default: the line itself).

    ``OTEL_DISTRO_DIAGNOSTICS=off`` silences it. Never raises.
    """
    if os.environ.get("OTEL_DISTRO_DIAGNOSTICS", "").strip().lower() == "off":
        return
    key = cause or line
    now = time.monotonic()
    if now - _last.get(key, -_INTERVAL) < _INTERVAL:
        return
    if len(_last) > 1000:
        _last.clear()
    _last[key] = now
    text = line if line.startswith("otel-distro: ") else f"otel-distro: {line}"
    try:
        os.write(2, f"{text}\n".encode("utf-8", "backslashreplace"))
    except (OSError, ValueError):
        # Nobody listens on stderr: there is no other place to say it.
        return
