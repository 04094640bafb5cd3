"""Checks of single environment variables: one function per kind of value.

A check takes the variable's name, its value and the whole environment. It returns None for a good
value, else a :class:`CheckResult`. Checks run at the start of processes: modules that import slowly
(``re``, ``importlib.metadata``) are imported only by values that need them.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Check = Callable[[str, str, Mapping[str, str]], "CheckResult | None"]

# The specification requires at least this range; larger numbers overflow queues and timers of the
# SDK.
_MAX_NUMBER = 2**31 - 1
_MAX_EXPRESSION_LENGTH = 32768
_MAX_NAME_LENGTH = 255

# Those that instrumentors read today, and the others of the semantic conventions.
OPT_INS = (
    *("http", "http/dup", "database", "database/dup", "gen_ai_latest_experimental"),
    *("messaging", "messaging/dup", "rpc", "rpc/dup", "code", "code/dup", "k8s", "k8s/dup"),
)

GRPC_PACKAGE = "grpcio"

# Packages of known components, for the message about one that is not installed.
_PACKAGES = {
    "propagator b3": "opentelemetry-propagator-b3",
    "propagator b3multi": "opentelemetry-propagator-b3",
    "propagator jaeger": "opentelemetry-propagator-jaeger",
    "propagator ottrace": "opentelemetry-propagator-ot-trace",
    "propagator xray": "opentelemetry-propagator-aws-xray",
    "traces_exporter zipkin": "opentelemetry-exporter-zipkin",
    "metrics_exporter prometheus": "opentelemetry-exporter-prometheus",
    "traces_exporter otlp_proto_grpc": GRPC_PACKAGE,
    "metrics_exporter otlp_proto_grpc": GRPC_PACKAGE,
    "logs_exporter otlp_proto_grpc": GRPC_PACKAGE,
}

_entry_points: "dict[str, frozenset[str]]" = {}


class CheckResult:
    """The problem of a value and the value used instead.

    ``value`` None: the variable is removed, and its default applies. ``value`` unchanged: a hint
    only. ``problem`` empty: a silent repair, such as another case. ``using`` describes the
    effective value.
    """

    __slots__ = ("problem", "using", "value")

    def __init__(self, problem: str, value: "str | None" = None, using: "str | None" = None) -> None:
        self.problem = problem
        self.value = value
        self.using = using


def anything(name: str, value: str, environ: "Mapping[str, str]") -> "CheckResult | None":
    """Accept every value."""
    return None


def whole(minimum: int) -> "Check":
    """Return a check for a whole number of ``minimum`` (0 or 1) to 2147483647."""
    expected = "is not a whole number above 0" if minimum else "is not a whole number of 0 or more"

    def check(name: str, value: str, environ: "Mapping[str, str]") -> "CheckResult | None":
        try:
            number = int(value)
        except ValueError:
            return CheckResult(expected)
        if number > _MAX_NUMBER:
            return CheckResult(f"is above {_MAX_NUMBER}")
        return CheckResult(expected) if number < minimum else None

    return check


def above_zero(unit: str) -> "Check":
    """Return a check for a number above 0, fractions allowed, in ``unit``."""

    def check(name: str, value: str, environ: "Mapping[str, str]") -> "CheckResult | None":
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        return None if 0 < number <= _MAX_NUMBER else CheckResult(f"is not a number of {unit} above 0")

    return check


def port(name: str, value: str, environ: "Mapping[str, str]") -> "CheckResult | None":
    """Check a port number."""
    return None if is_port(value.strip()) else CheckResult("is not a port number from 1 to 65535")


def choice(*values: str) -> "Check":
    """Return a check for one of ``values``.

    Another case is corrected, which the SDK does not always do.
    """
    expected = f"is not {' or '.join(values)}" if len(values) < 3 else f"is not one of {', '.join(values)}"

    def check(name: str, value: str, environ: "Mapping[str, str]") -> "CheckResult | None":
        plain = value.strip().lower()
        if plain not in values:
            return CheckResult(expected)
        return None if plain == value else CheckResult("", plain)

    return check


def sampler(name: str, value: str, environ: "Mapping[str, str]") -> "CheckResult | None":
    """Check the name of a sampler: one of the SDK's or an installed one."""
    plain = value.strip().lower()
    if plain.removeprefix("parentbased_") in ("always_on", "always_off", "traceidratio"):
        return None if plain == value else CheckResult("", plain)
    return component("opentelemetry_traces_sampler")(name, value, environ)


