"""The inspection of an environment: every variable by its rule, then what only shows in two variables together."""

from otel_distro.environment import otlp
from otel_distro.environment.rules import RULES, Rule, near, outdated, rule_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping


class Inspection:
    """Goes through the variables ``theirs`` of ``environ``, repairs what is bad and keeps a line on each."""

    def __init__(
        self,
        environ: "MutableMapping[str, str]",
        theirs: "set[str]",
        defaults: "Mapping[str, str]",
        known: "Callable[[str], bool]",
    ) -> None:
        self.lines: list[str] = []
        self._environ = environ
        self._theirs = theirs
        self._defaults = defaults
        self._known = {name for name in theirs if known(name)}

    def run(self) -> "list[str]":
        """Inspect everything and return the lines."""
        for name in [*(name for name in RULES if name in self._theirs), *sorted(self._theirs - RULES.keys())]:
            rule = rule_of(name)
            try:
                if rule is None:
                    self._unknown(name)
                else:
                    self._inspect(name, rule)
            except Exception as error:
                # One variable that defeats its check must not keep the others from theirs.
                self._say(name, f"could not be checked ({type(error).__name__}); it is left as it is")
        self._fit_protocols()
        self._fit_batches("OTEL_BSP")
        self._fit_batches("OTEL_BLRP")
        self._fit_sampler()
        self._compare_ports()
        return self.lines

    def _inspect(self, name: str, rule: Rule) -> None:
        value = self._environ[name]
        if not value.strip():
            # Empty counts as unset, says the specification; but instrumentors exclude nothing where theirs is empty.
            if name in RULES:
                self._remove(name)
            return
        verdict = rule.check(name, value, self._environ)
        if verdict is None:
            return
        if verdict.value == value:
            self._hint(name, f"={shown(name, value)} {verdict.problem}")
            return
        if verdict.value is None:
            self._remove(name)
        else:
            self._environ[name] = verdict.value
        if verdict.problem:
            using = verdict.using or self._what_holds(name, rule)
            self._say(name, f"={shown(name, value)} {verdict.problem}; using {using}")

    def _unknown(self, name: str) -> None:
        old = outdated(name)
        if old:
            # One hint is enough for all the names that begin so.
            if old[0] not in self._known:
                self._hint(name, f" {old[1]}")
            self._known.add(old[0])
            return
        meant = near(name)
        if meant:
            self._hint(name, f" is not known; is {meant} meant?")

    def _fit_protocols(self) -> None:
        """Let a signal whose exporter is for gRPC by name not be told by our default that it speaks HTTP."""
        if "OTEL_EXPORTER_OTLP_PROTOCOL" in self._theirs:
            return
        for signal in otlp.SIGNALS:
            if otlp.speaks_grpc(signal, self._environ):
                self._environ.setdefault(f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL", "grpc")

    def _fit_batches(self, processor: str) -> None:
        """Keep batches within the queue, which the SDK insists on, also where only the queue was made smaller."""
        name, queue_name = f"{processor}_MAX_EXPORT_BATCH_SIZE", f"{processor}_MAX_QUEUE_SIZE"
        queue = self._environ.get(queue_name, "2048")
        if int(self._environ.get(name, "512")) <= int(queue):
            return
        if name in self._environ:
            self._say(name, f"={shown(name, self._environ[name])} is above {queue_name}; using {queue}")
        self._environ[name] = queue

    def _fit_sampler(self) -> None:
        if self._environ.get("OTEL_TRACES_SAMPLER", "").endswith("traceidratio"):
            # Without it the SDK takes 1.0 too, but says that it could not read it.
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

    def _what_holds(self, name: str, rule: Rule) -> str:
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

    def _say(self, name: str, text: str) -> None:
        self.lines.append(f"otel-distro: {name}{text}")

    def _hint(self, name: str, text: str) -> None:
        if name not in self._known:
            self._say(name, text)


def inspect(
    environ: "MutableMapping[str, str]",
    theirs: "set[str]",
    defaults: "Mapping[str, str]",
    known: "Callable[[str], bool]",
) -> "list[str]":
    """Check and repair the variables ``theirs`` of ``environ``, in which ``defaults`` are set; return a line on each.

    ``known(name)`` tells of a variable that has been checked before, so that a hint on it is not given again.
    """
    return Inspection(environ, theirs, defaults, known).run()


def shown(name: str, value: str, quote: bool = True) -> str:
    """Return a value as a line may show it: short, printable, without secrets."""
    if "HEADERS" in name and "CAPTURE" not in name:
        return "***"
    text = otlp.masked(value) if name.endswith("ENDPOINT") else value
    if len(text) > 60:
        text = f"{text[:40]}..."
    return repr(text) if quote or not text.isprintable() else text
