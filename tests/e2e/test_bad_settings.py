"""Settings that users get wrong: one line each, telemetry as if they had not been made, and the program unharmed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.bad_values import BAD
from tests.support.processes import BIN
from tests.support.programs import APPS, INSTRUMENT, RUN, Command, Launcher

if TYPE_CHECKING:
    from tests.support.receiver import Receiver

_LEFT_OUT = {
    # What is left of these values is an exporter, which is then used.
    ("OTEL_TRACES_EXPORTER", "console,zipkinn"),
    ("OTEL_METRICS_EXPORTER", "none,console"),
    # A regular expression for Python 3.10.
    ("OTEL_PYTHON_EXCLUDED_URLS", "a.*,(?i)b"),
}


def runs() -> list[dict[str, str]]:
    """Return the bad values so that each run has as many as there are variables, and all of them have their turn.

    Bad addresses have tests of their own: telemetry goes elsewhere then.
    """
    together: list[dict[str, str]] = []
    for name, value, _ in BAD:
        if name.endswith("_ENDPOINT") or (name, value) in _LEFT_OUT:
            continue
        for run in together:
            if name not in run:
                run[name] = value
                break
        else:
            together.append({name: value})
    return together


def lines_about(name: str, lines: list[str]) -> list[str]:
    """Return the lines that are about the variable."""
    return [line for line in lines if line.startswith((f"otel-distro: {name}=", f"otel-distro: {name} "))]


def check_all_signals_arrived(receiver: Receiver) -> None:
    """Check that all three signals of ``talker.py`` arrived."""
    assert len(receiver.logs("talking")) == 1
    assert len(receiver.spans("SELECT")) == 1
    assert receiver.total("db.client.operation.duration") == 1
    assert receiver.points("process.memory.usage")


@pytest.mark.parametrize("command", [INSTRUMENT, RUN])
@pytest.mark.parametrize("number", range(len(runs())))
def test_bad_values_are_told_and_cost_nothing(
    number: int, command: Command, launcher: Launcher, receiver: Receiver
) -> None:
    """Each bad value gives one line that names its variable; everything arrives; status and output are kept."""
    values = runs()[number]
    traced = launcher.run("talker.py", "7", command=command, **values)
    assert (traced.returncode, traced.stdout) == (7, "begin\nend\n")
    assert [name for name in values if len(lines_about(name, traced.diagnostics())) != 1] == []
    assert len(traced.diagnostics()) == len(values)
    check_all_signals_arrived(receiver)


def test_there_are_enough_bad_values() -> None:
    """The runs above try many more than the twenty-one that were asked for."""
    assert len({(name, value) for run in runs() for name, value in run.items()}) >= 21


def test_a_bad_address_is_told_and_the_good_ones_are_used(launcher: Launcher, receiver: Receiver) -> None:
    """A general endpoint that is none gives one line; the signals that have their own arrive there."""
    traced = launcher.run(
        "talker.py",
        "7",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:abc",
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{receiver.endpoint}/v1/traces",
        OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=f"{receiver.endpoint}/v1/metrics",
        OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=f"{receiver.endpoint}/v1/logs",
    )
    assert traced.returncode == 7
    assert len(traced.diagnostics()) == len(lines_about("OTEL_EXPORTER_OTLP_ENDPOINT", traced.diagnostics())) == 1
    check_all_signals_arrived(receiver)


@pytest.mark.parametrize("address", ["{host}", "http://{host}/v1/traces", " http://{host}/ "])
def test_an_address_that_can_be_put_right_is_used(address: str, launcher: Launcher, receiver: Receiver) -> None:
    """Without a scheme, with the path of one signal, with spaces around it: it is clear what is meant."""
    host = receiver.endpoint.removeprefix("http://")
    traced = launcher.run("talker.py", "7", OTEL_EXPORTER_OTLP_ENDPOINT=address.format(host=host))
    assert traced.returncode == 7
    check_all_signals_arrived(receiver)


def test_a_bad_flag_is_as_a_bad_variable(launcher: Launcher, receiver: Receiver) -> None:
    """What opentelemetry-instrument takes as a flag is checked as well, ours among it."""
    flags = ("--distro_exit_timeout", "soon", "--traces_sampler", "nosuch")
    traced = launcher.run(str(BIN / INSTRUMENT), *flags, sys.executable, str(APPS / "talker.py"), "7", command="bare")
    assert traced.returncode == 7
    assert len(lines_about("OTEL_DISTRO_EXIT_TIMEOUT", traced.diagnostics())) == 1
    assert len(lines_about("OTEL_TRACES_SAMPLER", traced.diagnostics())) == 1
    check_all_signals_arrived(receiver)


def test_children_do_not_say_it_again(launcher: Launcher, receiver: Receiver) -> None:
    """A bad value is told by the first process and by none that it starts."""
    traced = launcher.run("workers.py", "pool", "spawn", OTEL_BSP_MAX_QUEUE_SIZE="abc", OTEL_TRACES_SAMPLER="nosuch")
    assert sorted(line.split("=")[0] for line in traced.diagnostics()) == [
        "otel-distro: OTEL_BSP_MAX_QUEUE_SIZE",
        "otel-distro: OTEL_TRACES_SAMPLER",
    ]
    assert len(receiver.logs()) == 22
