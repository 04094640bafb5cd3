"""The head: a small file beside the audit file that states where the chain ends.

Without it, lines missing at the end of the file could not be detected.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_distro.audit.seal import Link

if TYPE_CHECKING:
    from otel_distro.audit.seal import Seal

SUFFIX: Final = ".head"
SIZE: Final = 512
"""Bytes of the head: one write within one page overwrites it, which no kill can interrupt."""

INTACT: Final = "intact"
BROKEN: Final = "broken"


class Head(NamedTuple):
    """Where the chain ends.

    - ``link``: its last line.
    - ``size``: bytes of the file up to the end of that line.
    - ``state``: ``intact``; ``broken`` once a problem was found.
    - ``ended``: the file is complete and about to be rotated.
    - ``key_id``: identifies the key of the lines.
    """

    link: Link
    size: int
    state: str
    ended: bool
    key_id: str

    def to_bytes(self, seal: Seal) -> bytes:
        """Return the content of the file, sealed."""
        members = (
            f'{{"sequence":{self.link.sequence},"hash":"{self.link.hash}","size":{self.size},"state":"{self.state}",'
            f'"ended":{str(self.ended).lower()},"key_id":"{self.key_id}"'
        ).encode("utf-8", "backslashreplace")
        whole = b'%b,"seal":"%b"}' % (members, seal.digest(members + b"}").encode())
        return whole.ljust(SIZE - 1) + b"\n"


def read_head(raw: bytes, seal: Seal) -> Head | None:
    """Return the head; None if it is malformed, or differs in any byte from what ``seal`` writes.

    A head of another key cannot be checked and is returned as it is; compare its ``key_id``.
    """
    try:
        fields = json.loads(raw)
        head = Head(
            Link(int(fields["sequence"]), str(fields["hash"])),
            int(fields["size"]),
            str(fields["state"]),
            bool(fields["ended"]),
            str(fields["key_id"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return head if head.key_id != seal.key_id or head.to_bytes(seal) == raw else None
