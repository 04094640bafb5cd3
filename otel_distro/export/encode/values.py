"""Attributes and values of any type as OTLP ``KeyValue`` and ``AnyValue``.

Messages: opentelemetry/proto/common/v1/common.proto in
https://github.com/open-telemetry/opentelemetry-proto

Every text, number and key is redacted here when it is encoded, and containers element by element.
Redacted values are not cached. Encoded pairs of a key and a short text, an integer or a bool are:
most of them recur in the next item. Overridden methods of subclasses of ``str``, ``int``, ``dict``
and so on are not called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from otel_distro._otel.span_parts import SDK_ATTRIBUTES, LazyAttributes
from otel_distro.export.encode.protobuf import (
    FIELD_1,
    MAX_BODY,
    MAX_DEPTH,
    MAX_NAME,
    MAX_TEXT,
    SHORT,
    VARINT,
    int64,
    pack_double,
    plain_text,
    read,
    utf8,
    varint64,
)
from otel_distro.export.encode.redact import MARGIN, redacted, redactor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_distro.export.encode.protobuf import SizeLimit
    from otel_distro.redaction.policy import RedactionPolicy

_CACHED_KEYS = 1024
_CACHED_VALUES = 256
_CACHED_BYTES = 2 * 1024 * 1024
_ENTRY_BYTES = 200

_CUT = b"\x0a\x03..."
"""The value in place of one that is nested too deep: the text ``...``."""


# Shared and never filled.
_NO_TEXTS: dict[str, bytes] = {}
_NO_INTEGERS: dict[int, bytes] = {}
_NO_BOOLS: dict[bool, bytes] = {}


class _Key:
    """An encoded key with encoded pairs of it.

    Each type of value has its own cache, because ``True``, ``1`` and ``1.0`` are equal as keys of a
    dict. Only the first values are cached: those of a key with more values hardly ever recur.
    """

    __slots__ = ("bools", "integers", "redaction_policy", "start", "texts")

    def __init__(self, start: bytes, redaction_policy: RedactionPolicy) -> None:
        self.start = start
        self.redaction_policy = redaction_policy
        # Shared until there is something to cache: keys that never recur should cost little.
        self.texts: dict[str, bytes] = _NO_TEXTS
        self.integers: dict[int, bytes] = _NO_INTEGERS
        self.bools: dict[bool, bytes] = _NO_BOOLS

    def text(self, value: str, budget: SizeLimit) -> bytes:
        """Return the pair with a text; a short one is cached, and not counted by ``budget``."""
        if len(value) > SHORT:
            return self.pair(any_value(value, budget, self.redaction_policy))
        shown = self.redaction_policy.redact(value)
        try:
            raw = shown.encode()
        except UnicodeEncodeError:
            raw = utf8(shown, MAX_TEXT)
        start = self.start
        size = len(raw)
        if size < 100 and len(start) < 24:
            # All lengths are below 128, a single byte.
            pair = b"%c%b%c\x0a%c%b" % (len(start) + size + 3, start, size + 2, size, raw)
        else:
            pair = self.pair(FIELD_1[size] + raw)
        if len(self.texts) < _CACHED_VALUES and shown is value:
            if self.texts is _NO_TEXTS:
                self.texts = {}
            self.texts[value] = pair
            _count_cached(pair)
        return pair

    def integer(self, value: int) -> bytes:
        """Return the pair with an integer."""
        if value >= self.redaction_policy.smallest and (shown := self.redaction_policy.redact(value)) is not value:
            return self.pair(_mask(shown))
        pair = self.pair(b"\x18" + varint64(value))
        if len(self.integers) < _CACHED_VALUES and -(1 << 63) <= value < 1 << 63:
            if self.integers is _NO_INTEGERS:
                self.integers = {}
            self.integers[value] = pair
            _count_cached(pair)
        return pair

    def real(self, value: float) -> bytes:
        """Return the pair with a floating-point number."""
        return self.pair(
            _number(value, self.redaction_policy) if self.redaction_policy.secret else b"\x21" + pack_double(value)
        )

    def boolean(self, value: bool) -> bytes:
        """Return the pair with a bool."""
        if self.bools is _NO_BOOLS:
            self.bools = {}
        pair = self.bools[value] = self.pair(b"\x10\x01" if value else b"\x10\x00")
        return pair

    def pair(self, value: bytes) -> bytes:
        """Return the pair with an ``AnyValue``: a ``KeyValue`` after its length."""
        start = self.start
        size = VARINT[len(value)]
        return b"".join((VARINT[len(start) + len(size) + len(value)], start, size, value))


_keys: dict[str, _Key] = {}
_cached_bytes = 0


def _count_cached(pair: bytes) -> None:
    """Add to the size of the caches, and clear them when it exceeds the limit."""
    global _cached_bytes
    _cached_bytes += len(pair) + _ENTRY_BYTES
    if _cached_bytes > _CACHED_BYTES or len(_keys) > _CACHED_KEYS:
        _keys.clear()
        _cached_bytes = 0


def _new_key(key: Any) -> _Key:
    """Encode a key that is not in the cache."""
    title = key if type(key) is str else plain_text(key)
    shown = redacted(title, MAX_NAME, redactor().text)
    raw = utf8(shown, MAX_NAME)
    known = _Key(b"".join((FIELD_1[len(raw)], raw, b"\x12")) if raw else b"\x12", redactor().redaction_policy(title))
    if type(key) is str and len(key) <= SHORT and shown is title:
        _count_cached(known.start)
        _keys[key] = known
    return known


def attributes(tag: bytes, source: Any, budget: SizeLimit) -> tuple[bytes, int]:
    """Encode all attributes of a mapping.

    Args:
        tag: One byte: the number and wire type of the field.
        source: A mapping or None.
        budget: The size limit of the item.

    Returns:
        The fields, and the number of attributes that were left out.
    """
    kind = type(source)
    if kind is dict or kind is LazyAttributes or kind is SDK_ATTRIBUTES:
        # Atomic under the GIL: another thread may be writing.
        copied = source.copy()
        if not copied:
            return b"", 0
        items: Iterable[tuple[Any, Any]] = copied.items()
        count = len(copied)
    elif source is None:
        return b"", 0
    else:
        found, count = _pairs_of(source, kind, budget)
        if found is None:
            return b"", count
        items = found
    lost = 0
    if count > budget.values_left:
        lost = count - max(budget.values_left, 0)
        items = islice(items, max(budget.values_left, 0))
    budget.values_left -= count
    pairs = [b""]
    append, cached = pairs.append, _keys.get
    for key, value in items:
        try:
            known = cached(key) if type(key) is str else None
            kind = type(value)
            if known is None:
                # Values are cached from the second use of their key on.
                known = _new_key(key)
                append(known.pair(any_value(value, budget, known.redaction_policy)))
            elif kind is str:
                append(known.texts.get(value) or known.text(value, budget))
            elif kind is int:
                append(known.integers.get(value) or known.integer(value))
            elif kind is bool:
                append(known.bools.get(value) or known.boolean(value))
            elif kind is float:
                append(known.real(value))
            else:
                append(known.pair(any_value(value, budget, known.redaction_policy)))
        except Exception:
            lost += 1
    # The first element is empty, so the tag precedes each pair.
    return tag.join(pairs), lost


def body(value: Any, budget: SizeLimit) -> bytes:
    """Return the ``AnyValue`` of a log record's body: its text may be longer than other values."""
    redaction_policy = redactor().redaction_policy("")
    if type(value) is str and len(value) <= MAX_NAME:
        # The usual case, within all limits: checking those costs a quarter of the whole record.
        raw = utf8(redaction_policy.redact(value), MAX_BODY)
        budget.bytes_left -= max(len(raw), len(value))
        return FIELD_1[len(raw)] + raw
    if issubclass(type(value), str):
        return _text(plain_text(value), budget, redaction_policy, MAX_BODY)
    return any_value(value, budget, redaction_policy)


