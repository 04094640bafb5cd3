"""The OTLP endpoint of a signal, from the ``OTEL_EXPORTER_OTLP_*`` variables.

A variable of the signal takes precedence over the general one.

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
from otel_distro.environment.otlp import speaks_grpc

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_ENDPOINT = "http://localhost:4318"
DEFAULT_GRPC_ENDPOINT = "http://localhost:4317"
USER_AGENT = f"otel-distro/{__version__} OTLP-Python"
DEFAULT_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class OtlpEndpoint:
    """One OTLP endpoint: URL, headers, timeout in seconds, compression and the files for TLS.

    Over HTTP ``url`` is complete. Over gRPC it is scheme and authority, or an address in gRPC's own
    syntax such as ``unix:/run/otlp.sock``; ``secure`` selects TLS, and ``credentials`` names the
    entry point that provides channel credentials.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: float = DEFAULT_TIMEOUT_S
    gzip: bool = True
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    grpc: bool = False
    secure: bool = False
    credentials: str | None = None

    @property
    def origin(self) -> str:
        """Scheme, host and port: the part of the URL that messages may contain."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else self.url


def otlp_endpoint(signal: str, environ: Mapping[str, str] = os.environ) -> OtlpEndpoint:
    """Return the endpoint of a signal.

    Timeouts are in seconds, as in every OpenTelemetry Python exporter.

    Args:
        signal: ``traces``, ``metrics`` or ``logs``.
        environ: A checked environment. Values that became invalid after the check give the
            defaults.
    """

    def read(what: str) -> str | None:
        return (
            environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_{what}", "").strip()
            or environ.get(f"OTEL_EXPORTER_OTLP_{what}", "").strip()
            or None
        )

    own = environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT", "").strip()
    general = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip()
    grpc = speaks_grpc(signal, environ)
    if grpc:
        url, secure = _grpc_url(own or general or DEFAULT_GRPC_ENDPOINT, (read("INSECURE") or "").lower() == "true")
        headers = {}
    else:
        url, secure = own or f"{(general or DEFAULT_ENDPOINT).rstrip('/')}/v1/{signal}", False
        headers = {"content-type": "application/x-protobuf", "user-agent": USER_AGENT}
    url, authorization = _without_credentials(url)
    try:
        timeout = float(read("TIMEOUT") or DEFAULT_TIMEOUT_S)
    except ValueError:
        timeout = DEFAULT_TIMEOUT_S
    provider = "OTEL_PYTHON_EXPORTER_OTLP_GRPC_{}CREDENTIAL_PROVIDER"
    return OtlpEndpoint(
        url=url,
        headers={**headers, **authorization, **parse_env_headers(read("HEADERS") or "", liberal=True)},
        timeout=timeout if 0 < timeout < float("inf") else DEFAULT_TIMEOUT_S,
        gzip=(read("COMPRESSION") or "gzip").lower() != "none",
        ca_file=read("CERTIFICATE"),
        certificate_file=read("CLIENT_CERTIFICATE"),
        key_file=read("CLIENT_KEY"),
        grpc=grpc,
        secure=secure,
        credentials=environ.get(provider.format(f"{signal.upper()}_")) or environ.get(provider.format("")) or None,
    )


def _grpc_url(endpoint: str, insecure: bool) -> tuple[str, bool]:
    """Return scheme and authority of a gRPC endpoint, and whether to use TLS.

    The scheme decides about TLS; without one ``insecure`` does. Addresses in gRPC's own syntax stay
    unchanged.
    """
    scheme, separator, rest = endpoint.partition("://")
    if separator and scheme.lower() in ("http", "https"):
        return f"{scheme.lower()}://{rest.partition('/')[0]}", scheme.lower() == "https"
    if separator or endpoint.startswith("unix:"):
        return endpoint, not insecure
    return f"{'http' if insecure else 'https'}://{endpoint}", not insecure


def credentials(parts: SplitResult) -> str:
    """Return an ``Authorization`` value for the user and password in a URL, or ""."""
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
