"""Numbers of payment cards, bank accounts (IBAN) and US social security.

Their check digits distinguish them from the many other long numbers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from otel_distro.redaction import table
from otel_distro.redaction.literals import ahead, lazy

if TYPE_CHECKING:
    from collections.abc import Iterator

CANDIDATE: Final = re.compile(r"[0-9][0-9][0-9](?:[0-9](?:%20|[ .+-])?[0-9]{4}|-[0-9]{2}-[0-9]{4})")
"""Digits that every such number contains: a text without a match needs no closer look."""

_GROUPS: Final = r"[0-9]{4}(?P<gap>%20|[ .+-])[0-9]{4}(?P=gap)[0-9]{4}(?P=gap)[0-9]{1,4}"
_CARDS: Final = (
    lazy(r"[0-9]{13,19}(?![0-9])"),
    lazy(_GROUPS),
    lazy(_GROUPS + r"(?P=gap)[0-9]{1,3}"),
    lazy(r"[0-9]{4}(?P<gap>%20|[ .+-])[0-9]{6}(?P=gap)[0-9]{4,5}"),
)
_SSN: Final = lazy(r"(?!000|666|9)[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}")
_IBAN: Final = lazy(r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}(?:(?:%20|[ +-])?[A-Z0-9]){11,30}")
_DIGITS: Final = lazy(r"[0-9]+")
_IBAN_BEGIN: Final = lazy(r"[A-Z]{2}[0-9]{2}")
_IBAN_GAP: Final = lazy(r"%20|[ +-]")
_UUID: Final = lazy(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_REACH: Final = 24
_MAX_IBAN_LENGTH: Final = 64

Found = tuple[int, int, str]


def find_numbers(text: str) -> Iterator[Found]:
    """Yield start, end and kind (``card``, ``iban``, ``ssn``) of every such number."""
    next_iban = ahead(_IBAN_BEGIN, text)
    at = 0
    while candidate := CANDIDATE.search(text, at):
        start = candidate.start()
        reach = max(start - _REACH, at)
        found = (
            (_iban(text, start, reach) if next_iban(reach) <= start else None)
            or _card(text, start)
            or _ssn(text, start)
        )
        if found:
            yield found
            at = found[1]
        else:
            # A number begins where its digits begin, so the rest of this run of digits cannot
            # match.
            at = _end_of_digits(text, start)


def _card(text: str, start: int) -> Found | None:
    if text[max(start - 1, 0) : start].isalnum():
        return None
    for shape in _CARDS:
        found = shape.match(text, start)
        if found and _is_card(text, start, found.end()):
            return start, found.end(), "card"
    return None


def _is_card(text: str, start: int, end: int) -> bool:
    digits = "".join(filter(str.isdecimal, text[start:end].replace("%20", "")))
    if not table.CARD.match(digits) or not passes_luhn(digits):
        return False
    if text[end : end + 1].isalnum() or _in_fraction(text, start, end):
        return False
    return _UUID.search(text, max(start - _REACH, 0), end + _REACH) is None


def _in_fraction(text: str, start: int, end: int) -> bool:
    """Return whether the digits are one side of a decimal point."""
    before, after = text[max(start - 2, 0) : start], text[end : end + 2]
    return (before[-1:] == "." and before[:1].isdecimal()) or (after[:1] == "." and after[1:].isdecimal())


def _ssn(text: str, start: int) -> Found | None:
    found = _SSN.match(text, start)
    if found is None:
        return None
    before, after = text[max(start - 1, 0) : start], text[found.end() : found.end() + 1]
    if before.isalnum() or before == "-" or after.isalnum() or after == "-":
        return None
    return start, found.end(), "ssn"


def _iban(text: str, start: int, at: int) -> Found | None:
    """Return the IBAN around a run of digits; letters of country and bank may precede the run."""
    while found := _IBAN.search(text, at, start + _MAX_IBAN_LENGTH):
        number, end = _cut(found.group(), table.IBAN_LENGTHS.get(found.group()[:2], 0))
        end += found.start()
        if number and not text[end : end + 1].isalnum() and passes_mod_97(number):
            return found.start(), end, "iban"
        at = found.start() + 1
    return None


def _cut(text: str, length: int) -> tuple[str, int]:
    """Return the first ``length`` letters and digits, and where they end.

    Returns an empty string and 0 where there are fewer.
    """
    number, at = "", 0
    while len(number) < length and at < len(text):
        gap = _IBAN_GAP.match(text, at)
        number, at = (number, gap.end()) if gap else (number + text[at], at + 1)
    return (number, at) if length and len(number) == length else ("", 0)


def _end_of_digits(text: str, start: int) -> int:
    found = _DIGITS.match(text, start)
    return found.end() if found else start + 1


def passes_luhn(digits: str) -> bool:
    """Return whether the last digit is the check digit of the others.

    Every payment card has one (Luhn, ISO/IEC 7812-1).
    """
    total = 0
    for index, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (2 if index % 2 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


def passes_mod_97(number: str) -> bool:
    """Return whether the check digits of an IBAN without gaps are right (ISO 13616)."""
    if not number.isalnum() or not number.isascii():
        return False
    return int("".join(str(int(letter, 36)) for letter in number[4:] + number[:4])) % 97 == 1
