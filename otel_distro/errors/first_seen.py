"""Whether a fingerprint is new in this version of the service.

Known fingerprints are kept in a file that all processes of the service on the machine share.
"""

from __future__ import annotations

import os
from hashlib import sha256
from typing import Any, Final

from opentelemetry import trace

from otel_distro import schema
from otel_distro._runtime import threads
from otel_distro._runtime.diagnostics import say
from otel_distro._runtime.files import append_whole, lock_file
from otel_distro.errors.state import open_file

_MAX_FINGERPRINTS: Final = 10_000
_LINE_BYTES: Final = 17
_LOCK_TIMEOUT_S: Final = 0.1
"""How long a caller waits for the lock of this process, and for that of the file."""

_lock = threads.allocate_lock()
_service: tuple[Any, str] = (None, "")
"""The tracer provider, and the key of the service that its resource describes."""
_known: dict[str, set[str]] = {}
"""Key of a service -> fingerprints that this process knows of."""


def is_new(fingerprint: str) -> bool:
    """Return True the first time a process of this version of the service asks for ``fingerprint``.

    The file holds at most ten thousand fingerprints; after that none is new. Without a service
    name, and where the file cannot be written, only this process is considered.
    """
    key = _key()
    known = _known.get(key)
    if known is not None and fingerprint in known:
        return False
    if not _lock.acquire(True, _LOCK_TIMEOUT_S):
        return False
    try:
        known = _known.setdefault(key, set())
        if fingerprint in known or len(known) >= _MAX_FINGERPRINTS:
            return False
        known.add(fingerprint)
        if not key:
            return True
        try:
            return _add(f"{key}.seen", fingerprint, known)
        except OSError as error:
            say(
                f"first occurrences of errors are tracked per process, because their file cannot be used ({error}); "
                "python.exception.first_seen may be true more than once",
                cause="first seen",
                code="OD501",
            )
            return True
    finally:
        _lock.release()


def reset_after_fork() -> None:
    """Replace the lock: the thread that holds it may not exist in the forked child."""
    global _lock
    _lock = threads.allocate_lock()


def _key() -> str:
    global _service
    provider, key = _service
    if provider is not trace.get_tracer_provider():
        provider = trace.get_tracer_provider()
        resource: Any = getattr(provider, "resource", None)
        attributes = resource.attributes if resource is not None else {}
        names = (schema.SERVICE_NAMESPACE, schema.SERVICE_NAME, schema.SERVICE_VERSION, schema.DEPLOYMENT_ENVIRONMENT)
        values = [str(attributes.get(name.name, "")) for name in names]
        key = sha256("\n".join(values).encode("utf-8", "replace")).hexdigest()[:24] if values[1] else ""
        _service = (provider, key)
    return key


def _add(name: str, fingerprint: str, known: set[str]) -> bool:
    descriptor = open_file(name, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    try:
        lock_file(descriptor, _LOCK_TIMEOUT_S)
        text = os.read(descriptor, _MAX_FINGERPRINTS * _LINE_BYTES).decode("ascii", "replace")
        stored = text.split()
        known.update(stored)
        if fingerprint in stored or len(stored) >= _MAX_FINGERPRINTS:
            return False
        # A line that a crash has cut off must not be joined with this one.
        start = "" if not text or text.endswith("\n") else "\n"
        append_whole(descriptor, f"{start}{fingerprint}\n".encode(), os.fstat(descriptor).st_size)
        return True
    finally:
        os.close(descriptor)
