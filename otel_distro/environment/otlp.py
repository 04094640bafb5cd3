"""Checks of the variables of the OTLP exporters: endpoint, protocol, headers, TLS.

https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

import os

from otel_distro.environment.checks import GRPC_PACKAGE, CheckResult, above_zero, has_grpc, is_port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SIGNALS = ("traces", "metrics", "logs")

GRPC_CODES = (
    *(
        "cancelled",
        "unknown",
        "invalid_argument",
        "deadline_exceeded",
        "not_found",
        "already_exists",
        "permission_denied",
    ),
    *("unauthenticated", "resource_exhausted", "failed_precondition", "aborted", "out_of_range", "unimplemented"),
    *("internal", "unavailable", "data_loss", "ok"),
)

_PREFIX = "OTEL_EXPORTER_OTLP_"
# Characters of a header's name in HTTP, without the percent sign; characters that a value may hold
# only percent-encoded.
_NAME_CHARACTERS = frozenset("!#$&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_HEX = frozenset("0123456789abcdefABCDEF")
_NOT_IN_VALUE = frozenset('",;\\')


def signal_of(name: str) -> str:
    """Return the signal of an exporter variable, or an empty string for all signals."""
    word = name[len(_PREFIX) :].partition("_")[0].lower()
    return word if word in SIGNALS else ""


def speaks_grpc(signal: str, environ: "Mapping[str, str]") -> bool:
    """Return whether ``signal``, or with an empty string any signal, is exported over gRPC."""
    if not signal:
        return any(speaks_grpc(each, environ) for each in SIGNALS)
    exporters = environ.get(f"OTEL_{signal.upper()}_EXPORTER", "")
    if "otlp_proto_" in exporters:
        return "otlp_proto_grpc" in exporters
    chosen = environ.get(f"{_PREFIX}{signal.upper()}_PROTOCOL") or environ.get(f"{_PREFIX}PROTOCOL")
    return chosen == "grpc"


def protocol(name: str, value: str, environ: "Mapping[str, str]") -> "CheckResult | None":
    """Check the protocol of an exporter; gRPC needs its library."""
    plain = value.strip().lower()
    if plain == "http/json":
        return CheckResult("is not supported by the exporters for Python", "http/protobuf")
    if plain not in ("grpc", "http/protobuf"):
        return CheckResult("is not grpc or http/protobuf")
    if plain == "grpc" and not has_grpc():
        return CheckResult(f"needs the package {GRPC_PACKAGE}", "http/protobuf")
    return None if plain == value else CheckResult("", plain)


def compression(name: str, value: str, environ: "Mapping[str, str]") -> "CheckResult | None":
    """Check the compression of an exporter."""
    plain = value.strip().lower()
    if plain not in ("gzip", "deflate", "none"):
        return CheckResult("is not gzip, deflate or none")
    return None if plain == value else CheckResult("", plain)


def timeout(name: str, value: str, environ: "Mapping[str, str]") -> "CheckResult | None":
    """Check a timeout: seconds in Python, milliseconds in the specification."""
    result = above_zero("seconds")(name, value, environ)
    if result is None and float(value) > 600:
        return CheckResult("is in seconds in Python, not milliseconds; it is kept", value)
    return result


def certificate(name: str, value: str, environ: "Mapping[str, str]") -> "CheckResult | None":
    """Check a file for TLS, whose variable is never removed.

    Without it, the client would trust other servers or send no client certificate.
    """
    if os.path.isfile(value) and os.access(value, os.R_OK):
        return None
    return CheckResult("is not a readable file; it is kept, and https exports fail until it exists", value)


def endpoint(name: str, value: str, environ: "Mapping[str, str]") -> "CheckResult | None":
    """Check an endpoint: the base URL of all signals, or the exact URL of one signal."""
    signal = signal_of(name)
    result = url(name, value, environ)
    plain = value.strip()
    if all(speaks_grpc(each, environ) for each in ([signal] if signal else SIGNALS)):
        if not _is_grpc_address(plain):
            return result
        return None if plain == value else CheckResult("", plain)
    if result and result.value is None:
        return result
    address = result.value if result and result.value else plain
    path = address.partition("://")[2].partition("/")[2]
    if signal:
        if not path and not result:
            return CheckResult(f"has no path and is used unchanged; receivers listen on /v1/{signal}", value)
        return result
    for each in SIGNALS:
        base = address.rstrip("/").removesuffix(f"/v1/{each}")
        if base != address.rstrip("/"):
            return CheckResult(f"is the base for all signals; the path /v1/{each} is appended to it", base)
    return result


def url(name: str, value: str, environ: "Mapping[str, str]") -> "CheckResult | None":
    """Check an http or https URL; one without a scheme gets http."""
    plain = value.strip()
    if " " in plain or not plain.isprintable():
        return CheckResult("has spaces or unprintable characters")
    scheme, separator, rest = plain.partition("://")
    if not separator:
        if _is_address(plain.partition("/")[0]):
            return CheckResult("has no http:// or https://", f"http://{plain}")
        return CheckResult("is not a URL such as http://localhost:4318")
    if scheme.lower() not in ("http", "https"):
        return CheckResult(f"begins with {scheme[:20]}:// instead of http:// or https://")
    problem = _authority_problem(rest.partition("/")[0].partition("?")[0].partition("#")[0])
    if problem:
        return CheckResult(problem)
    return None if plain == value else CheckResult("", plain)


def headers(name: str, value: str, environ: "Mapping[str, str]") -> "CheckResult | None":
    """Check a list of percent-encoded ``name=value``; invalid pairs are dropped and never shown."""
    pairs = [pair.strip() for pair in value.split(",") if pair.strip()]
    kept = [pair for pair in pairs if _is_header(pair)]
    if len(kept) == len(pairs):
        return None if len(kept) == value.count(",") + 1 else CheckResult("", ",".join(kept) or None)
    place = next(number for number, pair in enumerate(pairs, 1) if not _is_header(pair))
    others = f"the other {len(kept)}" if kept else None
    return CheckResult(
        f"has a pair that is not a valid name=value header (number {place})", ",".join(kept) or None, others
    )


def masked(value: str) -> str:
    """Return a URL without its possible secrets: the user, the password and the query."""
    scheme, separator, rest = value.partition("://") if "://" in value else ("", "", value)
    _, at, place = rest.rpartition("@")
    place, mark, _ = place.partition("?")
    return f"{scheme}{separator}{'***@' if at else ''}{place}{'?***' if mark else ''}"


def default_endpoint(name: str, environ: "Mapping[str, str]") -> str:
    """Return the URL that applies while the variable ``name`` is not set."""
    signal = signal_of(name)
    if speaks_grpc(signal, environ):
        return masked(environ.get(f"{_PREFIX}ENDPOINT", "")) if signal else "http://localhost:4317"
    base = masked(environ.get(f"{_PREFIX}ENDPOINT", "")) if signal else ""
    base = (base or "http://localhost:4318").rstrip("/")
    return f"{base}/v1/{signal}" if signal else base


def wrong_port(environ: "Mapping[str, str]") -> "tuple[str, str] | None":
    """Return the first variable with the default port of the other protocol, and the hint on it."""
    for signal in SIGNALS:
        for name in (f"{_PREFIX}{signal.upper()}_ENDPOINT", f"{_PREFIX}ENDPOINT"):
            address = environ.get(name, "")
            if not address:
                continue
            authority = address.rpartition("://")[2].partition("/")[0]
            if speaks_grpc(signal, environ):
                if authority.endswith(":4318"):
                    return name, "has the port of http/protobuf (4318), but the protocol is grpc (4317)"
            elif authority.endswith(":4317"):
                return name, "has the port of gRPC (4317), but the protocol is http/protobuf (4318)"
            break
    return None


def _authority_problem(authority: str) -> str:
    host = authority.rpartition("@")[2]
    if host.startswith("["):
        inner, bracket, number = host[1:].partition("]")
        if not bracket or not inner or any(c not in "0123456789abcdefABCDEF:.%" for c in inner):
            return "has a broken IPv6 address"
        colon, number = number[:1], number[1:]
        if colon not in ("", ":"):
            return "has a broken IPv6 address"
    else:
        name, colon, number = host.partition(":")
        if ":" in number:
            return "has an IPv6 address without brackets"
        if not name:
            return "has no host"
        if any(not (c.isalnum() or c in "-._~") for c in name):
            return "has a host name with invalid characters"
    if colon and not is_port(number):
        return "has a port that is not a number from 1 to 65535"
    return ""


def _is_address(text: str) -> bool:
    host, colon, _ = text.rpartition("@")[2].partition(":")
    return not _authority_problem(text) and (bool(colon) or "." in host or host == "localhost" or host.startswith("["))


def _is_grpc_address(text: str) -> bool:
    """Return whether ``text`` is an address in gRPC's own forms.

    These are ``dns:///host:port``, ``unix:path`` and ``host:port``, which implies TLS.
    """
    if " " in text or not text.isprintable() or text.startswith(("http:", "https:")):
        return False
    return "://" in text or text.startswith("unix:") or _is_address(text)


def _is_header(pair: str) -> bool:
    name, separator, text = pair.partition("=")
    name, text = name.strip(), text.strip()
    if not separator or not name or not _NAME_CHARACTERS.issuperset(name):
        return False
    if not text.isascii() or not text.isprintable() or not _NOT_IN_VALUE.isdisjoint(text):
        return False
    # Decoded control characters would split the request, and characters beyond ASCII are invalid in
    # a header.
    codes = [part[:2].lower() for part in text.split("%")[1:] if _HEX.issuperset(part[:2])]
    return all(len(code) != 2 or code[0] in "23456" or (code[0] == "7" and code != "7f") for code in codes)
