"""The redactor: what it hides in texts, attribute values, addresses, statements and arguments, and how often."""

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
from otel_distro.redaction.policy import PASSTHROUGH, SMALLEST_NUMBER, RedactionPolicy, same
from otel_distro.redaction.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from otel_distro.redaction.text import Finding

    Way = Callable[[Any], Any]

_SHORTEST: Final = 5
_DEEPEST: Final = 16
_MOST_ELEMENTS: Final = 100_000
_REMEMBERED: Final = 4096
_LONGEST_REMEMBERED: Final = 512
_LONG: Final = 16 * 1024
_LONG_REMEMBERED: Final = 16
_DECODINGS: Final = 3
_CONTAINERS: Final = (dict, list, tuple)
_PLAIN_TYPES: Final = (bool, float, type(None))


class Redactor:
    """Hides secrets. Every method returns the very object it was given where there is nothing to hide, and never raises.

    ``keys``: further secret keys. ``keep``: keys whose values stay as they are. ``patterns``: further expressions; what they
    match (their first group, where they have one) is hidden. ``email``: hide addresses of people too.

    What was hidden is counted in :attr:`hidden`, by kind: ``key``, ``userinfo``, ``credentials``, ``jwt``, ``token``,
    ``webhook``, ``private_key``, ``card``, ``iban``, ``ssn``, ``sql``, ``argument``, ``email``, ``pattern``; ``depth`` for what was
    nested too deep to be looked at, ``failure`` for what could not be judged. Both are hidden too.
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
        # Most texts come again and again: names, routes, statements. Only those without a secret are remembered.
        self._clean: set[str] = set()
        # And the last long ones: the stack trace of an exception is on a span and in a log record.
        self._clean_long: set[str] = set()
        self._clean_urls: set[str] = set()
        self._clean_statements: set[str] = set()
        self._ways: dict[object, Way] = {}
        self._plain_treatment = RedactionPolicy(self._plain)
        self._special: dict[str, Way] = {
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
        """Return a redactor as the settings ``OTEL_DISTRO_REDACT*`` have it; an expression that is none costs one line."""
        return cls(
            enabled=settings.OTEL_DISTRO_REDACT.get(environ) == "on",
            keys=_listed(settings.OTEL_DISTRO_REDACT_KEYS.get(environ)),
            keep=_listed(settings.OTEL_DISTRO_REDACT_KEEP_KEYS.get(environ)),
            patterns=_compiled(settings.OTEL_DISTRO_REDACT_PATTERNS.get(environ)),
            email=settings.OTEL_DISTRO_REDACT_EMAIL.get(environ),
        )

    def find(self, text: str) -> list[Finding]:
        """Return where the secrets of a running text are; nothing is counted."""
        return self._finder.find(text)

    def text(self, value: str) -> str:
        """Return a running text (log line, message, stack trace, name, command line) with its secrets hidden."""
        if not self.enabled or type(value) is not str or len(value) < _SHORTEST:
            return value
        if value in self._clean or value in self._clean_long:
            return value
        try:
            findings = self._finder.find(value)
            if not findings:
                if len(value) <= _LONGEST_REMEMBERED:
                    _remember(self._clean, value)
                else:
                    _remember(self._clean_long, value, longest=_LONG, most=_LONG_REMEMBERED)
                return value
            for finding in findings:
                self._count(finding.kind)
            return sql.replaced(value, [(found.start, found.end, found.instead) for found in findings])
        except Exception as error:
            return self._failed(error)

    def value(self, key: str, value: Any) -> Any:
        """Return the value of an attribute: hidden by its key, else redacted as what the key says it is."""
        if not self.enabled:
            return value
        try:
            return (self._ways.get(key) or self._way(key))(value)
        except Exception as error:
            return self._failed(error)

    def attributes(self, attributes: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a plain dictionary of the redacted attributes, or the same object where nothing is to be hidden."""
        changed: dict[str, Any] | None = None
        for key, value in attributes.items():
            redacted = self.value(key, value)
            if redacted is not value:
                changed = dict(attributes) if changed is None else changed
                changed[key] = redacted
        return attributes if changed is None else changed

    def url(self, value: str) -> str:
        """Return an address, whole or from its path on, with what is secret in it hidden and the rest byte for byte."""
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
            _remember(self._clean_urls, value)
            return value
        return redacted

    def query(self, value: str) -> str:
        """Return the query of an address; values of secret parameters, and values that hold a secret, are hidden whole."""
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
                _remember(self._clean_statements, value)
            return redacted
        except Exception as error:
            return self._failed(error)

    def argv(self, arguments: Any) -> Any:
        """Return the arguments of a command, in the type they came in; a command line as one text is redacted as such."""
        if not self.enabled or type(arguments) not in (list, tuple) or not all(type(word) is str for word in arguments):
            return self._plain(arguments) if self.enabled else arguments
        try:
            redacted = [self.text(word) for word in self.arguments(arguments)]
            return arguments if redacted == list(arguments) else type(arguments)(redacted)
        except Exception as error:
            return self._failed(error)

    def arguments(self, arguments: Sequence[str]) -> list[str]:
        """Return arguments without what their place says is secret, as what follows ``--password``."""
        redacted = list(arguments)
        for index, (start, end) in command.in_arguments(arguments, self._keys):
            if redacted[index][start:end] != table.MASK:
                self._count("argument")
                redacted[index] = redacted[index][:start] + table.MASK + redacted[index][end:]
        return redacted

    def redaction_policy(self, key: str) -> RedactionPolicy:
        """Return how the values of ``key`` are redacted; of the key that is the empty text, as running texts are."""
        if not self.enabled:
            return PASSTHROUGH
        way = self._ways.get(key) or self._way(key)
        if way == self._plain:
            return self._plain_treatment
        if way is same:
            return PASSTHROUGH
        redact = functools.partial(self.value, key)
        verdict = self._keys.judge(key)
        if verdict:
            return RedactionPolicy(redact, smallest=float("-inf"), secret=verdict != "opaque")
        return RedactionPolicy(redact, arguments=way == self.argv)

    def mask(self) -> str:
        """Count a value that is hidden for its key, and return what takes its place."""
        self._count("key")
        return table.MASK

    def _way(self, key: object) -> Way:
        """Decide how the values of a key are treated."""
        if len(self._ways) >= _REMEMBERED:
            self._ways.clear()
        name = key.decode("latin-1") if isinstance(key, bytes) else key
        way: Way = self._plain
        if isinstance(name, str):
            verdict = self._keys.judge(name)
            if name in table.IDENTITIES or self._keys.keeps(name):
                way = same
            elif verdict:
                way = functools.partial(self._by_key, name, verdict)
            else:
                way = self._special.get(name, self._plain)
        self._ways[key] = way
        return way

    def _by_key(self, key: str, verdict: KeyClass, value: Any) -> Any:
        """Hide the value of a secret key; lists keep their type and length."""
        if value is None or isinstance(value, bool) or value in ("", b"", table.MASK):
            return value
        if verdict == "opaque" and not (isinstance(value, str) and is_opaque(value)):
            return self._plain(value)
        if verdict == "countable" and (
            isinstance(value, (int, float)) or (isinstance(value, str) and values.is_number(value))
        ):
            return value
        if isinstance(value, str) and (values.is_placeholder(value) or values.is_working_directory(key, value)):
            return value
        if type(value) in (list, tuple):
            hidden = [self._by_key(key, verdict, element) for element in value[:_MOST_ELEMENTS]]
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
            return self._nested(value, 1, [_MOST_ELEMENTS])
        return self._foreign(value)

    def _number(self, value: int) -> Any:
        """Hide the number of a card; all shorter numbers stay."""
        if not SMALLEST_NUMBER <= value < 10**19:
            return value
        text = str(value)
        redacted = self.text(text)
        return value if redacted is text else redacted

    def _foreign(self, value: Any) -> Any:
        """Redact what behaves like a text or a container; every other object is the encoder's to cope with."""
        try:
            if isinstance(value, str):
                text = str.__str__(value)
                redacted = self.text(text)
                return value if redacted is text else redacted
            if isinstance(value, bytes):
                return self._bytes(value)
            if isinstance(value, Mapping):
                inner: Any = dict(islice(value.items(), _MOST_ELEMENTS))
            elif isinstance(value, Sequence):
                inner = list(islice(value, _MOST_ELEMENTS))
            else:
                return value
        except Exception:
            # A hostile object: what cannot be read here cannot be read by the encoder either.
            return value
        redacted = self._nested(inner, 1, [_MOST_ELEMENTS])
        return value if redacted is inner else redacted

    def _bytes(self, value: bytes) -> Any:
        try:
            text, encoding = value.decode(), "utf-8"
        except ValueError:
            # A part of a text, or a message with a text in it: every byte comes back as it was.
            text, encoding = value.decode("latin-1"), "latin-1"
        redacted = self.text(text)
        return value if redacted is text else redacted.encode(encoding)

    def _nested(self, value: Any, depth: int, room: list[int]) -> Any:
        """Redact a container; ``room`` is how many more elements are looked at, whatever refers to itself."""
        if depth > _DEEPEST or room[0] <= 0:
            self._count("depth")
            return table.MASK
        is_dict = isinstance(value, dict)
        changed: Any = None
        for index, element in list(value.items() if is_dict else enumerate(value)):
            room[0] -= 1
            way = (self._ways.get(index) or self._way(index)) if is_dict else self._plain
            if type(element) in _CONTAINERS and way == self._plain:
                redacted = self._nested(element, depth + 1, room)
            else:
                redacted = way(element)
            if redacted is not element:
                if changed is None:
                    changed = dict(value) if is_dict else list(value)
                changed[index] = redacted
        if changed is None:
            return value
        return tuple(changed) if isinstance(value, tuple) else changed

    def _parameter(self, part: str) -> str:
        """Return one parameter of a query."""
        key, equals, value = part.partition("=")
        if not value or value == table.MASK:
            return part if equals else self.text(part)
        name = unquote_plus(key) if "%" in key or "+" in key else key
        kind = "key" if self._hides(name, value) else self._kind_in(value)
        if not kind:
            return part
        self._count(kind)
        return f"{key}={table.MASK}"

    def _hides(self, name: str, value: str) -> bool:
        verdict = self._keys.judge(name)
        if verdict == "opaque" or (not verdict and name.lower() in table.QUERY_OPAQUE_KEYS):
            return is_opaque(value)
        if verdict == "countable" and values.is_number(value):
            return False
        return verdict != "" and not values.is_plain(value)

    def _kind_in(self, value: str) -> str:
        """Return the kind of a secret within the value of a parameter, however often it is encoded; else nothing."""
        for _ in range(_DECODINGS):
            found = self._finder.find(value) if len(value) >= _SHORTEST else []
            if found:
                return found[0].kind
            decoded = unquote_plus(value) if "%" in value or "+" in value else value
            if decoded == value:
                return ""
            value = decoded
        return ""

    def _count(self, kind: str) -> None:
        # Without a lock, which a fork could leave locked: nothing in this statement lets another thread in between.
        self.hidden[kind] = self.hidden.get(kind, 0) + 1

    def _failed(self, error: Exception) -> str:
        report_failure("redaction of a value, which is hidden", error)
        self._count("failure")
        return table.MASK


def _remember(clean: set[str], value: str, *, longest: int = _LONGEST_REMEMBERED, most: int = _REMEMBERED) -> None:
    if len(value) <= longest:
        if len(clean) >= most:
            clean.clear()
        clean.add(value)


def _trigger(key: str) -> str:
    """Return what every text with the key contains, in lower case."""
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
            say(f"{name}: {expression[:100]!r} is not a regular expression ({error}); it is ignored, the others hold")
    return found
