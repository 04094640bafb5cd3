"""Redaction reads a text once: a text ten times as long takes about ten times the work."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from otel_distro.redaction import Redactor, sql

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow

MEGABYTE = 1_000_000
LIMIT = 40
"""Upper bound for a text ten times as long. Quadratic work would take a hundred times as long."""

REPEATED = [
    *(
        "a",
        "1",
        "=",
        "'",
        '"',
        "\\",
        "-",
        " ",
        "\n",
        "@",
        "[",
        "é",
        "\u0130",
        "password",
        "tokentoken",
        "a.b.",
        "1 ",
        "x=1&",
    ),
    *(
        "://",
        "://a:",
        "eyJ",
        "eyJ-",
        "eyJ.",
        "xoxb-",
        "sk-",
        "ghp_",
        "SG.",
        "-----BEGIN PRIVATE KEY",
        "4111 ",
        "4111-1111-",
    ),
    *(
        "DE89",
        "AKIAIOSFODNN7EXAMPL1 ",
        "password=",
        "password='",
        'password="',
        "password: ",
        "pin=",
        "sid=",
        "sid='a",
        "sig=1,",
    ),
    *(
        "token=[",
        "token=[1]",
        "auth:/",
        "auth=abcd(",
        "auth: a b ",
        "cookie=a;",
        "cookie: a; ",
        "('cookie', '",
        "<password>",
    ),
    *(
        "--password ",
        "mysql -p",
        "select ",
        "SELECT ",
        "SELECT 1 FROM ",
        "insert into ",
        "insert into t (",
        "update a set b=",
        "key: ",
    ),
    *(
        "[SQL: SELECT ",
        "[parameters: ",
        "Key (a)=(",
        "row contains (",
        "Duplicate entry '",
        "; args=(",
        "[generated in ",
        "%3Dpass",
    ),
    *("bearer a", "basic YTpi ", "$$", "$a$", "/*", "--", "/bot123456:", "?", "#", "&", "a@a."),
]
WAYS: dict[str, Callable[[str], object]] = {
    "text": lambda text: Redactor(email=True).find(text),
    "sql": sql.obfuscate,
    "url": lambda text: Redactor().url(f"https://example.com/{text}"),
    "argv": lambda text: Redactor().argv(["mysql", *text.split(" ")]),
}


def work(way: Callable[[str], object], unit: str, size: int) -> float:
    """Return the seconds of processor time for a text of ``size`` made of ``unit``."""
    text = unit * (size // len(unit))
    started = time.process_time()
    way(text)
    return time.process_time() - started


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("unit", REPEATED, ids=repr)
def test_redaction_work_grows_linearly(unit: str, way: str) -> None:
    """A text ten times as long takes no more than a generous multiple of ten times the work."""
    small = max(work(WAYS[way], unit, 4_000) for _ in range(2))
    # The machine may be busy: one fast try is enough.
    assert any(work(WAYS[way], unit, 40_000) < max(LIMIT * small, 0.2) for _ in range(5))


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["a", "1", "=", "'", "eyJ", "password=", "x password=abc "], ids=repr)
def test_redaction_of_ten_megabytes_is_linear(unit: str) -> None:
    """Ten megabytes of the worst letters take about ten times as long as one."""
    redactor = Redactor()
    small = work(redactor.find, unit, MEGABYTE)
    assert work(redactor.find, unit, 10 * MEGABYTE) < max(LIMIT * small, 2)
