"""The inspection of an environment: each variable by its rule, then combinations of variables."""

from otel_distro.environment import otlp
from otel_distro.environment.rules import RULES, Rule, outdated, rule_of, similar_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping


class Inspection:
    """Checks and repairs the variables ``user_set`` of ``environ``; collects a line on each."""

    def __init__(
        self,
        environ: "MutableMapping[str, str]",
        user_set: "set[str]",
        defaults: "Mapping[str, str]",
        known: "Callable[[str], bool]",
    ) -> None:
        self.lines: list[str] = []
        self._environ = environ
        self._user_set = user_set
        self._defaults = defaults
        self._known = {name for name in user_set if known(name)}

    def run(self) -> "list[str]":
        """Inspect everything and return the lines."""
        for name in [*(name for name in RULES if name in self._user_set), *sorted(self._user_set - RULES.keys())]:
            rule = rule_of(name)
            try:
                if rule is None:
                    self._unknown(name)
                else:
                    self._inspect(name, rule)
            except Exception as error:
                # An error in one check must not prevent the others.
                self._report(name, f"could not be checked ({type(error).__name__}); it is left unchanged")
        self._fit_protocols()
        self._fit_batches("OTEL_BSP")
        self._fit_batches("OTEL_BLRP")
        self._fit_sampler()
        self._compare_ports()
        return self.lines

    def _inspect(self, name: str, rule: Rule) -> None:
        value = self._environ[name]
        if not value.strip():
            # The specification treats empty as unset; but an instrumentor whose own list is empty
            # excludes no URL, so those stay.
            if name in RULES:
                self._remove(name)
            return
        result = rule.check(name, value, self._environ)
        if result is None:
            return
        if result.value == value:
            self._hint(name, f"={shown(name, value)} {result.problem}")
            return
        if result.value is None:
            self._remove(name)
        else:
            self._environ[name] = result.value
        if result.problem:
            using = result.using or self._effective_value(name, rule)
            self._report(name, f"={shown(name, value)} {result.problem}; using {using}")

    def _unknown(self, name: str) -> None:
        old = outdated(name)
        if old:
            # One hint covers all names with this prefix.
            if old[0] not in self._known:
                self._hint(name, f" {old[1]}")
            self._known.add(old[0])
            return
        meant = similar_name(name)
        if meant:
            self._hint(name, f" is not a known variable; did you mean {meant}?")

    def _fit_protocols(self) -> None:
        """Set the protocol of signals whose exporter name implies gRPC; the default is HTTP."""
        if "OTEL_EXPORTER_OTLP_PROTOCOL" in self._user_set:
            return
        for signal in otlp.SIGNALS:
            if otlp.speaks_grpc(signal, self._environ):
                self._environ.setdefault(f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL", "grpc")

    def _fit_batches(self, processor: str) -> None:
        """Limit the batch size to the queue size, as the SDK requires.

        This also applies where the user reduced only the queue.
        """
        name, queue_name = f"{processor}_MAX_EXPORT_BATCH_SIZE", f"{processor}_MAX_QUEUE_SIZE"
        queue = self._environ.get(queue_name, "2048")
        if int(self._environ.get(name, "512")) <= int(queue):
            return
        if name in self._environ:
            self._report(name, f"={shown(name, self._environ[name])} is above {queue_name}; using {queue}")
        self._environ[name] = queue

    def _fit_sampler(self) -> None:
        if self._environ.get("OTEL_TRACES_SAMPLER", "").endswith("traceidratio"):
            # Unset, the SDK uses 1.0 too, but warns that it could not parse the value.
            self._environ.setdefault("OTEL_TRACES_SAMPLER_ARG", "1.0")

    def _compare_ports(self) -> None:
        found = otlp.wrong_port(self._environ)
        if found:
            name, problem = found
            self._hint(name, f"={shown(name, self._environ[name])} {problem}")

    def _remove(self, name: str) -> None:
        if name in self._defaults:
            self._environ[name] = self._defaults[name]
        else:
            del self._environ[name]

    def _effective_value(self, name: str, rule: Rule) -> str:
        if name in self._environ:
            return shown(name, self._environ[name], quote=False)
        if callable(rule.default):
            return rule.default(name, self._environ)
        if rule.general in self._environ:
            secret = rule.general.endswith("_HEADERS")
            return (
                f"that of {rule.general}" if secret else shown(rule.general, self._environ[rule.general], quote=False)
            )
        return rule.default

    def _report(self, name: str, text: str) -> None:
        self.lines.append(f"otel-distro: {name}{text}")

    def _hint(self, name: str, text: str) -> None:
        if name not in self._known:
            self._report(name, text)


def inspect(
    environ: "MutableMapping[str, str]",
    user_set: "set[str]",
    defaults: "Mapping[str, str]",
    known: "Callable[[str], bool]",
) -> "list[str]":
    """Check and repair the variables ``user_set`` of ``environ``; return a line on each problem.

    ``defaults`` are set in ``environ`` already. ``known(name)`` returns whether a variable was
    checked before, so that a hint on it is not repeated.
    """
    return Inspection(environ, user_set, defaults, known).run()


def shown(name: str, value: str, quote: bool = True) -> str:
    """Return a value as a line may show it: short, printable, without secrets."""
    if "HEADERS" in name and "CAPTURE" not in name:
        return "***"
    text = otlp.masked(value) if name.endswith("ENDPOINT") else value
    if len(text) > 60:
        text = f"{text[:40]}..."
    return repr(text) if quote or not text.isprintable() else text
