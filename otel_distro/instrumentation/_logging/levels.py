"""Export levels by logger: ``OTEL_DISTRO_LOG_LEVELS=myapp.db=DEBUG,urllib3=WARNING,*=INFO``.

A level above the application's own keeps records from the export. A level below it creates records
that the application would not have made: they are exported, and its handlers do not get them.
Without a rule, what the handlers of the logger show by their levels is exported. A file
(``OTEL_DISTRO_LOG_LEVELS_FILE``) or a signal (``OTEL_DISTRO_LOG_DEBUG_SIGNAL``) adds temporary
rules.
"""

from __future__ import annotations

import logging
import os
import threading
from time import localtime, monotonic, strftime, time
from typing import TYPE_CHECKING, Any, Final

from otel_distro import settings
from otel_distro._runtime.diagnostics import guard, say
from otel_distro._runtime.import_hooks import without_trampoline
from otel_distro._startup import logging_hooks

if TYPE_CHECKING:
    from collections.abc import Callable

OFF: Final = float("inf")
"""The level of ``OFF``: nothing is exported. As a time: never."""
_ROOT: Final = ("*", "root", "")
_POLL_INTERVAL_S: Final = 1.0
_MAX_FILE_CHARS: Final = 64 * 1024
_OWN: Final = ("opentelemetry", "otel_distro")


def parse(text: str, origin: str) -> dict[str, float]:
    """Parse rules ``logger=LEVEL``, separated by commas or lines.

    A bad entry is ignored and named on stderr.

    Args:
        text: The rules. Lines that begin with ``#`` are comments.
        origin: Where they come from, for the message.

    Returns:
        Logger name -> level; the empty name stands for all loggers.
    """
    rules: dict[str, float] = {}
    for entry in text.replace("\n", ",").split(","):
        name, equals, word = (part.strip() for part in entry.partition("="))
        if not entry.strip() or entry.lstrip().startswith("#"):
            continue
        level = _level(word)
        if not equals or level is None or " " in name:
            say(
                f"{origin}: {entry.strip()[:100]!r} is not logger=LEVEL and is ignored; the other rules apply",
                code="OD450",
            )
            continue
        rules["" if name in _ROOT else name] = level
    return rules


def _level(word: str) -> float | None:
    if word.upper() in ("OFF", "NONE"):
        return OFF
    if word.isdigit():
        return int(word)
    # Level names that the application has added may be in any case.
    for name in (word, word.upper()):
        level = logging.getLevelName(name)
        if isinstance(level, int):
            return level
    return None


class _Thread(threading.local):
    allowed: tuple[logging.Logger, int] | None = None
    """Logger and level of the record that is about to be made for export only."""
    since = 0.0


class _Rules:
    """The rules in force: configured ones, overridden by temporary ones until they expire."""

    def __init__(self) -> None:
        self.fixed: dict[str, float] = {}
        self.temporary: dict[str, float] = {}
        self.expiry = OFF
        """Time (seconds since 1970) at which the temporary rules end."""
        self.all: dict[str, float] = {}
        self.file = ""
        self.file_state: tuple[int, ...] | None = None
        """Time of change, size and inode of the file when it was last read."""
        self.next_poll = OFF
        self.patches: tuple[Any, Any] | None = None
        """``Logger.isEnabledFor`` before and after patching."""


_rules = _Rules()
_thread = _Thread()
patched = False
"""Whether records may be made for export only: ``Logger.isEnabledFor`` is patched."""

on_change: list[Callable[[], None]] = []
"""Called when rules change, to invalidate cached thresholds."""


def threshold(name: str) -> float | None:
    """Return the lowest exported level of logger ``name``; None: the application decides."""
    rules = _rules.all
    if not rules:
        return None
    while name:
        if name in rules:
            return rules[name]
        name = name.rpartition(".")[0]
    return rules.get("")


def is_wanted(logger: logging.Logger, record: logging.LogRecord) -> bool:
    """Return whether a record is exported, as far as the handlers of its logger decide.

    By default it is if one of them shows it, by its level. Without handlers, records from INFO on
    are: logger levels are then the only choice of the application. Records with an exception are
    exported from WARNING on, whatever the handlers show.

    Args:
        logger: The logger that passes the record to its handlers.
        record: The record.
    """
    level = record.levelno
    if threshold(record.name) is not None or (record.exc_info and level >= logging.WARNING):
        return True
    has_handlers = False
    current: logging.Logger | None = logger
    while current is not None:
        for handler in current.handlers:
            if type(handler) is not logging.NullHandler:
                if level >= handler.level:
                    return True
                has_handlers = True
        current = current.parent if current.propagate else None
    return not has_handlers and level >= logging.INFO


def lowest() -> float | None:
    """Return the lowest level of all rules, None without rules."""
    return min(_rules.all.values(), default=None)


