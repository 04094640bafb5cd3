"""The only address that the local backend listens on."""

from __future__ import annotations

import socket
from typing import Final

LOOPBACK: Final = "127.0.0.1"


def listen(port: int = 0) -> socket.socket:
    """Return a socket that listens on loopback, by default on a free port.

    Raises:
        OSError: ``port`` is taken.
    """
    return socket.create_server((LOOPBACK, port), backlog=128)
