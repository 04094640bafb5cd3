"""The parts of redaction: words of keys, check digits, statements."""

from __future__ import annotations

import pytest

from otel_distro.redaction import MASK, Redactor, numbers, sql
from otel_distro.redaction.keys import Keys, is_opaque, words_of
from otel_distro.redaction.text import lowered

FORMS = [
    "client_secret",
    "clientSecret",
    "client-secret",
    "client.secret",
    "CLIENT_SECRET",
    "ClientSecret",
    "clientsecret",
    "x.client_secret2",
]


@pytest.mark.parametrize("key", FORMS)
def test_secret_key_is_found_in_every_form(key: str) -> None:
    """Snake, camel, kebab, dotted, upper-case and glued forms of a key are one key."""
    assert Keys().classify(key) == "secret"


@pytest.mark.parametrize(
    ("key", "key_class"),
    [
        ("http.request.header.authorization", "header"),
        ("X-Amz-Security-Token", "secret"),
        ("AWSAccessKeyId", "secret"),
        ("PGPASSWORD", "password"),
        ("jsessionid", "secret"),
        ("csrfmiddlewaretoken", "secret"),
        ("user[password]", "password"),
        ("password_reset_token", "secret"),
        ("cvv2", "secret"),
        ("tokens", "countable"),
        ("connect.sid", "opaque"),
        ("", ""),
        ("---", ""),
        ("signature_version", ""),
        ("auth_method", ""),
        ("password_policy", ""),
        ("k" * 100_000 + "_password", "password"),
    ],
)
def test_key_is_classified_by_its_words(key: str, key_class: str) -> None:
    """The class of a key depends on all its words."""
    assert Keys().classify(key) == key_class


def test_words_of_key_are_split() -> None:
    """Words end at separators, at a change of case and at digits."""
    assert words_of("http.header.X-CSRFToken2") == ["http", "header", "x", "csrf", "token"]


@pytest.mark.parametrize(
    ("value", "opaque"),
    [("a1" * 8, True), ("a1" * 7, False), ("a" * 20, False), ("1" * 20, False), ("two words 1 2 3 4 5", False)],
)
def test_opaque_value_is_recognised(value: str, opaque: bool) -> None:
    """A random identifier is long, has letters and digits and no spaces."""
    assert is_opaque(value) is opaque


@pytest.mark.parametrize(
    ("digits", "right"),
    [
        ("4111111111111111", True),
        ("4111111111111112", False),
        ("378282246310005", True),
        ("6011111111111117", True),
        ("0", True),
        ("18", True),
    ],
)
def test_luhn_check_digit_decides(digits: str, right: bool) -> None:
    """The check digit decides."""
    assert numbers.passes_luhn(digits) is right


@pytest.mark.parametrize(
    ("number", "right"),
    [
        ("DE89370400440532013000", True),
        ("DE88370400440532013000", False),
        ("GB29NWBK60161331926819", True),
        ("MT84MALT011000012345MTLCAST001S", True),
        ("DE89é", False),
    ],
)
def test_mod_97_check_digits_decide(number: str, right: bool) -> None:
    """The check digits of an account decide."""
    assert numbers.passes_mod_97(number) is right


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("4222222222222", ["card"]),
        ("6304000000000000", ["card"]),
        ("4111.1111.1111.1111, 4111%201111%201111%201111", ["card", "card"]),
        ("12 4111 1111 1111 1111 1", ["card"]),
        ("2024 4111 1111 1111 1111", ["card"]),
        ("NL91 ABNA 0417 1643 00", ["iban"]),
        ("xDE89370400440532013000", []),
        ("4111 1111-1111 1111", []),
        ("a4111111111111111", []),
        ("1.4111111111111111", []),
        ("1764191586123", []),
        ("666-12-3456 900-12-3456 123-00-4567 123-45-0000", []),
        ("", []),
    ],
)
def test_numbers_are_recognised_by_kind(text: str, kinds: list[str]) -> None:
    """Length, beginning, groups, neighbours and check digits together identify a number."""
    assert [kind for _, _, kind in numbers.find_numbers(text)] == kinds


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT * FROM t WHERE a='x' AND b=-5.5e-3 OR c=.5", "SELECT * FROM t WHERE a=? AND b=-? OR c=?"),
        ("VALUES (E'a\\'b', N'x', X'1F', U&'y', _utf8'z', 0x1F)", "VALUES (?, ?, ?, ?, _utf8?, ?)"),
        ("SELECT a FROM t WHERE id IN (1, 2,3 ) AND x in('a','b')", "SELECT a FROM t WHERE id IN (?) AND x in(?)"),
        ("SELECT 'it''s', 'a\\'b', 'c'", "SELECT ?, ?, ?"),
        ("SELECT 'C:\\', 'secret'", "SELECT ?, ?"),
        ("SELECT 'C:\\', 'secret', 'D:\\', 'x'", "SELECT ?, ?, ?, ?"),
        ("SELECT 'it\\'s', 'x\\'y', a", "SELECT ?, ?, a"),
        ("SELECT 'open", "SELECT ?"),
        ("SELECT $tag$ it's $$ $tag$, $$x$$, $1", "SELECT ?, ?, $1"),
        ('SELECT "a 1", `b 2` FROM [c] WHERE "d" = "e"."f"', 'SELECT "a 1", `b 2` FROM [c] WHERE "d" = "e"."f"'),
        ('INSERT INTO "t" ("a", "b") VALUES ("x", "y")', 'INSERT INTO "t" ("a", "b") VALUES (?, ?)'),
        ("SELECT a -- 'x' 5\nFROM t /* it's 5 */ WHERE b = ?", "SELECT a --\nFROM t /**/ WHERE b = ?"),
        ("SELECT t1.c2, $2, :3, @p4, %(id_5)s, ?6 FROM s1.t1", "SELECT t1.c2, $2, :3, @p4, %(id_5)s, ?6 FROM s1.t1"),
        ("CALL f(NULL, TRUE)", "CALL f(NULL, TRUE)"),
        ("", ""),
    ],
)
def test_statement_loses_its_literals_only(statement: str, expected: str) -> None:
    """Every kind of literal becomes a question mark; names, parameters and comment marks stay."""
    assert sql.obfuscate(statement) == expected
    assert sql.obfuscate(expected) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "(E) boom\n[SQL: SELECT 'a'\nFROM t]\n[parameters: {'p': 'x]\\ny'}]\n(Background)",
            f"(E) boom\n[SQL: SELECT ?\nFROM t]\n[parameters: {MASK}]\n(Background)",
        ),
        (
            '  File "/a.py", line 12\n    c.execute("delete from t where a = 5")\nE: 7',
            '  File "/a.py", line 12\n    c.execute("delete from t where a = ?")\nE: 7',
        ),
        ("LINE 1: SELECT 'x'\n               ^ 5", "LINE 1: SELECT ?\n               ^ 5"),
        ("ALTER USER bob IDENTIFIED BY 'x'; 5 left", "ALTER USER bob IDENTIFIED BY ?; ? left"),
    ],
)
def test_statement_within_text_loses_its_literals(text: str, expected: str) -> None:
    """A statement in a message or a trace loses its literals; numbers after it stay."""
    assert Redactor().text(text) == expected


def test_lowered_text_keeps_positions() -> None:
    """A letter that grows in lower case does not move those after it."""
    assert len(lowered("\u0130" * 3 + "PASSWORD")) == 11
    assert Redactor().text("\u0130\u0130 password=abc x") == f"\u0130\u0130 password={MASK} x"
