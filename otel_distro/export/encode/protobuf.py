"""The part of the protobuf wire format that OTLP needs: numbers, texts, size limits of one item.

Format: https://protobuf.dev/programming-guides/encoding/. Nothing here trusts its input. A value of
the wrong type, out of range or of unbounded length becomes the nearest value that can be encoded.
Where that fails too, an exception is raised, and the caller drops that one item.
"""

from __future__ import annotations

import os
import re
import struct
import sys
import threading
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from otel_distro.export.encode.redact import redacted, redactor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_T = TypeVar("_T")

MAX_TEXT = 64 * 1024
"""Bytes of UTF-8 of a text value. The SDK's limits apply first, where they are lower."""

MAX_NAME = 4 * 1024
"""Bytes of UTF-8 of a name or a key."""

MAX_BODY = 256 * 1024
"""Bytes of UTF-8 of the text that is a log record's body."""

MAX_DEPTH = 30
"""Nested containers. Decoders stop at 100 nested messages, and each mapping needs three of them."""

MAX_VALUES = 5000
"""Values in one item: its attributes, those of its events and links, and elements of sequences.

A pair of a mapping counts as two.
"""

MAX_VALUE_BYTES = 1024 * 1024
"""Bytes of all texts of one item together; short values of attributes are not counted."""

SHORT = 256
"""Characters of a text that may be cached, because it is likely to be used again."""

_CACHED_NAMES = 1024
_CACHED_NUMBERS = 2048
_MARKED_SURROGATES = 1000
_SURROGATE = re.compile("[\ud800-\udfff]")
UINT64 = (1 << 64) - 1
_INT64 = (1 << 63) - 1

pack_uint64 = struct.Struct("<Q").pack
pack_double = struct.Struct("<d").pack
pack_times = struct.Struct("<BQBQ").pack
"""Two times, each after its tag."""
pack_ids = struct.Struct(">HQQHQ").pack
"""A trace id in two halves and a span id, each after its tag and length."""

# The getters of `type` itself: a metaclass may override `__name__` and `__module__`, or raise.
_type_name = type.__dict__["__name__"].__get__
_type_module = type.__dict__["__module__"].__get__

_KNOWN = {
    "datetime": {"datetime", "date", "time", "timedelta"},
    "decimal": {"Decimal"},
    "fractions": {"Fraction"},
    "ipaddress": {"IPv4Address", "IPv6Address", "IPv4Network", "IPv6Network"},
    "pathlib": {"PosixPath", "PurePosixPath", "PureWindowsPath"},
    "pathlib._local": {"PosixPath", "PurePosixPath", "PureWindowsPath"},
    "uuid": {"UUID"},
}


