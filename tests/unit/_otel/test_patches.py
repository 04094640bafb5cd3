"""Each patch of OpenTelemetry has a probe; a failed one loses neither program nor telemetry."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from otel_distro._otel import patches
from otel_distro._otel.needs import Fields, Name, Need, Parameters, Samples
from otel_distro._otel.patch import Patch, sdk_release
from tests.support import newer_opentelemetry
from tests.support.programs import RUN, Launcher
from tests.support.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = """
import logging
from opentelemetry import metrics, trace

meter, tracer = metrics.get_meter("shop"), trace.get_tracer("shop")
orders = meter.create_counter("shop.orders")
meter.create_histogram("shop.duration").record(1.5, {"kind": "book"})
meter.create_observable_gauge("shop.stock", [lambda _: [metrics.Observation(7)]])
with tracer.start_as_current_span("order", attributes={"kind": "book"}) as span:
    span.set_attribute("paid", True)
    try:
        with tracer.start_as_current_span("payment"):
            raise ValueError("no money")
    except ValueError:
        pass
    orders.add(1, {"kind": "book"})
    orders.add(2, {"kind": "book"})
    logging.getLogger("shop").warning("order %s", 5)
"""

LAZY = {
    patches.SCOPE_CONFIGURATORS.name: "",
    patches.TEST_PROVIDERS.name: (
        "from otel_distro._otel import global_providers, sdk\n"
        "global_providers.replace_providers(*sdk.global_providers())\n"
    ),
}
"""Further code of the program under test: it uses a patch that is probed at its first use."""

MOVED = {
    patches.LOGS.name: ["opentelemetry._logs", "opentelemetry.sdk._logs"],
    patches.ENTRY_POINTS.name: ["opentelemetry.util._importlib_metadata"],
}
"""Private modules that a newer OpenTelemetry may move."""

ON = [patch for patch in patches.PATCHES if sdk_release() >= patch.since]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """An empty receiver."""
    running = Receiver()
    yield running
    running.stop()


def private(path: str) -> set[str]:
    return {part for part in path.split(".") if part.startswith("_") and not part.startswith("__")}


def names_of(need: Need) -> set[str]:
    """Return the identifiers that a newer OpenTelemetry may rename."""
    if isinstance(need, Fields):
        return set().union(*map(private, need.names))
    if isinstance(need, Name):
        return private(need.path.partition(":")[2]) - {"_internal"}
    assert isinstance(need, Parameters)
    return set(need.names) if need.some else private(need.path.partition(":")[2])


def functions_of(need: Need) -> set[str]:
    """Return the functions whose parameters count."""
    return {need.path} if isinstance(need, Parameters) and not need.some else set()


def is_broken(patch: Patch, names: set[str], functions: set[str]) -> bool:
    if any(names_of(need) & names or functions_of(need) & functions for need in patch.needs):
        return True
    samples = [need.sample for need in patch.needs if isinstance(need, Fields)]
    return any(not names.isdisjoint(Samples.private.get(sample, ())) for sample in samples)


def register_configurator(site: Path) -> None:
    """Register a configurator of tracers, which has to be installed to be a good value."""
    info = site / "made_configurator-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: made-configurator\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[_opentelemetry_tracer_configurator]\nmade = builtins:print\n")


@pytest.mark.parametrize("patch", patches.PATCHES, ids=lambda patch: patch.name)
def test_patch_without_what_it_needs_costs_one_line_and_no_telemetry(
    patch: Patch, receiver: Receiver, tmp_path: Path
) -> None:
    """All that it needs is renamed or changed; program and telemetry are complete."""
    names = set().union(*map(names_of, patch.needs))
    functions = set().union(*map(functions_of, patch.needs))
    modules = MOVED.get(patch.name, [])
    site = newer_opentelemetry.site(tmp_path, names=sorted(names), functions=sorted(functions), modules=modules)
    environ: dict[str, str | None] = {"PYTHONPATH": str(site)}
    if patch is patches.SCOPE_CONFIGURATORS:
        register_configurator(site)
        environ["OTEL_PYTHON_TRACER_CONFIGURATOR"] = "made"
    program = tmp_path / "program.py"
    program.write_text(f"{PROGRAM}{LAZY[patch.name] if patch.lazy else ''}\nprint('done')\n")

    ended = Launcher(tmp_path, receiver.endpoint).run("-u", program, command=RUN, **environ)

    assert (ended.returncode, ended.stdout) == (0, "done\n"), ended.stderr
    lines = ended.stderr.splitlines()
    assert lines.count("order 5") == 1
    lines.remove("order 5")
    off = [
        each
        for each in (patches.PATCHES if patch.lazy else [each for each in ON if not each.lazy])
        if is_broken(each, names, functions) or (each is patch and modules)
    ]
    off = [each for each in off if each in ON and each.part_of not in off]
    is_changed = bool(names or functions or modules)
    mine = [line for line in lines if f"otel-distro: {patch.name} is off: OpenTelemetry " in line]
    assert len(mine) == (patch in ON and is_changed), ended.stderr
    assert all(patch.without in line and line.endswith("[OD151]") for line in mine)
    others = [line for line in lines if line not in mine]
    assert all(any(f"{each.name} is off" in line for each in off) for line in others), ended.stderr
    assert len(set(others)) == len(others)

    receiver.wait_for(lambda r: len(r.spans()) == 2 and r.series("shop.orders"))
    (order,), (payment,) = receiver.spans("order"), receiver.spans("payment")
    assert (order.attributes["kind"], order.attributes["paid"], payment.parent_id) == ("book", True, order.span_id)
    assert [event.attributes["exception.type"] for event in payment.events] == ["ValueError"]
    assert receiver.total("shop.orders", kind="book") == 3
    assert receiver.series("shop.duration", kind="book")
    assert receiver.total("shop.stock") == 7
    if patch is not patches.LOGS:
        assert [log.trace_id for log in receiver.logs("order 5")] == [order.trace_id]


NEEDS = [pytest.param(patch, need, id=f"{patch.name}: {need}") for patch in ON for need in patch.needs]


def without(value: Any, missing: str) -> Any:
    """Return a stand-in for an object that lacks one attribute, given as a dotted name."""
    first, _, rest = missing.partition(".")

    class Without:
        def __getattr__(self, name: str) -> Any:
            if name != first:
                return getattr(value, name)
            if not rest:
                raise AttributeError(name)
            return without(getattr(value, name), rest)

    return Without()


@pytest.mark.parametrize(("patch", "need"), NEEDS)
def test_probe_finds_every_need_missing(patch: Patch, need: Need, monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe passes here, and fails with the name where a single one of its needs is gone."""
    samples = Samples()
    assert patch.problem(samples) == ""
    if isinstance(need, Fields):
        for name in need.names:
            value = getattr(samples, need.sample)
            monkeypatch.setitem(samples.__dict__, need.sample, without(value, name))
            assert name in patch.problem(samples)
            monkeypatch.setitem(samples.__dict__, need.sample, value)
        return
    assert isinstance(need, Name | Parameters)
    module, _, qualified = need.path.partition(":")
    *owners, name = qualified.split(".")
    owner: Any = import_module(module)
    for each in owners:
        owner = getattr(owner, each)
    if isinstance(need, Parameters):
        with monkeypatch.context() as changed:
            changed.setattr(owner, name, lambda added: added)
            assert patch.problem(samples).startswith(f"has no {need.path}(")
    with monkeypatch.context() as changed:
        changed.delattr(owner, name)
        if not hasattr(owner, name):
            assert name in patch.problem(samples)


@pytest.mark.parametrize("patch", patches.PATCHES, ids=lambda patch: patch.name)
def test_patch_is_described(patch: Patch) -> None:
    """Each has a reason, a fallback, a public way, and a probe."""
    assert patch.needs or patch.verify
    assert all(text.endswith(".") for text in (patch.reason, patch.without, patch.public))


def test_patch_that_raises_is_off_with_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    """A patch whose installation fails is off, although its probe passed."""
    patch = Patch("a patch for this test", "nowhere", "None.", (), "Nothing.", "None.")

    def install() -> None:
        raise KeyError("new")

    patch.install(install)
    patch.install(install)
    assert not patch.on
    assert capfd.readouterr().err.count("a patch for this test is off: OpenTelemetry ") == 1
