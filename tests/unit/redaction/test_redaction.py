"""Planted secrets are hidden, near misses stay, nothing raises, and hidden values are counted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.attributes import BoundedAttributes

from otel_distro import schema
from otel_distro.redaction import MASK, Redactor, table
from otel_distro.redaction.keys import Keys
from tests.support.redaction_corpus import CANARY, NEAR_MISSES, PLANTED, NearMiss, Planted


def carried(entry: Planted | NearMiss, redactor: Redactor, value: Any = None) -> Any:
    """Return the redacted entry of the corpus, or another value in its place."""
    given = entry.value if value is None else value
    return redactor.value(entry.key, given) if entry.key else redactor.text(given)


def test_corpus_is_large_and_covers_every_channel() -> None:
    """The corpus has at least 40 secrets and 40 near misses, both through every channel."""
    channels = {
        "url",
        "header",
        "sql",
        "text",
        "extra",
        "exception",
        "locals",
        "argv",
        "environment",
        "baggage",
        "file",
    }
    assert len(PLANTED) >= 40
    assert len(NEAR_MISSES) >= 40
    assert {entry.channel for entry in PLANTED} == channels
    assert {entry.channel for entry in NEAR_MISSES} == channels | {"key"}


@pytest.mark.parametrize("entry", PLANTED, ids=lambda entry: entry.name)
def test_planted_secret_is_hidden(entry: Planted) -> None:
    """The secret is hidden and counted, and a second pass finds nothing more."""
    redactor = Redactor()
    assert entry.secret in str(entry.value)
    redacted = carried(entry, redactor)
    assert entry.secret not in str(redacted)
    assert sum(redactor.hidden.values()) > 0
    assert carried(entry, Redactor(), redacted) == redacted


@pytest.mark.parametrize("entry", NEAR_MISSES, ids=lambda entry: entry.name)
def test_near_miss_is_unchanged(entry: NearMiss) -> None:
    """A near miss is returned as the same object, the first time and from the cache."""
    redactor = Redactor()
    assert carried(entry, redactor) is entry.value
    assert carried(entry, redactor) is entry.value
    assert redactor.hidden == {}


@pytest.mark.parametrize("entry", [e for e in PLANTED if not e.key], ids=lambda entry: entry.name)
@pytest.mark.parametrize("around", ["{}\n{}\n{}", "{} | {} | {}", '{{"a": "{}", "b": "{}", "c": "{}"}}'])
def test_secret_is_found_between_other_texts(entry: Planted, around: str) -> None:
    """Text before and after a secret on its line, or on other lines, does not protect it."""
    text = around.format("order 17 shipped: it's ok", entry.value, "key: value (a=b) 'c")
    assert entry.secret not in Redactor().text(text)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            "https://bob:pw@example.com:8443/a%20b?x=1&token=abc%3D&y=#z",
            f"https://{MASK}@example.com:8443/a%20b?x=1&token={MASK}&y=#z",
        ),
        (
            "https://example.com/?a=b;c&&d=%zz&password=&sig=x",
            f"https://example.com/?a=b;c&&d=%zz&password=&sig={MASK}",
        ),
        ("/cb?x=1#id_token=abc&state=1", f"/cb?x=1#id_token={MASK}&state=1"),
        ("https://example.com/#access_token=abc", f"https://example.com/#access_token={MASK}"),
        ("//x?next=%2Fa%3Fapi%255Fkey%253D1%26token%3Dabc", f"//x?next={MASK}"),
    ],
)
def test_url_without_its_secrets_is_unchanged(given: str, expected: str) -> None:
    """Names of parameters, their order, empty and broken ones, and the encoding stay."""
    assert Redactor().url(given) == expected


def test_query_value_with_secret_is_hidden_whole() -> None:
    """A value that contains a secret is hidden whole; the names of all parameters stay."""
    assert Redactor().query("q=my+password:+abc1&n=2&Token=%41") == f"q={MASK}&n=2&Token={MASK}"


def test_arguments_keep_type_and_options() -> None:
    """Only the secrets among the arguments are hidden, and a tuple stays a tuple."""
    assert Redactor().argv(("app", "--token", "abc", "-v", "--key-file", "x")) == (
        "app",
        "--token",
        MASK,
        "-v",
        "--key-file",
        "x",
    )


def test_list_of_secret_key_keeps_type_and_length() -> None:
    """A list of a secret key keeps type and length; its numbers are hidden, except counts."""
    redactor = Redactor()
    assert redactor.value("authorization", ("Bearer a", "Basic b")) == (MASK, MASK)
    assert redactor.value("pin", 1234) == MASK
    assert redactor.value("user.tokens", 1234) == 1234
    assert redactor.value("user.tokens", "abc") == MASK


def test_attributes_are_copied_only_if_something_is_hidden() -> None:
    """A clean mapping is returned itself, else a dictionary in the same order is.

    The original stays unchanged.
    """
    clean = {"a": "b", "n": 1}
    assert Redactor().attributes(clean) is clean
    given = BoundedAttributes(attributes={"a": "b", "password": "x", "c": ("d",)})
    redacted = Redactor().attributes(given)
    assert redacted == {"a": "b", "password": MASK, "c": ("d",)}
    assert list(redacted) == ["a", "password", "c"]
    assert given["password"] == "x"


def test_redacted_values_are_counted_by_kind() -> None:
    """Each hidden position counts once, under its kind; clean texts count nothing."""
    redactor = Redactor()
    redactor.text("password=abc and https://u:p@h/ and 4111 1111 1111 1111")
    redactor.value("token", "abc")
    redactor.value("url.query", "sig=1a&page=2")
    redactor.value("db.query.text", "SELECT 'a', 'b'")
    redactor.text("nothing here")
    assert redactor.hidden == {"key": 3, "userinfo": 1, "card": 1, "sql": 1}


def test_settings_add_keep_and_disable_redaction() -> None:
    """The user's keys and patterns are hidden, kept ones are not, in every spelling; off is off."""
    redactor = Redactor.from_environment(
        {
            "OTEL_DISTRO_REDACT_KEYS": "customer_no, Straße",
            "OTEL_DISTRO_REDACT_KEEP_KEYS": "session.id,csrf-token",
            "OTEL_DISTRO_REDACT_PATTERNS": r"EMP-\d{4} room\s(\d+)",
            "OTEL_DISTRO_REDACT_EMAIL": "true",
        }
    )
    assert redactor.value("customerNo", "17") == MASK
    assert redactor.text("x customer-no=17 y") == f"x customer-no={MASK} y"
    assert redactor.value("Straße", "17") == MASK
    assert redactor.value("session_id", "abc") == "abc"
    assert redactor.text("csrfToken=abc") == "csrfToken=abc"
    assert redactor.text("EMP-1234 in room 17") == f"{MASK} in room {MASK}"
    assert redactor.text("to jane.doe+x@mail.example.com!") == f"to {MASK}!"
    off = Redactor.from_environment({"OTEL_DISTRO_REDACT": "off"})
    for entry in PLANTED:
        assert carried(entry, off) is entry.value
    assert off.attributes({"password": "x"}) == {"password": "x"}
    assert off.hidden == {}


