"""Which records are exported, by logger: ``OTEL_DISTRO_LOG_LEVELS=myapp.db=DEBUG,urllib3=WARNING,*=INFO``.

A level above the application's own keeps records from the export. One below it makes records exist that the application
would not have made: for export only, its handlers do not get them. Where no rule fits, what the application lets through is
exported. A file (``OTEL_DISTRO_LOG_LEVELS_FILE``) or a signal (``OTEL_DISTRO_LOG_DEBUG_SIGNAL``) adds rules for a while.
"""

from __future__ import annotations

import logging
import os
import threading
from time import localtime, monotonic, strftime, time
from typing import TYPE_CHECKING, Any, Final

from otel_distro import settings
from otel_distro._runtime.diagnostics import guard, say
from otel_distro._startup import logging_hooks

if TYPE_CHECKING:
    from collections.abc import Callable

OFF: Final = float("inf")
_ALL: Final = ("*", "root", "")
_LOOK_EVERY: Final = 1.0
_LARGEST_FILE: Final = 64 * 1024
_OWN: Final = ("opentelemetry", "otel_distro")


def parse(text: str, origin: str) -> dict[str, float]:
    """Return logger name -> level. A bad entry costs one line that names it and ``origin``; the others hold."""
    rules: dict[str, float] = {}
    for entry in text.replace("\n", ",").split(","):
        name, equals, word = (part.strip() for part in entry.partition("="))
        if not entry.strip() or entry.lstrip().startswith("#"):
            continue
        level = _level(word)
        if not equals or level is None or " " in name:
            say(f"{origin}: {entry.strip()[:100]!r} is not logger=LEVEL; it is left out, the others hold")
            continue
        rules["" if name in _ALL else name] = level
    return rules


def _level(word: str) -> float | None:
    if word.upper() in ("OFF", "NONE"):
        return OFF
    if word.isdigit():
        return int(word)
    # A name the application has given a level may be in any case.
    for name in (word, word.upper()):
        level = logging.getLevelName(name)
        if isinstance(level, int):
            return level
    return None


class _Thread(threading.local):
    asked: tuple[logging.Logger, int] | None = None
    """The logger and level for which a record is about to be made, for export only."""
    since = 0.0


class _Rules:
    """The rules that hold now: the fixed ones, and over them the temporary ones until their time is over."""

    def __init__(self) -> None:
        self.fixed: dict[str, float] = {}
        self.temporary: dict[str, float] = {}
        self.expiry = OFF
        self.all: dict[str, float] = {}
        self.file = ""
        self.seen: tuple[int, ...] | None = None
        self.next_look = OFF
        self.places: tuple[Any, Any] | None = None


_rules = _Rules()
_thread = _Thread()
patched = False
"""Whether records may be made for export only: ``Logger.isEnabledFor`` says yes to more than the application does."""

on_change: list[Callable[[], None]] = []
"""Called when rules change: whoever remembers a threshold must ask again."""


def threshold(name: str) -> float | None:
    """Return the level from which on records of logger ``name`` are exported; None: what the application lets through."""
    rules = _rules.all
    if not rules:
        return None
    while name:
        if name in rules:
            return rules[name]
        name = name.rpartition(".")[0]
    return rules.get("")


def lowest() -> float | None:
    """Return the lowest level of any rule, None where there is none."""
    return min(_rules.all.values(), default=None)


def start() -> None:
    """Read the settings and let them hold from now on."""
    global _rules
    _rules = _Rules()
    _rules.fixed = parse(settings.OTEL_DISTRO_LOG_LEVELS.get(), settings.OTEL_DISTRO_LOG_LEVELS.name)
    _rules.file = settings.OTEL_DISTRO_LOG_LEVELS_FILE.get()
    if _rules.file:
        _rules.next_look = 0.0
    logging_hooks.on_signal.append(raise_debug)
    _apply()