def sampler_argument(name: str, value: str, environ: "Mapping[str, str]") -> "CheckResult | None":
    """Check the argument of the sampler.

    The ratio samplers take a number from 0 to 1; others define their own.
    """
    chosen = environ.get("OTEL_TRACES_SAMPLER", "")
    if not chosen:
        return CheckResult("has no effect while OTEL_TRACES_SAMPLER is not set", value)
    if not chosen.endswith("traceidratio"):
        return None
    try:
        ratio = float(value)
    except ValueError:
        ratio = -1.0
    return None if 0 <= ratio <= 1 else CheckResult("is not a ratio from 0 to 1", "1.0")


def component(group: str, *known: str) -> "Check":
    """Return a check for the name of one component.

    The name is ``known`` or registered under entry point ``group``.
    """

    def check(name: str, value: str, environ: "Mapping[str, str]") -> "CheckResult | None":
        plain = value.strip()
        if plain not in known and plain not in _installed(group):
            return CheckResult("is not installed")
        return None if plain == value else CheckResult("", plain)

    return check


def components(group: str, *known: str) -> "Check":
    """Return a check for a list of components, ``known`` or registered under entry point ``group``.

    ``none`` in ``known`` means that this word alone is valid and selects no component.
    """

    def check(name: str, value: str, environ: "Mapping[str, str]") -> "CheckResult | None":
        items = [item if (low := item.lower()) not in known else low for item in _items(value)]
        if items == ["none"] and "none" in known:
            return None if value == "none" else CheckResult("", "none")
        if group == "opentelemetry_propagator" and "none" in items:
            return CheckResult("", "none")
        kept: list[str] = []
        bad: list[str] = []
        for item in items:
            good = item != "none" and (item in known or _is_installed(group, item))
            (kept if good else bad).append(item)
        if not bad:
            fixed = ",".join(kept)
            return None if fixed == value else CheckResult("", fixed or None)
        return CheckResult(_unknown(group, bad), ",".join(kept) or None)

    return check


def subset(*values: str) -> "Check":
    """Return a check for a list of words out of ``values``."""

    def check(name: str, value: str, environ: "Mapping[str, str]") -> "CheckResult | None":
        items = _items(value)
        bad = [item for item in items if item.lower() not in values]
        kept = ",".join(item.lower() for item in items if item.lower() in values)
        if bad:
            return CheckResult(f"has {_quoted(bad)}, which is not a known value", kept or None)
        return None if kept == value else CheckResult("", kept or None)

    return check


def service_name(name: str, value: str, environ: "Mapping[str, str]") -> "CheckResult | None":
    """Check a name that all telemetry carries: printable text of at most 255 characters."""
    plain = value.strip()
    if plain.isprintable() and len(plain) <= _MAX_NAME_LENGTH:
        return None if plain == value else CheckResult("", plain)
    printable = "".join(c if c.isprintable() else " " for c in plain[: 2 * _MAX_NAME_LENGTH])
    clean = " ".join(printable.split())[:_MAX_NAME_LENGTH]
    problem = "has unprintable characters" if not plain.isprintable() else f"is over {_MAX_NAME_LENGTH} characters"
    return CheckResult(problem, clean or None)


