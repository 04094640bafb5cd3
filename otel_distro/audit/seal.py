"""Seal lines of the audit file with a hash, parse them, and check that they form a chain.

A line is a JSON object whose last member is the digest of everything before it:

.. code-block:: json

    {"sequence":2,"previous":"<hash of line 1>","event_name":"audit.auth.login",…,"hash":"<digest>"}

``hash`` is the SHA-256, or with a key the HMAC-SHA-256 (https://www.rfc-editor.org/rfc/rfc2104), of
the object without ``hash``, as the bytes in the file: ``jq -cj 'del(.hash)'`` prints them.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otel_distro._runtime.json_lines import line

if TYPE_CHECKING:
    from collections.abc import Mapping

START: Final = "start"
END: Final = "end"
"""Values of the member ``chain`` of the first line of a file, and of the last of a rotated one."""

ZERO_HASH: Final = "0" * 64
"""``previous`` of the first line of a chain."""

MAX_LINE_BYTES: Final = 64 * 1024 * 1024

_OWN: Final = frozenset({"sequence", "previous", "chain", "hash"})

_BEGINNING: Final = re.compile(
    rb'\{"sequence":([1-9][0-9]{0,17}),"previous":"([0-9a-f]{64})",(?:"chain":"(start|end)",)?'
)
_HEADER: Final = re.compile(rb'"cause":"([a-z]+)","algorithm":"([a-z0-9-]+)","key_id":"([0-9a-f]*)",')
_ENDING: Final = re.compile(rb',"hash":"([0-9a-f]{64})"\}')
_ENDING_BYTES: Final = len(',"hash":""}') + 64


class Link(NamedTuple):
    """A place in a chain: the number of a line and its hash."""

    sequence: int
    hash: str


class ParsedLine(NamedTuple):
    """The members of a line that form the chain. ``valid``: the hash matches the content."""

    link: Link
    previous: str
    chain: str
    valid: bool


class Header(NamedTuple):
    """Members of the first line of a file: why it was started, and how its lines are sealed."""

    cause: str
    algorithm: str
    key_id: str


class Seal:
    """Computes digests, with a key if one is given: without it no valid line can be made."""

    def __init__(self, key: bytes = b"") -> None:
        self._key = key
        self.algorithm = "hmac-sha256" if key else "sha256"
        self.key_id = hmac.new(key, b"otel-distro audit key", hashlib.sha256).hexdigest()[:16] if key else ""
        """Identifies the key without disclosing it; empty without a key."""

    def digest(self, data: bytes) -> str:
        """Return the digest as 64 hexadecimal digits."""
        if self._key:
            return hmac.digest(self._key, data, "sha256").hex()
        return hashlib.sha256(data).hexdigest()

    def seal(self, after: Link, fields: Mapping[str, Any], chain: str = "") -> tuple[bytes, Link]:
        """Return the line that follows ``after``, with its line end, and its link.

        ``chain``: :data:`START` or :data:`END` for the first or last line of a file.
        """
        sequence = after.sequence + 1
        marker = {"chain": chain} if chain else {}
        others = {f"{key}_extracted" if key in _OWN else key: value for key, value in fields.items()}
        body = line({"sequence": sequence, "previous": after.hash, **marker, **others})[:-1]
        digest = self.digest(body)
        return b'%b,"hash":"%b"}\n' % (body[:-1], digest.encode()), Link(sequence, digest)

    def parse(self, text: bytes) -> ParsedLine | None:
        """Parse a line without its line end; return None if it has not the form of one."""
        beginning = _BEGINNING.match(text)
        ending = _ENDING.fullmatch(text[-_ENDING_BYTES:])
        if beginning is None or ending is None:
            return None
        stated = ending[1].decode()
        return ParsedLine(
            Link(int(beginning[1]), stated),
            beginning[2].decode(),
            (beginning[3] or b"").decode(),
            hmac.compare_digest(self.digest(text[:-_ENDING_BYTES] + b"}"), stated),
        )

    def header(self, cause: str) -> dict[str, Any]:
        """Return the members that describe a file in its first line."""
        return {"cause": cause, "algorithm": self.algorithm, "key_id": self.key_id}


def header_of(text: bytes) -> Header | None:
    """Return the header in the first line of a file, or None if it is not a first line."""
    beginning = _BEGINNING.match(text)
    found = _HEADER.match(text, beginning.end()) if beginning is not None and beginning[3] == b"start" else None
    return None if found is None else Header(*(part.decode() for part in found.groups()))


class ChainCheck:
    """Checks line after line whether each is valid and follows the line before it.

    ``last``: the link after which the lines begin; None accepts any first line.
    """

    def __init__(self, seal: Seal, last: Link | None = None) -> None:
        self._seal = seal
        self.last = last
        """The link of the last line that was checked."""
        self.previous = Link(0, ZERO_HASH)
        """The link of the line before it, as it states itself."""
        self.ended = False
        """Whether it is the last line of a rotated file."""

    def step(self, text: bytes) -> str:
        """Check the next line, without its line end; return the problem, empty for a good line."""
        parsed = self._seal.parse(text)
        if parsed is None:
            return "is not a line of the chain"
        before, ended, self.last, self.ended = self.last, self.ended, parsed.link, parsed.chain == END
        self.previous = Link(parsed.link.sequence - 1, parsed.previous)
        if not parsed.valid:
            return "was changed: its hash does not match its content"
        if ended:
            return "follows the last line of the file"
        if before is None:
            return ""
        if parsed.chain == START and (header := header_of(text)) is not None and header.cause == "broken":
            return "marks where the chain was found broken and restarted"
        if parsed.link.sequence != before.sequence + 1:
            gap = _gap(parsed, before)
            return f"has the number {parsed.link.sequence} and follows number {before.sequence}: {gap}"
        if parsed.previous != before.hash:
            return "does not follow the line before it: one of the two was replaced"
        if parsed.chain == START:
            return "is the first line of a file, in the middle of one"
        return ""


def _gap(parsed: ParsedLine, before: Link) -> str:
    missing = parsed.link.sequence - before.sequence - 1
    if missing > 0:
        return f"{missing} {'line is' if missing == 1 else 'lines are'} missing"
    return "lines were inserted or reordered"
