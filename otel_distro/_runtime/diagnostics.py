"""Messages of the distribution about itself: single lines on stderr, never through :mod:`logging`.

Imported at the start of every instrumented process, so it imports only :mod:`os` and :mod:`time`.
"""

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_REPEAT_INTERVAL_S = 60.0
_MAX_CAUSES = 1000
_MAX_MESSAGE_CHARS = 300
_last: "dict[str, float]" = {}


def say(line: str, cause: "str | None" = None, *, code: str = "") -> None:
    """Write one line to file descriptor 2, at most once a minute per ``cause``. Never raises.

    ``OTEL_DISTRO_DIAGNOSTICS=off`` silences it.

    Args:
        line: What happened, what it costs, what to do.
        cause: Key of the rate limit; default: the line itself.
        code: Stable code such as ``OD301``, appended in brackets; docs/troubleshooting.md explains
            it.
    """
    if os.environ.get("OTEL_DISTRO_DIAGNOSTICS", "").strip().lower() == "off":
        return
    key = cause or line
    now = time.monotonic()
    if now - _last.get(key, -_REPEAT_INTERVAL_S) < _REPEAT_INTERVAL_S:
        return
    if len(_last) > _MAX_CAUSES:
        _last.clear()
    _last[key] = now
    text = line if line.startswith("otel-distro: ") else f"otel-distro: {line}"
    if code:
        text = f"{text} [{code}]"
    try:
        os.write(2, f"{text}\n".encode("utf-8", "backslashreplace"))
    except (OSError, ValueError):
        # Stderr is closed or its reader is gone; there is no other place for the message.
        return


listeners: "list[Callable[[str, BaseException], None]]" = []
"""Called with the arguments of each :func:`report_failure`, also where no line is written."""


def is_of_signal_handler(error: BaseException) -> bool:
    """Return whether a signal handler of the application raised ``error``.

    It ran in the middle of other code, such as that of the distribution, and its exception is the
    application's: that of ``sys.exit()`` at SIGTERM, or of a time-out at SIGALRM.
    """
    import _signal  # type: ignore[import-not-found]

    codes = {_code_of(_signal.getsignal(number)) for number in range(1, _signal.NSIG)} - {None}
    tb = error.__traceback__
    while tb is not None:
        if tb.tb_frame.f_code in codes:
            return True
        tb = tb.tb_next
    return False


def _code_of(handler: object) -> object:
    function = getattr(handler, "func", handler)
    if not hasattr(function, "__code__"):
        # An object with `__call__`, or what is no Python function at all.
        function = vars(type(function)).get("__call__")
    return getattr(function, "__code__", None)


class guard:
    """``with guard("what it does"):`` swallows an ``Exception`` and reports it in one line.

    It belongs around the telemetry half of a wrapper and never around the call of the application,
    whose exceptions pass unmodified. ``KeyboardInterrupt``, ``SystemExit`` and the like are never
    swallowed, nor is what a signal handler raises.
    """

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: "type[BaseException] | None", error: "BaseException | None", tb: "TracebackType | None"
    ) -> bool:
        if not isinstance(error, Exception) or is_of_signal_handler(error):
            return False
        report_failure(self._what, error)
        return True


UNPRINTABLE = "<unprintable>"


def text_of(value: object) -> str:
    """Return ``str(value)``, or :data:`UNPRINTABLE` where that raises."""
    try:
        return str(value)
    except (Exception, SystemExit):
        # SystemExit too: a value whose ``__str__`` raises it must not end the program here.
        return UNPRINTABLE


def report_failure(what: str, error: BaseException) -> None:
    """Say in one line that ``what`` failed with ``error``, and at which place in the code."""
    for listener in listeners:
        try:
            listener(what, error)
        except Exception:  # noqa: S112 - a listener must not break the report
            continue
    tb = error.__traceback__
    while tb is not None and tb.tb_next is not None:
        tb = tb.tb_next
    place = f" ({tb.tb_frame.f_code.co_filename}:{tb.tb_lineno})" if tb is not None else ""
    message = " ".join(text_of(error).split())[:_MAX_MESSAGE_CHARS]
    say(
        f"{what} failed: {type(error).__name__}: {message}{place}; the application is not affected",
        cause=what,
        code="OD900",
    )
