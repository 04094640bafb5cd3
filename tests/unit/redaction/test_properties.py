"""Properties of redaction for every text, tried with random texts of relevant pieces."""

from __future__ import annotations

import sys

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_distro.redaction import MASK, Redactor
from tests.support.redaction_corpus import NEAR_MISSES, PLANTED, Planted

TEXTS = [entry.value for entry in PLANTED if isinstance(entry.value, str)]
TEXTS += [entry.value for entry in NEAR_MISSES if isinstance(entry.value, str)]
SECRETS = [entry for entry in PLANTED if not entry.key]
# A statement reaches to the end of its text, so two of them in one text are not independent.
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
def test_random_text_never_fails(text: str) -> None:
    """No text makes a method fail: a failure would be counted."""
    redactor = Redactor(email=True)
    for redact in (redactor.text, redactor.url, redactor.query, redactor.sql):
        assert isinstance(redact(text), str)
    redactor.argv(text.split(" "))
    assert "failure" not in redactor.hidden


@often
@given(st.one_of(st.sampled_from([entry.key for entry in PLANTED]), anything), nested)
def test_random_value_keeps_its_shape(key: str, value: object) -> None:
    """No value fails, and a container keeps type and length, unless its key hides it whole."""
    redactor = Redactor()
    redacted = redactor.value(key, value)
    assert "failure" not in redactor.hidden
    if redacted is not value and redacted != MASK:
        assert type(redacted) is type(value) or isinstance(value, (int, bytes))
        if isinstance(value, (list, tuple, dict)) and isinstance(redacted, (list, tuple, dict)):
            assert len(redacted) == len(value)


@often
@given(st.lists(st.sampled_from(LINES), max_size=5), st.sampled_from(["\n", " ", " | ", "; "]))
def test_redacted_text_is_not_changed_again(lines: list[str], between: str) -> None:
    """A redacted value is not changed by a second redaction."""
    once = Redactor(email=True).text(between.join(lines))
    assert Redactor(email=True).text(once) is once


@often
@given(st.lists(st.sampled_from(PLAIN), max_size=4), st.integers(0, 4), st.sampled_from(SECRETS))
def test_secret_between_random_lines_is_hidden(lines: list[str], place: int, entry: Planted) -> None:
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
    """A text without triggers is returned as the same object, also at its second occurrence."""
    redactor = Redactor(email=True)
    assert redactor.text(text) is text
    again = sys.intern(text)
    assert redactor.text(again) is again
    assert redactor.hidden == {}
