"""The redactor: hides secrets in texts, attribute values, URLs, statements and arguments."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_plus

from otel_distro import schema, settings
from otel_distro._runtime.diagnostics import report_failure, say
from otel_distro.redaction import command, sql, table, values
from otel_distro.redaction.keys import KeyClass, Keys, is_opaque, words_of
from otel_distro.redaction.policy import PASSTHROUGH, SMALLEST_NUMBER, RedactionPolicy, identity
from otel_distro.redaction.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from otel_distro.redaction.text import Finding

    Handler = Callable[[Any], Any]

_MIN_LENGTH: Final = 5
_MAX_DEPTH: Final = 16
_MAX_ELEMENTS: Final = 100_000
_CACHE_SIZE: Final = 4096
_MAX_CACHED_LENGTH: Final = 512
_MAX_LONG_CACHED_LENGTH: Final = 16 * 1024
_LONG_CACHE_SIZE: Final = 16
_DECODINGS: Final = 3
_CONTAINERS: Final = (dict, list, tuple)
_PLAIN_TYPES: Final = (bool, float, type(None))


class Redactor:
    """Hides secrets. Methods return the same object if nothing is hidden, and never raise.

    Args:
        keys: Further secret keys.
        keep: Keys whose values stay as they are.
        patterns: Further expressions; their match (its first group, where they have one) is hidden.
        email: Hide e-mail addresses too.

    :attr:`hidden` counts the hidden values by kind: ``key``, ``userinfo``, ``credentials``,
    ``jwt``, ``token``, ``webhook``, ``private_key``, ``card``, ``iban``, ``ssn``, ``sql``,
    ``argument``, ``email``, ``pattern``; ``depth`` for values that were nested too deep,
    ``failure`` for values whose redaction failed. Both of these are hidden whole.
    """

    def __init__(
        self,
        *,
        enabled: bool = True,
        keys: Iterable[str] = (),
        keep: Iterable[str] = (),
        patterns: Iterable[re.Pattern[str]] = (),
        email: bool = False,
    ) -> None:
        extra = list(keys)
        self.enabled = enabled
        self.hidden: dict[str, int] = {}
        self._keys = Keys(extra, keep)
        self._finder = Text(self._keys, [_trigger(key) for key in extra], list(patterns), email=email)
        # Most texts repeat: names, routes, statements. Only those without a secret are cached,
        self._clean: set[str] = set()
        # and the last long ones: the stack trace of an exception is on a span and in a log record.
        self._clean_long: set[str] = set()
        self._clean_urls: set[str] = set()
        self._clean_statements: set[str] = set()
        self._handlers: dict[object, Handler] = {}
        self._plain_policy = RedactionPolicy(self._plain)
        self._special: dict[str, Handler] = {
            schema.URL_FULL.name: self.url,
            schema.HTTP_URL.name: self.url,
            schema.HTTP_TARGET.name: self.url,
            schema.URL_QUERY.name: self.query,
            schema.DB_QUERY_TEXT.name: self.sql,
            schema.DB_STATEMENT.name: self.sql,
            schema.PROCESS_COMMAND_ARGS.name: self.argv,
        }

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Redactor:
        """Return a redactor for the settings ``OTEL_DISTRO_REDACT*``; report bad expressions."""
        return cls(
            enabled=settings.OTEL_DISTRO_REDACT.get(environ) == "on",
            keys=_listed(settings.OTEL_DISTRO_REDACT_KEYS.get(environ)),
            keep=_listed(settings.OTEL_DISTRO_REDACT_KEEP_KEYS.get(environ)),
            patterns=_compiled(settings.OTEL_DISTRO_REDACT_PATTERNS.get(environ)),
            email=settings.OTEL_DISTRO_REDACT_EMAIL.get(environ),
        )

    def find(self, text: str) -> list[Finding]:
        """Return the positions of the secrets in a text, without counting them."""
        return self._finder.find(text)

    def text(self, value: str) -> str:
        """Return a log line, message, stack trace, name or command line with its secrets hidden."""
        if not self.enabled or type(value) is not str or len(value) < _MIN_LENGTH:
            return value
        if value in self._clean or value in self._clean_long:
            return value
        try:
            findings = self._finder.find(value)
            if not findings:
                if len(value) <= _MAX_CACHED_LENGTH:
                    _cache(self._clean, value)
                else:
                    _cache(self._clean_long, value, max_length=_MAX_LONG_CACHED_LENGTH, size=_LONG_CACHE_SIZE)
                return value
            for finding in findings:
                self._count(finding.kind)
            return sql.replaced(value, [(found.start, found.end, found.replacement) for found in findings])
        except Exception as error:
            return self._failed(error)

    def value(self, key: str, value: Any) -> Any:
        """Return the value of an attribute, hidden or redacted as its key requires."""
        if not self.enabled:
            return value
        try:
            return (self._handlers.get(key) or self._handler_of(key))(value)
        except Exception as error:
            return self._failed(error)

    def attributes(self, attributes: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a dictionary of the redacted attributes, or the same object if none is hidden."""
        changed: dict[str, Any] | None = None
        for key, value in attributes.items():
            redacted = self.value(key, value)
            if redacted is not value:
                changed = dict(attributes) if changed is None else changed
                changed[key] = redacted
        return attributes if changed is None else changed

    def url(self, value: str) -> str:
        """Return a URL, whole or from its path on, with its secrets hidden; all else stays."""
        if not self.enabled or type(value) is not str or value in self._clean_urls:
            return value if isinstance(value, str) else self._plain(value)
        path, question, rest = value.partition("?")
        if "#" in path:
            path, question, rest = value.partition("#")
        query, sharp, fragment = rest.partition("#")
        query, fragment = self.query(query), self.query(fragment)
        joined = f"{path}{question}{query}{sharp}{fragment}"
        redacted = self.text(joined)
        if redacted == value:
            _cache(self._clean_urls, value)
            return value
        return redacted

    def query(self, value: str) -> str:
        """Return the query of a URL; a value that is or contains a secret is hidden whole."""
        if not self.enabled or type(value) is not str:
            return self._plain(value) if self.enabled else value
        try:
            parts = value.split("&")
            redacted = [self._parameter(part) for part in parts]
            return value if redacted == parts else "&".join(redacted)
        except Exception as error:
            return self._failed(error)

    def sql(self, value: str) -> str:
        """Return a statement without literals, comments and secrets."""
        if not self.enabled or type(value) is not str or value in self._clean_statements:
            return value if isinstance(value, str) else self._plain(value)
        try:
            redacted = sql.obfuscate(value)
            if redacted is not value:
                self._count("sql")
            redacted = self.text(redacted)
            if redacted is value:
                _cache(self._clean_statements, value)
            return redacted
        except Exception as error:
            return self._failed(error)

    def argv(self, arguments: Any) -> Any:
        """Return the arguments of a command, in the type they came in; a string counts as text."""
        if not self.enabled or type(arguments) not in (list, tuple) or not all(type(word) is str for word in arguments):
            return self._plain(arguments) if self.enabled else arguments
        try:
            redacted = [self.text(word) for word in self.arguments(arguments)]
            return arguments if redacted == list(arguments) else type(arguments)(redacted)
        except Exception as error:
            return self._failed(error)

    def arguments(self, arguments: Sequence[str]) -> list[str]:
        """Return arguments without those that are secret by position (after ``--password``)."""
        redacted = list(arguments)
        for index, (start, end) in command.in_arguments(arguments, self._keys):
            if redacted[index][start:end] != table.MASK:
                self._count("argument")
                redacted[index] = redacted[index][:start] + table.MASK + redacted[index][end:]
        return redacted

    def redaction_policy(self, key: str) -> RedactionPolicy:
        """Return how the values of ``key`` are redacted; the empty key stands for plain text."""
        if not self.enabled:
            return PASSTHROUGH
        handler = self._handlers.get(key) or self._handler_of(key)
        if handler == self._plain:
            return self._plain_policy
        if handler is identity:
            return PASSTHROUGH
        redact = functools.partial(self.value, key)
        key_class = self._keys.classify(key)
        if key_class:
            return RedactionPolicy(redact, smallest=float("-inf"), secret=key_class != "opaque")
        return RedactionPolicy(redact, arguments=handler == self.argv)

    def mask(self) -> str:
        """Count a value that is hidden for its key, and return the mask."""
        self._count("key")
        return table.MASK

    def _handler_of(self, key: object) -> Handler:
        """Decide how the values of a key are redacted."""
        if len(self._handlers) >= _CACHE_SIZE:
            self._handlers.clear()
        name = key.decode("latin-1") if isinstance(key, bytes) else key
        handler: Handler = self._plain
        if isinstance(name, str):
            key_class = self._keys.classify(name)
            if name in table.IDENTITIES or self._keys.keeps(name):
                handler = identity
            elif key_class:
                handler = functools.partial(self._by_key, name, key_class)
            else:
                handler = self._special.get(name, self._plain)
        self._handlers[key] = handler
        return handler

    def _by_key(self, key: str, key_class: KeyClass, value: Any) -> Any:
        """Hide the value of a secret key; lists keep their type and length."""
        if value is None or isinstance(value, bool) or value in ("", b"", table.MASK):
            return value
        if key_class == "opaque" and not (isinstance(value, str) and is_opaque(value)):
            return self._plain(value)
        if key_class == "countable" and (
            isinstance(value, (int, float)) or (isinstance(value, str) and values.is_number(value))
        ):
            return value
        if isinstance(value, str) and (values.is_placeholder(value) or values.is_working_directory(key, value)):
            return value
        if type(value) in (list, tuple):
            hidden = [self._by_key(key, key_class, element) for element in value[:_MAX_ELEMENTS]]
            return value if all(new is old for new, old in zip(hidden, value, strict=False)) else type(value)(hidden)
        if type(value) is dict and not value:
            return value
        return self.mask()

    def _plain(self, value: Any) -> Any:
        kind = type(value)
        if kind is str:
            return self.url(value) if value.startswith(("http://", "https://")) else self.text(value)
        if kind in _PLAIN_TYPES:
            return value
        if kind is int:
            return self._number(value)
        if kind in _CONTAINERS:
            return self._nested(value, 1, [_MAX_ELEMENTS])
        return self._other_type(value)

    def _number(self, value: int) -> Any:
        """Hide the number of a card; all shorter numbers stay."""
        if not SMALLEST_NUMBER <= value < 10**19:
            return value
        text = str(value)
        redacted = self.text(text)
        return value if redacted is text else redacted

    def _other_type(self, value: Any) -> Any:
        """Redact subclasses of text and containers; other objects are left to the encoder."""
        try:
            if isinstance(value, str):
                text = str.__str__(value)
                redacted = self.text(text)
                return value if redacted is text else redacted
            if isinstance(value, bytes):
                return self._bytes(value)
            if isinstance(value, Mapping):
                inner: Any = dict(islice(value.items(), _MAX_ELEMENTS))
            elif isinstance(value, Sequence):
                inner = list(islice(value, _MAX_ELEMENTS))
            else:
                return value
        except Exception:
            # A hostile object: the encoder cannot read it either.
            return value
        redacted = self._nested(inner, 1, [_MAX_ELEMENTS])
        return value if redacted is inner else redacted

    def _bytes(self, value: bytes) -> Any:
        try:
            text, encoding = value.decode(), "utf-8"
        except ValueError:
            # Part of a text, or a binary message with a text in it: latin-1 restores every byte.
            text, encoding = value.decode("latin-1"), "latin-1"
        redacted = self.text(text)
        return value if redacted is text else redacted.encode(encoding)

    def _nested(self, value: Any, depth: int, elements_left: list[int]) -> Any:
        """Redact a container; ``elements_left`` bounds the work, also for cyclic containers."""
        if depth > _MAX_DEPTH or elements_left[0] <= 0:
            self._count("depth")
            return table.MASK
        is_dict = isinstance(value, dict)
        changed: Any = None
        for index, element in list(value.items() if is_dict else enumerate(value)):
            elements_left[0] -= 1
            handler = (self._handlers.get(index) or self._handler_of(index)) if is_dict else self._plain
            if type(element) in _CONTAINERS and handler == self._plain:
                redacted = self._nested(element, depth + 1, elements_left)
            else:
                redacted = handler(element)
            if redacted is not element:
                if changed is None:
                    changed = dict(value) if is_dict else list(value)
                changed[index] = redacted
        if changed is None:
            return value
        return tuple(changed) if isinstance(value, tuple) else changed

    def _parameter(self, part: str) -> str:
        """Return one parameter of a query, redacted."""
        key, equals, value = part.partition("=")
        if not value or value == table.MASK:
            return part if equals else self.text(part)
        name = unquote_plus(key) if "%" in key or "+" in key else key
        kind = "key" if self._hides_parameter(name, value) else self._kind_in(value)
        if not kind:
            return part
        self._count(kind)
        return f"{key}={table.MASK}"

    def _hides_parameter(self, name: str, value: str) -> bool:
        key_class = self._keys.classify(name)
        if key_class == "opaque" or (not key_class and name.lower() in table.QUERY_OPAQUE_KEYS):
            return is_opaque(value)
        if key_class == "countable" and values.is_number(value):
            return False
        return key_class != "" and not values.is_plain(value)

    def _kind_in(self, value: str) -> str:
        """Return the kind of the secret in a parameter's value, decoded repeatedly, or ""."""
        for _ in range(_DECODINGS):
            found = self._finder.find(value) if len(value) >= _MIN_LENGTH else []
            if found:
                return found[0].kind
            decoded = unquote_plus(value) if "%" in value or "+" in value else value
            if decoded == value:
                return ""
            value = decoded
        return ""

    def _count(self, kind: str) -> None:
        # No lock: a fork could leave it locked. This statement never releases the GIL.
        self.hidden[kind] = self.hidden.get(kind, 0) + 1

    def _failed(self, error: Exception) -> str:
        report_failure("redaction of a value, which is hidden", error)
        self._count("failure")
        return table.MASK


def _cache(clean: set[str], value: str, *, max_length: int = _MAX_CACHED_LENGTH, size: int = _CACHE_SIZE) -> None:
    if len(value) <= max_length:
        if len(clean) >= size:
            clean.clear()
        clean.add(value)


def _trigger(key: str) -> str:
    """Return, in lower case, a part that every text with the key contains."""
    return max(words_of(key), key=len, default=key.lower())


def _listed(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _compiled(text: str) -> list[re.Pattern[str]]:
    found = []
    for expression in text.split():
        try:
            found.append(re.compile(expression))
        except Exception as error:
            name = settings.OTEL_DISTRO_REDACT_PATTERNS.name
            problem = f"{name}: {expression[:100]!r} is not a regular expression ({error})"
            say(f"{problem}; it is ignored, the others apply", code="OD202")
    return found
