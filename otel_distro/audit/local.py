"""The audit file that the settings name, and what becomes of an event in it."""

from __future__ import annotations

import json
import os
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from otel_distro import schema, settings
from otel_distro._otel import events
from otel_distro._runtime.diagnostics import say
from otel_distro.audit.chain import AuditFile
from otel_distro.audit.head import BROKEN, INTACT
from otel_distro.audit.seal import Link, Seal
from otel_distro.export.log_file.json_lines import add_attributes, fixed_fields
from otel_distro.redaction import Redactor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.metrics import Observation

_FAILED: Final = ("WARN", 13)
_FINE: Final = ("INFO", 9)
_LONGEST_TEXT: Final = 16 * 1024
_MOST_FIELDS: Final = 500


class LocalFile:
    """Writes audit events to a chain, redacted."""

    def __init__(self, path: str, environ: Mapping[str, str]) -> None:
        self.path = path
        self._redactor = Redactor.from_environment(environ)
        self._service = service_name(environ)
        self.chain = AuditFile(
            path,
            Seal(key_from(environ)),
            size=settings.OTEL_DISTRO_AUDIT_FILE_MAX_BYTES.get(environ),
            durable=settings.OTEL_DISTRO_AUDIT_FSYNC.get(environ),
        )

    def write(
        self, timestamp: int, event_name: str, outcome: str, body: str, attributes: Mapping[str, Any]
    ) -> Link | None:
        """Write an event; on return the kernel has it. Return its link, or None where it has to wait."""
        text, number = _FAILED if outcome == events.FAILURE else _FINE
        fields = fixed_fields(timestamp, text, number, body, event_name, events.active_span(), self._redactor)
        if self._service:
            fields[schema.SERVICE_NAME.label] = self._service
        fields[schema.PROCESS_PID.label] = os.getpid()
        add_attributes(fields, attributes, self._redactor)
        return self.chain.append(_bounded(fields))

    def observe(self) -> list[Observation]:
        """Read on in the file for a bounded time and return its state: 1 for the one it is in, 0 for the other."""
        from opentelemetry.metrics import Observation

        state = self.chain.look()
        known = (INTACT, BROKEN) if state else ()
        return [Observation(int(state == each), {schema.AUDIT_CHAIN_STATE.name: each}) for each in known]


def _bounded(fields: dict[str, Any]) -> dict[str, Any]:
    """Return fields of which a line can be made that is not longer than whoever reads it expects."""
    found: dict[str, Any] = {}
    for key, value in islice(fields.items(), _MOST_FIELDS):
        text = value if isinstance(value, str) else json.dumps(value) if isinstance(value, list) else ""
        found[key] = text[:_LONGEST_TEXT] if len(text) > _LONGEST_TEXT else value
    return found


def key_from(environ: Mapping[str, str]) -> bytes:
    """Return the key that the settings give, empty where they give none; a file that gives none costs one line."""
    path = settings.OTEL_DISTRO_AUDIT_KEY_FILE.get(environ)
    if not path:
        return settings.OTEL_DISTRO_AUDIT_KEY.get(environ).encode("utf-8", "surrogateescape")
    try:
        key = read_key(path)
        problem = "" if key else "it is empty"
    except OSError as error:
        key, problem = b"", error.strerror or str(error)
    if problem:
        say(f"{settings.OTEL_DISTRO_AUDIT_KEY_FILE.name}={path}: {problem}; the audit file is written without a key")
    return key


def read_key(path: str) -> bytes:
    """Return the key in a file, without white space around it. Raises ``OSError``."""
    with open(path, "rb") as file:
        return file.read(64 * 1024).strip()


def service_name(environ: Mapping[str, str]) -> str:
    """Return the name of the service that the environment gives, empty where it gives none."""
    given = dict(pair.split("=", 1) for pair in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",") if "=" in pair)
    return environ.get("OTEL_SERVICE_NAME", "").strip() or given.get(schema.SERVICE_NAME.name, "").strip()