def any_value(value: Any, budget: SizeLimit, redaction_policy: RedactionPolicy, depth: int = 0) -> bytes:
    """Return the ``AnyValue`` of any value: types that OTLP lacks become a text."""
    budget.values_left -= 1
    kind = type(value)
    if kind is str:
        return _text(value, budget, redaction_policy)
    if value is None:
        return b""
    if kind is bool:
        return b"\x10\x01" if value else b"\x10\x00"
    if issubclass(kind, int):
        return _number(int64(value), redaction_policy)
    if issubclass(kind, float):
        return _number(float.__float__(value), redaction_policy)
    if issubclass(kind, str):
        return _text(plain_text(value), budget, redaction_policy)
    for base in (bytes, bytearray):
        if issubclass(kind, base):
            return _bytes(value, base, budget, redaction_policy)
    if depth >= MAX_DEPTH:
        return _CUT
    elements = _elements_of(value, kind, budget)
    if elements is not None:
        return _array(elements, budget, redaction_policy, depth + 1)
    pairs, _ = _pairs_of(value, kind, budget)
    if pairs is not None:
        return _mapping(pairs, budget, redaction_policy, depth + 1)
    return _text(plain_text(value), budget, redaction_policy)


def _text(value: str, budget: SizeLimit, redaction_policy: RedactionPolicy, limit: int = MAX_TEXT) -> bytes:
    raw = budget.text(value, limit, redaction_policy.redact)
    return FIELD_1[len(raw)] + raw


