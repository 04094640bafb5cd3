"""Where and how a signal is sent: the ``OTEL_EXPORTER_OTLP_*`` variables, per signal before general.

Source: https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

from __future__ import annotations

import os
from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

from opentelemetry.util.re import parse_env_headers

from otel_distro._version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_ENDPOINT = "http://localhost:4318"
DEFAULT_TIMEOUT = 10.0


@dataclass(frozen=True)
class Target:
    """One OTLP/HTTP endpoint: full URL, headers, timeout in seconds, compression and the files TLS needs."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: float = DEFAULT_TIMEOUT
    gzip: bool = True
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None

    @property
    def origin(self) -> str:
        """Scheme, host and port: all that may be said of the URL in a message."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def target(signal: str, environ: Mapping[str, str] = os.environ) -> Target:
    """Read the target of ``signal`` (``traces``, ``metrics`` or ``logs``) from a checked environment.

    The timeout is taken in seconds, as every OpenTelemetry Python exporter takes it. Values that only become bad after
    the check fall back to the defaults.
    """

    def read(what: str) -> str | None:
        return (
            environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_{what}", "").strip()
            or environ.get(f"OTEL_EXPORTER_OTLP_{what}", "").strip()
            or None
        )

    url = environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT", "").strip()
    if not url:
        base = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip() or DEFAULT_ENDPOINT
        url = f"{base.rstrip('/')}/v1/{signal}"
    url, authorization = _without_credentials(url)
    headers = {
        "content-type": "application/x-protobuf",
        "user-agent": f"otel-distro/{__version__} OTLP-Python",
        **authorization,
        **parse_env_headers(read("HEADERS") or "", liberal=True),
    }
    try:
        timeout = float(read("TIMEOUT") or DEFAULT_TIMEOUT)
    except ValueError:
        timeout = DEFAULT_TIMEOUT
    return Target(
        url=url,
        headers=headers,
        timeout=timeout if 0 < timeout < float("inf") else DEFAULT_TIMEOUT,
        gzip=(read("COMPRESSION") or "gzip").lower() != "none",
        ca_file=read("CERTIFICATE"),
        certificate_file=read("CLIENT_CERTIFICATE"),
        key_file=read("CLIENT_KEY"),
    )


def credentials(parts: SplitResult) -> str:
    """Return the value of an ``Authorization`` header for the user and password in a URL, empty where it has none."""
    if not parts.username:
        return ""
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Basic {b64encode(pair.encode()).decode()}"


def _without_credentials(url: str) -> tuple[str, dict[str, str]]:
    parts = urlsplit(url)
    found = credentials(parts)
    if not found:
        return url, {}
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(), {"authorization": found}