class SizeLimit:
    """Remaining size limits of one item; :meth:`reset` them before the next.

    They keep the time to encode an item below a few milliseconds.
    """

    __slots__ = ("bytes_left", "values_left")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Allow the full size again."""
        self.values_left = MAX_VALUES
        self.bytes_left = MAX_VALUE_BYTES

    def text(self, text: str, limit: int = MAX_TEXT, redact: Callable[[Any], Any] | None = None) -> bytes:
        """Return ``text`` redacted and in UTF-8, cut at ``limit`` bytes and at those left."""
        limit = min(limit, self.bytes_left)
        if limit <= 0:
            return b""
        raw = utf8(redacted(text, limit, redact or redactor().text), limit)
        # Redacted characters were read too, so they count.
        self.bytes_left -= max(len(raw), min(len(text), limit))
        return raw


class _Numbers(dict[int, bytes]):
    """Varints by number, each after the same bytes.

    Most numbers are lengths, and small; those are cached.
    """

    def __init__(self, before: bytes = b"") -> None:
        super().__init__()
        self._before = before

    def __missing__(self, number: int) -> bytes:
        if 1 << 14 <= number < 1 << 21:
            return self._before + bytes((number & 0x7F | 0x80, number >> 7 & 0x7F | 0x80, number >> 14))
        encoded = bytearray(self._before)
        rest = number
        while rest > 0x7F:
            encoded.append(rest & 0x7F | 0x80)
            rest >>= 7
        encoded.append(rest)
        whole = bytes(encoded)
        if number < _CACHED_NUMBERS:
            self[number] = whole
        return whole


VARINT = _Numbers()
"""``VARINT[n]``: the varint of ``n``, which is not negative."""

FIELD_1 = _Numbers(b"\x0a")
"""``FIELD_1[n]``: the tag and length of a field with number 1 and ``n`` bytes."""

FIELD_2 = _Numbers(b"\x12")
"""``FIELD_2[n]``: the tag and length of a field with number 2 and ``n`` bytes."""

NAMES: dict[str, bytes] = {}
"""Cache of names: length and UTF-8 of each. Filled and bounded by :func:`name`."""


def utf8(text: str, limit: int) -> bytes:
    """Return at most ``limit`` bytes of ``text`` in UTF-8, cut between characters.

    The first thousand lone surrogates become U+FFFD, the rest ``?``, which is faster.
    """
    if limit <= 0:
        return b""
    if len(text) > limit:
        text = text[:limit]
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        raw = _SURROGATE.sub("\ufffd", text, count=_MARKED_SURROGATES).encode("utf-8", "replace")
    if len(raw) > limit:
        return raw[:limit].decode("utf-8", "ignore").encode()
    return raw


def name(value: Any) -> bytes:
    """Return length and redacted UTF-8 of a name. Short ones are cached in :data:`NAMES`."""
    given = value if type(value) is str else plain_text(value)
    shown = redacted(given, MAX_NAME, redactor().text)
    raw = utf8(shown, MAX_NAME)
    encoded = VARINT[len(raw)] + raw
    # A redacted name is not cached: each use of it is counted as a redaction.
    if type(value) is str and len(value) <= SHORT and shown is given:
        if len(NAMES) >= _CACHED_NAMES:
            NAMES.clear()
        NAMES[value] = encoded
    return encoded


def plain_text(value: Any) -> str:
    """Return a text for any value without calling methods of the application's types.

    Those may raise, lie or take long.
    """
    kind = type(value)
    if kind is str:
        return value  # type: ignore[no-any-return]
    if value is None:
        return ""
    if issubclass(kind, str):
        return str.__getitem__(value, slice(0, MAX_BODY))
    if kind is bool or kind is float:
        return str(value)
    if issubclass(kind, int):
        return str(int64(value))
    if issubclass(kind, float):
        return str(float.__float__(value))
    if issubclass(kind, bytes):
        return bytes.__getitem__(value, slice(0, MAX_BODY)).decode("utf-8", "replace")
    known = _known_text(value, kind)
    return f"<{_type_name(kind)}>" if known is None else known


def named(tag: bytes, value: Any) -> bytes:
    """Return the field ``tag`` with a name; nothing for None and the empty text."""
    if value is None:
        return b""
    encoded = NAMES.get(value) if type(value) is str and len(value) <= SHORT else None
    if encoded is None:
        encoded = name(value)
    return tag + encoded if encoded != b"\x00" else b""


def _known_text(value: Any, kind: type) -> str | None:
    """Return ``str(value)`` for types of the standard library with a useful one, else None."""
    module = _type_module(kind)
    name = _type_name(kind)
    if (
        type(module) is not str
        or name not in _KNOWN.get(module, ())
        or getattr(sys.modules.get(module), name, None) is not kind
    ):
        return None
    try:
        # The time zone of a datetime may be the application's code.
        return read(str, value)
    except ValueError:
        return None


def int64(value: Any) -> int:
    """Return the nearest signed 64-bit number of an ``int`` or an instance of a subclass."""
    number = int.__int__(value)
    return number if -_INT64 <= number <= _INT64 else max(-_INT64 - 1, min(number, _INT64))


def varint64(value: Any) -> bytes:
    """Return an ``int`` as the varint of an int64."""
    return VARINT[int64(value) & UINT64]


def uint64(value: Any) -> int:
    """Return the nearest unsigned 64-bit number; 0 for any other type."""
    kind = type(value)
    if issubclass(kind, float):
        number = float.__float__(value)
        value = int(number) if 0 < number < UINT64 else UINT64 * (number > 0)
    elif not issubclass(kind, int):
        return 0
    return max(0, min(int.__int__(value), UINT64))


def uint32(value: Any) -> int:
    """Return the nearest unsigned 32-bit number; 0 for any other type."""
    return min(uint64(value), 0xFFFF_FFFF)


def fixed64(value: Any) -> bytes:
    """Return a time or a count as eight bytes."""
    return pack_uint64(uint64(value))


def identifier(value: Any, size: int) -> bytes | None:
    """Return the identifier of a trace or span as ``size`` bytes, None if it is not a valid one."""
    try:
        return int.__int__(value).to_bytes(size, "big")
    except (TypeError, OverflowError):
        return None


def read(getter: Callable[[Any], _T], source: Any) -> _T:
    """Return ``getter(source)``, which may run code of the application.

    Raises:
        ValueError: For any exception of ``getter`` except ``KeyboardInterrupt``.
    """
    try:
        return getter(source)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise ValueError("unreadable") from error


def members(source: Any) -> Sequence[Any]:
    """Return the elements of a sequence; unless it is a list or tuple, at most :data:`MAX_VALUES`.

    Raises:
        ValueError: If it cannot be iterated.
    """
    kind = type(source)
    return source if kind is list or kind is tuple else read(_first, source)


def _first(source: Any) -> list[Any]:
    return list(islice(source, MAX_VALUES))


def is_interrupt(error: BaseException) -> bool:
    """Whether ``error`` may come from a signal handler (``SystemExit``, ``KeyboardInterrupt``).

    Handlers run in the main thread only; in any other thread the item itself raised it.
    """
    return not isinstance(error, Exception) and threading.get_native_id() == os.getpid()
