"""What the distribution has to say about itself: single lines on stderr, never through logging.

Imported at the start of every process, so it needs nothing but :mod:`os` and :mod:`time`.
"""

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_INTERVAL = 60.0
_last: "dict[str, float]" = {}


def say(line: str, cause: "str | None" = None, *, code: str = "") -> None:
    """Write one line to file descriptor 2, at most once a minute per ``cause``. Never raises.

    ``OTEL_DISTRO_DIAGNOSTICS=off`` silences it.

    Args:
        line: What happened, what it costs, what to do.
        cause: Key of the rate limit; default: the line itself.
        code: Stable code such as ``OD301``, appended in brackets; docs/troubleshooting.md explains it.
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
    if code:
        text = f"{text} [{code}]"
    try:
        os.write(2, f"{text}\n".encode("utf-8", "backslashreplace"))
    except (OSError, ValueError):
        # Nobody listens on stderr: there is no other place to say it.
        return


listeners: "list[Callable[[str, BaseException], None]]" = []
"""Called with what failed and its error at every report, also at those that are not said again on stderr."""


class guard:
    """``with guard("what we do"):`` swallows an ``Exception`` of ours and says so in one line.

    It goes around the telemetry half of a wrapper and never around the call of the application, whose exceptions
    pass unmodified. ``KeyboardInterrupt``, ``SystemExit`` and the like are not ours and are never swallowed.
    """

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: "type[BaseException] | None", error: "BaseException | None", tb: "TracebackType | None"
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        report_failure(self._what, error)
        return True


UNPRINTABLE = "<unprintable>"


def text_of(value: object) -> str:
    """Return ``str(value)``, or :data:`UNPRINTABLE` where that raises."""
    try:
        return str(value)
    except (Exception, SystemExit):
        # SystemExit too: a value whose text raises it did not mean to end the program here.
        return UNPRINTABLE


def report_failure(what: str, error: BaseException) -> None:
    """Say in one line that ``what`` failed with ``error``; the place it failed at helps to find a bug of ours."""
    for listener in listeners:
        try:
            listener(what, error)
        except Exception:  # noqa: S112 - whoever listens must not break what reports
            continue
    tb = error.__traceback__
    while tb is not None and tb.tb_next is not None:
        tb = tb.tb_next
    place = f" ({tb.tb_frame.f_code.co_filename}:{tb.tb_lineno})" if tb is not None else ""
    message = " ".join(text_of(error).split())[:300]
    say(
        f"{what} failed: {type(error).__name__}: {message}{place}; the application is not affected",
        cause=what,
        code="OD900",
    )