def _number(value: float, redaction_policy: RedactionPolicy) -> bytes:
    shown = redaction_policy.redact(value)
    if shown is not value:
        return _mask(shown)
    return b"\x18" + varint64(value) if type(value) is int else b"\x21" + pack_double(value)


def _bytes(value: Any, base: Any, budget: SizeLimit, redaction_policy: RedactionPolicy) -> bytes:
    limit = max(0, min(MAX_TEXT, budget.bytes_left))
    raw = bytes(base.__getitem__(value, slice(0, limit + MARGIN + 1)))
    shown = redacted(raw, limit, redaction_policy.redact)
    budget.bytes_left -= min(len(raw), limit)
    if type(shown) is str:
        return _mask(shown)
    sent: bytes = shown[:limit]
    return b"\x3a" + VARINT[len(sent)] + sent


def _mask(shown: str) -> bytes:
    raw = shown.encode()
    return FIELD_1[len(raw)] + raw


def _array(elements: Sequence[Any], budget: SizeLimit, redaction_policy: RedactionPolicy, depth: int) -> bytes:
    if redaction_policy.arguments and all(type(element) is str for element in elements):
        elements = redactor().arguments(elements)
    parts: list[bytes] = []
    for index, element in enumerate(elements):
        if budget.values_left <= 0:
            break
        if index == 1 and depth > 1 and len(elements) == 2:
            redaction_policy = _policy_after(elements[0], redaction_policy)
        encoded = any_value(element, budget, redaction_policy, depth)
        parts += (FIELD_1[len(encoded)], encoded)
    array = b"".join(parts)
    return b"\x2a" + VARINT[len(array)] + array


def _policy_after(key: Any, redaction_policy: RedactionPolicy) -> RedactionPolicy:
    """Return the policy for the value in a pair of ``key`` and value, such as a header."""
    found = (
        redactor().redaction_policy(plain_text(key)[:MAX_NAME])
        if issubclass(type(key), (str, bytes))
        else redaction_policy
    )
    return found if found.secret else redaction_policy


def _mapping(
    pairs: Sequence[tuple[Any, Any]], budget: SizeLimit, redaction_policy: RedactionPolicy, depth: int
) -> bytes:
    if redaction_policy.secret and pairs:
        return _mask(redactor().mask())
    parts = [b""]
    for key, value in pairs:
        if budget.values_left <= 0:
            break
        budget.values_left -= 1
        known = (_keys.get(key) if type(key) is str else None) or _new_key(key)
        parts.append(
            known.pair(
                any_value(
                    value, budget, redaction_policy if redaction_policy.inherited else known.redaction_policy, depth
                )
            )
        )
    mapping = b"\x0a".join(parts)
    return b"\x32" + VARINT[len(mapping)] + mapping


def _elements_of(value: Any, kind: type, budget: SizeLimit) -> Sequence[Any] | None:
    """Return as many elements of a sequence or set as the limit allows; None for other types.

    Never raises.
    """
    if kind is tuple or kind is list:
        return value if len(value) <= budget.values_left else value[: max(budget.values_left, 0)]  # type: ignore[no-any-return]
    for base in (list, tuple, set, frozenset):
        if issubclass(kind, base):
            return list(islice(base.__iter__(value), max(budget.values_left, 0)))
    try:
        if read(_is_sequence, kind):
            return read(list, islice(value, max(budget.values_left, 0)))
    except ValueError:
        return None
    return None


def _pairs_of(value: Any, kind: type, budget: SizeLimit) -> tuple[list[tuple[Any, Any]] | None, int]:
    """Return as many pairs of a mapping as the limit allows, and how many it has.

    None in place of the pairs for other types and for a mapping that cannot be read. Never raises.
    """
    limit = max(budget.values_left, 0)
    try:
        if kind is MappingProxyType or kind is LazyAttributes or kind is SDK_ATTRIBUTES:
            value = read(lambda mapping: mapping.copy(), value)
            kind = type(value)
        if issubclass(kind, dict):
            return list(islice(dict.items(value), limit)), dict.__len__(value)
        if read(_is_mapping, kind):
            # One more than the limit, because its reported length may be wrong.
            pairs = read(lambda mapping: [(key, member) for key, member in islice(mapping.items(), limit + 1)], value)
            return pairs[:limit], len(pairs)
    except ValueError:
        return None, 1
    return None, 0


def _is_sequence(kind: type) -> bool:
    return issubclass(kind, Sequence)


def _is_mapping(kind: type) -> bool:
    return issubclass(kind, Mapping)