def resource_attributes(name: str, value: str, environ: "Mapping[str, str]") -> "CheckResult | None":
    """Check a list of ``key=value``.

    Other items are dropped; bytes that are not UTF-8 become ``?``.
    """
    pairs = [pair.strip() for pair in value.split(",") if pair.strip()]
    bad = [pair for pair in pairs if not _is_pair(pair)]
    text = ",".join(pair for pair in pairs if _is_pair(pair))
    utf8 = text.encode("utf-8", "replace").decode()
    if bad:
        return CheckResult(f"has {_quoted(bad)}, which is not key=value", utf8 or None)
    if utf8 != text:
        return CheckResult("has bytes that are not UTF-8", utf8)
    return None if len(pairs) == value.count(",") + 1 else CheckResult("", text or None)


def expressions(name: str, value: str, environ: "Mapping[str, str]") -> "CheckResult | None":
    """Check a list of regular expressions, which OpenTelemetry joins with ``|`` into one."""
    if len(value) > _MAX_EXPRESSION_LENGTH:
        return CheckResult(f"is over {_MAX_EXPRESSION_LENGTH} characters")
    if not any(c in value for c in "()[]{}*+?|\\"):
        return None
    items = [item.strip() for item in value.split(",")]
    if _compiles("|".join(items)):
        return None
    compiles = {item: _compiles(item) for item in items}
    bad = [item for item in items if not compiles[item]]
    good = [item for item in items if compiles[item]]
    if not bad or not _compiles("|".join(good)):
        # Each is valid alone and all of them joined are not: flags must be at the beginning, and
        # names of groups must be unique.
        return CheckResult("is not a regular expression when joined with |")
    return CheckResult(f"has {_quoted(bad)}, which is not a regular expression", ",".join(good) or None)


def configuration_file(name: str, value: str, environ: "Mapping[str, str]") -> "CheckResult | None":
    """Check the declarative configuration file, and that the package that reads it is installed."""
    others = "the other variables"
    if not os.path.isfile(value):
        return CheckResult("is not a file", using=others)
    if not importable("opentelemetry.configuration"):
        return CheckResult("needs the package opentelemetry-configuration", using=others)
    return None


def has_grpc() -> bool:
    """Return whether gRPC's library is installed; an application's own folder may be named grpc."""
    return importable("grpc._cython")


def importable(module: str) -> bool:
    """Return whether ``module`` can be imported, by lookups on disk and without importing it."""
    if any(os.path.isdir(os.path.join(entry, *module.split("."))) for entry in sys.path):
        return True
    from importlib.util import find_spec

    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _installed(group: str) -> "frozenset[str]":
    if group not in _entry_points:
        from importlib.metadata import entry_points

        _entry_points[group] = frozenset(entry_point.name for entry_point in entry_points(group=group))
    return _entry_points[group]


def _is_installed(group: str, item: str) -> bool:
    if item == "otlp_proto_grpc":
        return has_grpc()
    return item in _installed(group)


def _is_pair(text: str) -> bool:
    key, separator, _ = text.partition("=")
    return bool(separator and key.strip())


def _items(value: str) -> "list[str]":
    return list(dict.fromkeys(item for part in value.split(",") if (item := part.strip())))


def _unknown(group: str, bad: "list[str]") -> str:
    if bad == ["none"]:
        return "lists none together with others"
    package = _PACKAGES.get(f"{group.removeprefix('opentelemetry_')} {bad[0]}")
    hint = f" (pip install {package})" if package else " (its name is console)" if bad[0] == "logging" else ""
    return f"has {_quoted(bad)}, which is not installed{hint}"


def _quoted(bad: "list[str]") -> str:
    shown = repr(bad[0] if len(bad[0]) <= 40 else f"{bad[0][:40]}...")
    return shown if len(bad) == 1 else f"{shown} and {len(bad) - 1} more"


def _compiles(expression: str) -> bool:
    import re

    try:
        re.compile(expression)
    except (re.error, RecursionError, OverflowError, Warning):
        return False
    return True


def is_port(text: str) -> bool:
    """Return whether ``text`` is a number from 1 to 65535."""
    return text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535
