"""The Collector's redaction has the words and patterns of the table, and hides only secrets."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from collector.__main__ import main
from collector.redaction import NAMES
from otel_distro.redaction import table
from otel_distro.redaction.keys import Keys
from tests.support.redaction_corpus import AWS_KEY, NEAR_MISSES, PLANTED, NearMiss, Planted

COLLECTOR = Path(__file__).parents[2] / "collector"
CONFIG = yaml.safe_load((COLLECTOR / "config.yaml").read_text(encoding="utf-8"))
REDACTION = yaml.safe_load((COLLECTOR / "redaction.yaml").read_text(encoding="utf-8"))
LISTS: dict[str, Any] = REDACTION["processors"]["redaction"]

NEEDS_MORE_THAN_PATTERNS = re.compile(
    r"SELECT|INSERT|SET PASSWORD|FROM t|Duplicate entry|Key \(email|input syntax|generated in|parameters:"  # literals
    r"|4111|5500-|378282|DE89|GB29|123-45"  # check digits
    r"|mysql -uroot|/mysql|sshpass|curl -s|docker login|passin|--db-password|MYSQL_PWD|\"pw\""  # commands, keys within values
    r"|^https://hunter|code=|p%61ss|changed password|invalid api key|otp: |'set-cookie': \("
)
"""Secrets that only the distribution finds: the Collector's patterns stay few, cheap and safe."""


def needs_more_than_patterns(planted: Planted) -> bool:
    """Return whether only our own SDK sees the secret."""
    if (planted.channel, planted.secret) == ("text", AWS_KEY):
        return True
    return NEEDS_MORE_THAN_PATTERNS.search(as_text(planted.value)) is not None


def patterns(name: str) -> list[re.Pattern[str]]:
    """Return patterns of the configuration, which writes a dollar sign twice."""
    return [re.compile(pattern.replace("$$", "$")) for pattern in LISTS[name]]


IGNORED, BLOCKED = patterns("ignored_key_patterns"), patterns("blocked_key_patterns")
ALLOWED, SHAPES = patterns("allowed_values"), patterns("blocked_values")


def masked(key: str, value: Any) -> str:
    """Return what the processor makes of an attribute, as its documentation says it."""
    text = as_text(value)
    kept = key in LISTS["ignored_keys"] or any(p.search(key) for p in IGNORED) or any(p.search(text) for p in ALLOWED)
    if kept:
        return text
    if any(p.search(key) for p in BLOCKED):
        return "****"
    for shape in SHAPES:
        text = shape.sub("****", text)
    return text


def as_text(value: Any) -> str:
    """Return a value as the Collector writes it as text."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=repr)


def test_committed_file_equals_the_generated_one() -> None:
    """`python -m collector --check`, as the CI runs it, finds nothing to do."""
    done = subprocess.run(
        [sys.executable, "-m", "collector", "--check"],
        cwd=COLLECTOR.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_check_of_a_changed_file_fails_and_writing_repairs_it(tmp_path: Path) -> None:
    """The check names a missing or edited file and fails; without `--check` the file is written."""
    file = tmp_path / "redaction.yaml"
    assert main(["--check"], file) == 1
    assert not file.exists()
    assert main([], file) == 0
    assert main(["--check"], file) == 0
    file.write_text(file.read_text(encoding="utf-8").replace("AKIA", "AKIB"), encoding="utf-8")
    assert main(["--check"], file) == 1
    assert file.read_text(encoding="utf-8") != (COLLECTOR / "redaction.yaml").read_text(encoding="utf-8")


def test_generated_file_contains_only_the_processor() -> None:
    """The lists have one place: merged with the other file they replace nothing of it."""
    assert list(REDACTION) == ["processors"]
    assert list(REDACTION["processors"]) == ["redaction"]
    assert "redaction" not in CONFIG["processors"]


@pytest.mark.parametrize("name", NAMES)
def test_pattern_with_a_name_in_a_text_has_a_secret_key_of_the_table(name: str) -> None:
    """The Collector hides the value of no name in a text that the SDK would show."""
    assert Keys().classify(name)


@pytest.mark.parametrize(
    "word", sorted(table.PASSWORD_WORDS | table.HEADER_WORDS | table.SECRET_WORDS | table.LAST_WORDS)
)
def test_key_ending_in_a_secret_word_is_masked(word: str) -> None:
    """A key that ends with the word is masked, in any case; a longer word around it is not."""
    assert masked(f"shop.{word}", "x1") == masked(f"SHOP_{word.upper()}", "x1") == "****"
    assert masked(f"{word}izer", "x1") == "x1"


def test_ignored_keys_contain_no_secret() -> None:
    """Ignored keys are identities of the table, or names that the distribution ignores too."""
    assert set(LISTS["ignored_keys"]) >= table.IDENTITIES
    assert not [key for key in LISTS["ignored_keys"] if Keys().classify(key)]
    assert not {planted.key for planted in PLANTED} & set(LISTS["ignored_keys"])


@pytest.mark.parametrize("word", sorted(table.NEGATING_WORDS))
def test_key_with_a_negating_word_is_not_masked(word: str) -> None:
    """`has_token` holds no token."""
    assert masked(f"{word}_token", "yes") == "yes"


@pytest.mark.parametrize("begin", sorted(table.TOKENS))
def test_patterns_contain_each_token_prefix_of_the_table(begin: str) -> None:
    """The Collector's patterns know the token prefixes of all issuers in the table."""
    known = " ".join(LISTS["blocked_values"]).replace("\\", "")
    assert begin in known


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_planted_secrets_are_hidden(planted: Planted) -> None:
    """Each planted secret is hidden, except exactly those that need more than a pattern."""
    hidden = planted.secret not in masked(planted.key or "body", planted.value)
    assert hidden is not needs_more_than_patterns(planted)


@pytest.mark.parametrize("near", NEAR_MISSES, ids=lambda near: near.name)
def test_near_miss_is_not_masked(near: NearMiss) -> None:
    """A text that only looks like a secret passes unchanged."""
    if near.value != "********":
        assert masked(near.key or "body", near.value) == as_text(near.value)


def test_mask_of_the_distribution_is_unchanged() -> None:
    """A mask is not masked again, so a reader sees which of the two redactions hid a value."""
    for value in (table.MASK, [table.MASK, table.MASK], "********"):
        assert masked("db.password", value) == as_text(value)


def test_blocked_value_pattern_begins_with_a_literal() -> None:
    """With a literal first, Go's matcher needs microseconds for a stack trace, not milliseconds."""
    for shape in LISTS["blocked_values"]:
        assert re.match(r"[\w:/.-]{2}", shape.replace("\\", "")), shape


def test_redaction_in_each_pipeline_follows_the_memory_limiter() -> None:
    """In every pipeline of received telemetry: nothing is derived, routed or stored before it."""
    for name, pipeline in CONFIG["service"]["pipelines"].items():
        if "otlp" in pipeline["receivers"]:
            steps = [step for step in pipeline["processors"] if step != "transform/to_attributes"]
            assert steps[:2] == ["memory_limiter", "redaction"], name