def test_bad_pattern_gives_one_line_and_others_apply(capfd: pytest.CaptureFixture[str]) -> None:
    """A bad expression is reported in one line; the others and the built-in rules apply."""
    redactor = Redactor.from_environment({"OTEL_DISTRO_REDACT_PATTERNS": r"(unclosed EMP-\d+"})
    assert redactor.text("EMP-17 password=abc") == f"{MASK} password={MASK}"
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "OTEL_DISTRO_REDACT_PATTERNS" in lines[0]
    assert "'(unclosed'" in lines[0]


class HostileMapping(Mapping[str, Any]):
    """Raises whenever it is read."""

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError(key)

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError

    def __len__(self) -> int:
        raise RuntimeError


class EndlessSequence(Sequence[str]):
    """Has no end."""

    def __getitem__(self, index: Any) -> Any:
        return "x"

    def __len__(self) -> int:
        return 2**40


class HostileText(str):
    """Raises on access to any attribute."""

    __slots__ = ()

    def lower(self) -> str:
        raise RuntimeError

    def __str__(self) -> str:
        raise RuntimeError


class Liar:
    """Raises on access to any attribute, its class included."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    def __hash__(self) -> int:
        return 1


@pytest.mark.parametrize("kind", [HostileMapping, EndlessSequence, HostileText, Liar, object])
def test_hostile_object_is_returned_unchanged(kind: type) -> None:
    """An unreadable object is returned unchanged, alone and nested; its neighbours are redacted."""
    value = kind()
    redactor = Redactor()
    assert redactor.value("x", value) is value
    redacted = redactor.value("x", {"a": [value], "password": "b"})
    assert redacted["a"][0] is value
    assert redacted["password"] == MASK


def test_text_of_a_subclass_is_redacted() -> None:
    """A string that overrides its methods hides nothing behind them."""
    assert Redactor().value("x", HostileText(f"password={CANARY}")) == f"password={MASK}"


@pytest.mark.timeout(60)
def test_cyclic_container_is_bounded() -> None:
    """Nesting is bounded, also in cyclic containers; values that are too deep are hidden."""
    loop: list[Any] = ["password=abc"]
    loop.extend([loop] * 10)
    redacted = Redactor().value("x", loop)
    assert redacted[0] == f"password={MASK}"
    deep: Any = "password=abc"
    for _ in range(200):
        deep = {"a": deep}
    assert "abc" not in str(Redactor().value("x", deep))


def test_table_has_triggers_and_valid_shapes() -> None:
    """Every secret key contains a trigger, and every shape compiles."""
    groups = (
        table.PASSWORD_WORDS,
        table.HEADER_WORDS,
        table.SECRET_WORDS,
        table.COUNTABLE_WORDS,
        table.LAST_WORDS,
        table.LAST_COUNTABLE_WORDS,
        table.LAST_OPAQUE_WORDS,
        table.GLUED_ENDS,
    )
    for word in {word for group in groups for word in group}:
        assert Keys().classify(word), word
        assert any(trigger in word for trigger in table.TEXT_TRIGGERS), word
    for begin, shape in {**table.TOKENS, **table.WEBHOOKS}.items():
        assert re.compile(shape)
        assert begin.replace(".", r"\.") in shape or begin in shape


def test_attributes_of_conventions_are_not_hidden() -> None:
    """Of all attributes of the conventions only these are secret; counts of tokens are sent."""
    import opentelemetry.semconv

    root = Path(next(iter(opentelemetry.semconv.__path__)))
    names = {
        name
        for file in root.rglob("*_attributes.py")
        for name in re.findall(r'^[A-Z0-9_]+: Final = "([a-z0-9_.]+)"', file.read_text(), re.MULTILINE)
    }
    assert len(names) > 500
    keys = Keys()
    assert {name for name in names if keys.classify(name) not in ("", "countable")} == {
        "db.connection_string",
        "mcp.session.id",
        "session.id",
    }


def test_declared_attributes_are_not_hidden() -> None:
    """No key that this distribution declares is hidden for its name."""
    declared = [value.name for value in vars(schema).values() if isinstance(value, schema.Attribute)]
    assert len(declared) > 50
    assert [name for name in declared if Keys().classify(name)] == []
