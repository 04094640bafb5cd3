"""How a line of the audit file is sealed, and what can be read of a sealed line.

A line is an object of JSON whose last member is the digest of all that stands before it:

.. code-block:: json

    {"sequence":2,"previous":"<hash of line 1>","timestamp":"…","event_name":"audit.auth.login",…,"hash":"<64 digits>"}

``hash`` is the SHA-256, or with a key the HMAC-SHA-256 (https://www.rfc-editor.org/rfc/rfc2104), of the object without ``hash``, as
the bytes that stand in the file: ``jq -cj 'del(.hash)'`` gives them.
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
"""What the first line of a file, and the last of one that was put away, have as their member ``chain``."""

NOTHING: Final = "0" * 64
"""The hash before the first line of a chain."""

LONGEST_LINE: Final = 64 * 1024 * 1024

_OWN: Final = frozenset({"sequence", "previous", "chain", "hash"})

_BEGINNING: Final = re.compile(
    rb'\{"sequence":([1-9][0-9]{0,17}),"previous":"([0-9a-f]{64})",(?:"chain":"(start|end)",)?'
)
_HEADER: Final = re.compile(rb'"cause":"([a-z]+)","algorithm":"([a-z0-9-]+)","key_id":"([0-9a-f]*)",')
_ENDING: Final = re.compile(rb',"hash":"([0-9a-f]{64})"\}')
_ENDING_LENGTH: Final = len(',"hash":""}') + 64


class Link(NamedTuple):
    """A place in a chain: the number of a line and its hash."""

    sequence: int
    hash: str


class Read(NamedTuple):
    """What stands in a line. ``true``: the hash is that of the rest."""

    link: Link
    previous: str
    chain: str
    true: bool


class Header(NamedTuple):
    """What the first line of a file says of the file: why it was begun, and how its lines are sealed."""

    cause: str
    algorithm: str
    key_id: str


class Seal:
    """Computes digests, with a key where there is one. Who does not know the key cannot make a line that holds."""

    def __init__(self, key: bytes = b"") -> None:
        self._key = key
        self.algorithm = "hmac-sha256" if key else "sha256"
        self.key_id = hmac.new(key, b"otel-distro audit key", hashlib.sha256).hexdigest()[:16] if key else ""
        """Tells one key from another and does not give it away; empty without a key."""

    def digest(self, data: bytes) -> str:
        """Return the digest in 64 hexadecimal digits."""
        if self._key:
            return hmac.digest(self._key, data, "sha256").hex()
        return hashlib.sha256(data).hexdigest()

    def seal(self, after: Link, fields: Mapping[str, Any], chain: str = "") -> tuple[bytes, Link]:
        """Return the line that follows ``after``, its end included, and its link."""
        sequence = after.sequence + 1
        mark = {"chain": chain} if chain else {}
        others = {f"{key}_extracted" if key in _OWN else key: value for key, value in fields.items()}
        body = line({"sequence": sequence, "previous": after.hash, **mark, **others})[:-1]
        digest = self.digest(body)
        return b'%b,"hash":"%b"}\n' % (body[:-1], digest.encode()), Link(sequence, digest)

    def read(self, text: bytes) -> Read | None:
        """Return what stands in a line (without its end), or None where it does not look like one."""
        beginning = _BEGINNING.match(text)
        ending = _ENDING.fullmatch(text[-_ENDING_LENGTH:])
        if beginning is None or ending is None:
            return None
        stated = ending[1].decode()
        return Read(
            Link(int(beginning[1]), stated),
            beginning[2].decode(),
            (beginning[3] or b"").decode(),
            hmac.compare_digest(self.digest(text[:-_ENDING_LENGTH] + b"}"), stated),
        )

    def header(self, cause: str) -> dict[str, Any]:
        """Return the members that tell of a file in its first line."""
        return {"cause": cause, "algorithm": self.algorithm, "key_id": self.key_id}


def header_of(text: bytes) -> Header | None:
    """Return what the first line of a file says of the file, or None where it is not a first line."""
    beginning = _BEGINNING.match(text)
    found = _HEADER.match(text, beginning.end()) if beginning is not None and beginning[3] == b"start" else None
    return None if found is None else Header(*(part.decode() for part in found.groups()))


class Walk:
    """Goes from line to line and says of each what is wrong with it."""

    def __init__(self, seal: Seal, at: Link | None = None) -> None:
        self._seal = seal
        self.at = at
        """The last line that was read; None where nothing was read and any line may come first."""
        self.previous = Link(0, NOTHING)
        """The line before it, as it says itself."""
        self.ended = False
        """Whether it says that the file ends with it."""

    def step(self, text: bytes) -> str:
        """Take the next line, without its end, and return what is wrong with it, in words; empty where nothing is."""
        read = self._seal.read(text)
        if read is None:
            return "is not a line of the chain"
        before, ended, self.at, self.ended = self.at, self.ended, read.link, read.chain == END
        self.previous = Link(read.link.sequence - 1, read.previous)
        if not read.true:
            return "was changed: its hash is not that of what it says"
        if ended:
            return "stands after the end"
        if before is None:
            return ""
        if read.chain == START and (header := header_of(text)) is not None and header.cause == "broken":
            return "is where the chain was found broken and was begun anew"
        if read.link.sequence != before.sequence + 1:
            return f"has the number {read.link.sequence} and follows number {before.sequence}: {_missing(read, before)}"
        if read.previous != before.hash:
            return "does not follow the line before it: one of them was put in the place of another"
        if read.chain == START:
            return "is the beginning of a file in the middle of one"
        return ""


def _missing(read: Read, before: Link) -> str:
    gap = read.link.sequence - before.sequence - 1
    if gap > 0:
        return f"{gap} {'line is' if gap == 1 else 'lines are'} missing"
    return "lines were inserted or put into another order"
