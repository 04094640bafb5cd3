"""The one address the local backend ever listens on."""

from __future__ import annotations

import socket
from typing import Final

LOOPBACK: Final = "127.0.0.1"


def listen(port: int = 0) -> socket.socket:
    """Return a socket that listens on loopback, on a free port by default. Raises OSError when ``port`` is taken."""
    return socket.create_server((LOOPBACK, port), backlog=128)
