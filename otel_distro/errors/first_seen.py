"""Whether a fingerprint is new in this version of the service: remembered in a file that its processes share."""

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

_MOST: Final = 10_000
_LENGTH: Final = 17
_PATIENCE: Final = 0.1

_lock = threads.allocate_lock()
_service: tuple[Any, str] = (None, "")
_known: dict[str, set[str]] = {}
"""Name of the file -> fingerprints this process knows of."""


def is_new(fingerprint: str) -> bool:
    """Return whether nobody has asked for this fingerprint since this version of the service is there.

    The file holds at most ten thousand; after that nothing is new. Without a name of the service, and where the disk cannot
    be written, this process remembers for itself alone.
    """
    key = _key()
    known = _known.get(key)
    if known is not None and fingerprint in known:
        return False
    if not _lock.acquire(True, _PATIENCE):
        return False
    try:
        known = _known.setdefault(key, set())
        if fingerprint in known or len(known) >= _MOST:
            return False
        known.add(fingerprint)
        if not key:
            return True
        try:
            return _add(f"{key}.seen", fingerprint, known)
        except OSError as error:
            say(f"new errors are told apart by each process for itself: {error}", cause="first seen")
            return True
    finally:
        _lock.release()


def renew() -> None:
    """Make the lock anew: in a forked child it may be held for ever."""
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
        lock_file(descriptor, _PATIENCE)
        text = os.read(descriptor, _MOST * _LENGTH).decode("ascii", "replace")
        there = text.split()
        known.update(there)
        if fingerprint in there or len(there) >= _MOST:
            return False
        # A line that a crash has cut off must not swallow this one.
        start = "" if not text or text.endswith("\n") else "\n"
        append_whole(descriptor, f"{start}{fingerprint}\n".encode(), os.fstat(descriptor).st_size)
        return True
    finally:
        os.close(descriptor)
