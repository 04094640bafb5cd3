"""What holds of redaction for every text, tried with texts made at random from what it looks for."""

from __future__ import annotations

import sys

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_distro.redaction import MASK, Redactor
from tests.support.redaction_corpus import NEAR_MISSES, PLANTED, Planted

TEXTS = [entry.value for entry in PLANTED if isinstance(entry.value, str)]
TEXTS += [entry.value for entry in NEAR_MISSES if isinstance(entry.value, str)]
SECRETS = [entry for entry in PLANTED if not entry.key]
# Statements reach as far as their text does, so that two of them in one text are not two things side by side.
LINES = [text for text in TEXTS if "\n" not in text and "SELECT" not in text and "INSERT" not in text]
PLAIN = [entry.value for entry in NEAR_MISSES if isinstance(entry.value, str)]
PIECES = [
    "password",
    "token=",
    "://",
    "@",
    "eyJ",
    "'",
    '"',
    "\\",
    "=",
    ":",
    "[",
    MASK,
    "?",
    "SELECT ",
    "4111 ",
    "-p",
    "\n",
    "%3D",
    "DE89",
    "$$",
]
letters = st.text(alphabet="=:'\"\\ -ab1[](){}<>/@.?&#%,;\n\u0130\ud800é", max_size=12)
anything = st.lists(st.one_of(st.sampled_from(TEXTS + PIECES), letters, st.text(max_size=6)), max_size=8).map("".join)
nested = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | anything | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(anything, inner, max_size=4) | st.tuples(inner, inner),
    max_leaves=12,
)
often = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)


@often
@given(anything)
def test_every_way_copes_with_every_text(text: str) -> None:
    """No text makes a method fail: a failure would be hidden and counted as one."""
    redactor = Redactor(email=True)
    for redact in (redactor.text, redactor.url, redactor.query, redactor.sql):
        assert isinstance(redact(text), str)
    redactor.argv(text.split(" "))
    assert "failure" not in redactor.hidden


@often
@given(st.one_of(st.sampled_from([entry.key for entry in PLANTED]), anything), nested)
def test_every_value_keeps_its_shape(key: str, value: object) -> None:
    """No value fails, and a container stays one of its type and length, unless its key hides it whole."""
    redactor = Redactor()
    redacted = redactor.value(key, value)
    assert "failure" not in redactor.hidden
    if redacted is not value and redacted != MASK:
        assert type(redacted) is type(value) or isinstance(value, (int, bytes))
        if isinstance(value, (list, tuple, dict)) and isinstance(redacted, (list, tuple, dict)):
            assert len(redacted) == len(value)


@often
@given(st.lists(st.sampled_from(LINES), max_size=5), st.sampled_from(["\n", " ", " | ", "; "]))
def test_redacting_twice_changes_nothing(lines: list[str], between: str) -> None:
    """What has been redacted is left alone, wherever it goes next."""
    once = Redactor(email=True).text(between.join(lines))
    assert Redactor(email=True).text(once) is once


@often
@given(st.lists(st.sampled_from(PLAIN), max_size=4), st.integers(0, 4), st.sampled_from(SECRETS))
def test_neighbours_do_not_protect_a_secret(lines: list[str], place: int, entry: Planted) -> None:
    """A planted secret is found on a line of its own, whatever the other lines are."""
    text = "\n".join([*lines[:place], entry.value, *lines[place:]])
    assert entry.secret not in Redactor().text(text)


@often
@given(
    st.text(
        alphabet=st.characters(exclude_characters="=:'\"(<%@-/.", exclude_categories=("Nd", "Lu", "Ll")), max_size=200
    )
)
def test_text_without_a_trigger_is_the_same_object(text: str) -> None:
    """A text without anything that a secret needs comes back itself, and so does its second occurrence."""
    redactor = Redactor(email=True)
    assert redactor.text(text) is text
    again = sys.intern(text)
    assert redactor.text(again) is again
    assert redactor.hidden == {}