def start() -> None:
    """Read the settings and apply them."""
    global _rules
    _rules = _Rules()
    _rules.fixed = parse(settings.OTEL_DISTRO_LOG_LEVELS.get(), settings.OTEL_DISTRO_LOG_LEVELS.name)
    _rules.file = settings.OTEL_DISTRO_LOG_LEVELS_FILE.get()
    if _rules.file:
        _rules.next_poll = 0.0
    logging_hooks.on_signal.append(enable_debug)
    _apply()


def stop() -> None:
    """Remove all rules and restore what was patched."""
    global _rules, patched
    if enable_debug in logging_hooks.on_signal:
        logging_hooks.on_signal.remove(enable_debug)
    if _rules.patches is not None and logging.Logger.isEnabledFor is _rules.patches[1]:
        logging.Logger.isEnabledFor = _rules.patches[0]  # type: ignore[method-assign]
    patched = False
    _rules = _Rules()
    _notify()


def enable_debug() -> None:
    """Export from DEBUG on for ``OTEL_DISTRO_LOG_DEBUG_SECONDS``; another call extends the time."""
    seconds = settings.OTEL_DISTRO_LOG_DEBUG_SECONDS.get()
    _set_temporary({"": logging.DEBUG}, time() + seconds if seconds else OFF, "by signal")


def poll() -> None:
    """Check, at most once a second, for a changed file and expired temporary rules."""
    if monotonic() < _rules.next_poll:
        return
    with guard("looking for changed log levels"):
        _poll()


def _poll() -> None:
    rules = _rules
    rules.next_poll = monotonic() + _POLL_INTERVAL_S
    if rules.file:
        found = _stat(rules.file)
        if found != rules.file_state:
            rules.file_state = found
            _read_file(rules, found)
    if time() >= rules.expiry:
        _expire()
    elif not rules.file and rules.expiry == OFF:
        rules.next_poll = OFF


def _stat(path: str) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read_file(rules: _Rules, found: tuple[int, ...] | None) -> None:
    """Apply the rules of the file until the configured time after its last change is over."""
    seconds = settings.OTEL_DISTRO_LOG_DEBUG_SECONDS.get()
    expiry = min(found[0] / 1e9, time()) + seconds if found is not None and seconds else OFF
    if found is None or time() >= expiry:
        if rules.temporary:
            _expire()
        return
    try:
        with open(rules.file, encoding="utf-8", errors="replace") as file:
            text = file.read(_MAX_FILE_CHARS)
    except OSError as error:
        say(
            f"{settings.OTEL_DISTRO_LOG_LEVELS_FILE.name}: {rules.file} cannot be read ({error.strerror}); "
            "log levels stay as they are",
            code="OD451",
        )
        return
    _set_temporary(parse(text, rules.file), expiry, f"by {rules.file}")


def _expire() -> None:
    _set_temporary({}, OFF, "")
    say(
        "log levels expired that were set by file or signal; the configured ones apply",
        cause=f"log levels expired {time()}",
        code="OD453",
    )


def _set_temporary(temporary: dict[str, float], expiry: float, reason: str) -> None:
    _rules.temporary, _rules.expiry = temporary, expiry
    if temporary:
        until = f" until {strftime('%H:%M:%S', localtime(expiry))}" if expiry != OFF else ""
        say(f"log levels changed {reason}{until}", cause=f"log levels changed {time()}", code="OD452")
        _rules.next_poll = min(_rules.next_poll, 0.0)
    _apply()


def _apply() -> None:
    global patched
    _rules.all = {**_rules.fixed, **_rules.temporary}
    if (_rules.all or _rules.file) and not _rules.patches:
        original: Any = without_trampoline(logging.Logger.isEnabledFor)
        replacement = _wrap_is_enabled_for(original)
        logging.Logger.isEnabledFor = replacement  # type: ignore[method-assign]
        _rules.patches = (original, replacement)
        patched = True
    _notify()


def _notify() -> None:
    for callback in on_change:
        callback()


def _wrap_is_enabled_for(original: Callable[..., Any]) -> Any:
    def isEnabledFor(logger: logging.Logger, level: int) -> Any:  # noqa: N802 - logging's name
        return original(logger, level) or _allow_for_export(logger, level)

    return isEnabledFor


def _allow_for_export(logger: logging.Logger, level: int) -> bool:
    """Return whether a record below the application's level is exported.

    If so, it is remembered for this thread: the record follows, and must not reach the handlers.
    """
    poll()
    limit = threshold(logger.name)
    if limit is None or level < limit or logger.name.partition(".")[0] in _OWN:
        return False
    if logger.disabled and logger not in logging_hooks.silenced:
        # The application itself has disabled the logger.
        return False
    _thread.allowed, _thread.since = (logger, level), time()
    return True


def is_for_export_only(logger: logging.Logger, record: logging.LogRecord) -> bool:
    """Return whether the record exists because of a rule only: no handler may get it.

    It has passed the filters of the logger.
    """
    allowed, _thread.allowed = _thread.allowed, None
    return allowed is not None and allowed == (logger, record.levelno) and record.created >= _thread.since