def stop() -> None:
    """Let no rule hold any more and put back what was patched."""
    global _rules, patched
    if raise_debug in logging_hooks.on_signal:
        logging_hooks.on_signal.remove(raise_debug)
    if _rules.places is not None and logging.Logger.isEnabledFor is _rules.places[1]:
        logging.Logger.isEnabledFor = _rules.places[0]  # type: ignore[method-assign]
    patched = False
    _rules = _Rules()
    _changed()


def raise_debug() -> None:
    """Export everything from DEBUG on for ``OTEL_DISTRO_LOG_DEBUG_SECONDS``, then fall back. Again: longer."""
    seconds = settings.OTEL_DISTRO_LOG_DEBUG_SECONDS.get()
    _raise({"": logging.DEBUG}, time() + seconds if seconds else OFF, "by signal")


def look() -> None:
    """See, at most once a second, whether the file has changed or the time of temporary rules is over."""
    if monotonic() < _rules.next_look:
        return
    with guard("looking for changed log levels"):
        _look()


def _look() -> None:
    rules = _rules
    rules.next_look = monotonic() + _LOOK_EVERY
    if rules.file:
        found = _stat(rules.file)
        if found != rules.seen:
            rules.seen = found
            _read(rules, found)
    if time() >= rules.expiry:
        _fall_back()
    elif not rules.file and rules.expiry == OFF:
        rules.next_look = OFF


def _stat(path: str) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(rules: _Rules, found: tuple[int, ...] | None) -> None:
    """Take the rules of the file, for as long after its last change as the setting says."""
    seconds = settings.OTEL_DISTRO_LOG_DEBUG_SECONDS.get()
    expiry = min(found[0] / 1e9, time()) + seconds if found is not None and seconds else OFF
    if found is None or time() >= expiry:
        if rules.temporary:
            _fall_back()
        return
    try:
        with open(rules.file, encoding="utf-8", errors="replace") as file:
            text = file.read(_LARGEST_FILE)
    except OSError as error:
        say(f"{settings.OTEL_DISTRO_LOG_LEVELS_FILE.name}: {rules.file} cannot be read ({error.strerror})")
        return
    _raise(parse(text, rules.file), expiry, f"by {rules.file}")


def _fall_back() -> None:
    _raise({}, OFF, "")
    say("log levels are what they were before", cause=f"log levels fell back {time()}")


def _raise(temporary: dict[str, float], expiry: float, why: str) -> None:
    _rules.temporary, _rules.expiry = temporary, expiry
    if temporary:
        until = f" until {strftime('%H:%M:%S', localtime(expiry))}" if expiry != OFF else ""
        say(f"log levels changed {why}{until}", cause=f"log levels changed {time()}")
        _rules.next_look = min(_rules.next_look, 0.0)
    _apply()


def _apply() -> None:
    global patched
    _rules.all = {**_rules.fixed, **_rules.temporary}
    if (_rules.all or _rules.file) and not _rules.places:
        original: Any = logging.Logger.isEnabledFor
        ours = _is_enabled_for(original)
        logging.Logger.isEnabledFor = ours  # type: ignore[method-assign]
        _rules.places = (original, ours)
        patched = True
    _changed()


def _changed() -> None:
    for callback in on_change:
        callback()


def _is_enabled_for(original: Callable[..., Any]) -> Any:
    def isEnabledFor(logger: logging.Logger, level: int) -> Any:  # noqa: N802 - logging's name
        return original(logger, level) or _wanted_besides(logger, level)

    return isEnabledFor


def _wanted_besides(logger: logging.Logger, level: int) -> bool:
    """Return whether a record that the application does not want is to be exported, and remember that it is coming."""
    look()
    limit = threshold(logger.name)
    if limit is None or level < limit or logger.name.partition(".")[0] in _OWN:
        return False
    if logger.disabled and logger not in logging_hooks.silenced:
        # The application itself has switched it off.
        return False
    _thread.asked, _thread.since = (logger, level), time()
    return True


def is_for_export_only(logger: logging.Logger, record: logging.LogRecord) -> bool:
    """Return whether the record was made because of a rule only: it has passed the logger's filters and goes no further."""
    asked, _thread.asked = _thread.asked, None
    return asked is not None and asked == (logger, record.levelno) and record.created >= _thread.since
