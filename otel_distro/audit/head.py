"""The head: a small file beside the audit file that says where the chain ends, so that lines missing at its end are seen."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_distro.audit.seal import Link

if TYPE_CHECKING:
    from otel_distro.audit.seal import Seal

SUFFIX: Final = ".head"
SIZE: Final = 512
"""Bytes of the head. It is written over in one write within one page, which no kill divides."""

INTACT: Final = "intact"
BROKEN: Final = "broken"


class Head(NamedTuple):
    """Where the chain ends.

    ``link``: its last line. ``size``: of the file, with that line. ``state``: ``broken`` once it was found to be.
    ``ended``: whether the file is to be put away. ``key_id``: of the key of the lines.
    """

    link: Link
    size: int
    state: str
    ended: bool
    key_id: str

    def to_bytes(self, seal: Seal) -> bytes:
        """Return the content of the file, sealed."""
        said = (
            f'{{"sequence":{self.link.sequence},"hash":"{self.link.hash}","size":{self.size},"state":"{self.state}",'
            f'"ended":{str(self.ended).lower()},"key_id":"{self.key_id}"'
        ).encode("utf-8", "backslashreplace")
        whole = b'%b,"seal":"%b"}' % (said, seal.digest(said + b"}").encode())
        return whole.ljust(SIZE - 1) + b"\n"


def read_head(raw: bytes, seal: Seal) -> Head | None:
    """Return the head, or None where this is none, or none that ``seal`` made: every byte counts.

    A head of another key is returned as it is, its ``key_id`` tells: it cannot be checked.
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
