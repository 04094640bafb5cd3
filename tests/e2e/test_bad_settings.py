"""Invalid settings print one line each, fall back to a default, and leave the program unharmed."""

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
    # The valid part of these values names an exporter, which is then used.
    ("OTEL_TRACES_EXPORTER", "console,zipkinn"),
    ("OTEL_METRICS_EXPORTER", "none,console"),
    # Valid as a regular expression in Python 3.10.
    ("OTEL_PYTHON_EXCLUDED_URLS", "a.*,(?i)b"),
}


def runs() -> list[dict[str, str]]:
    """Spread all invalid values over runs, each with at most one value per variable.

    Invalid endpoints have tests of their own, because telemetry goes elsewhere then.
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
    """Return the lines that name the variable."""
    return [line for line in lines if line.startswith((f"otel-distro: {name}=", f"otel-distro: {name} "))]


def check_all_signals_arrived(receiver: Receiver) -> None:
    """Check that all three signals of ``talker.py`` arrived."""
    assert len(receiver.logs("talking")) == 1
    assert len(receiver.spans("SELECT")) == 1
    assert receiver.total("db.client.operation.duration") == 1
    assert receiver.points("process.memory.usage")


@pytest.mark.parametrize("command", [INSTRUMENT, RUN])
@pytest.mark.parametrize("number", range(len(runs())))
def test_settings_invalid_values_print_one_line_each_and_lose_nothing(
    number: int, command: Command, launcher: Launcher, receiver: Receiver
) -> None:
    """One line names the variable of each invalid value; all telemetry arrives.

    Exit status and output of the program stay the same.
    """
    values = runs()[number]
    traced = launcher.run("talker.py", "7", command=command, **values)
    assert (traced.returncode, traced.stdout) == (7, "begin\nend\n")
    assert [name for name in values if len(lines_about(name, traced.diagnostics())) != 1] == []
    assert len(traced.diagnostics()) == len(values)
    check_all_signals_arrived(receiver)


def test_invalid_values_of_these_tests_are_at_least_21() -> None:
    """The runs above cover at least 21 different invalid values."""
    assert len({(name, value) for run in runs() for name, value in run.items()}) >= 21


def test_endpoint_invalid_for_all_signals_prints_one_line_and_signal_endpoints_work(
    launcher: Launcher, receiver: Receiver
) -> None:
    """An invalid general endpoint prints one line; signals with an endpoint of their own use it."""
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
def test_endpoint_with_a_clear_mistake_is_corrected(address: str, launcher: Launcher, receiver: Receiver) -> None:
    """A missing scheme, the path of one signal and surrounding spaces are corrected."""
    host = receiver.endpoint.removeprefix("http://")
    traced = launcher.run("talker.py", "7", OTEL_EXPORTER_OTLP_ENDPOINT=address.format(host=host))
    assert traced.returncode == 7
    check_all_signals_arrived(receiver)


def test_command_line_flag_invalid_prints_one_line(launcher: Launcher, receiver: Receiver) -> None:
    """Invalid flags of opentelemetry-instrument are reported like variables."""
    flags = ("--distro_exit_timeout", "soon", "--traces_sampler", "nosuch")
    traced = launcher.run(str(BIN / INSTRUMENT), *flags, sys.executable, str(APPS / "talker.py"), "7", command="bare")
    assert traced.returncode == 7
    assert len(lines_about("OTEL_DISTRO_EXIT_TIMEOUT", traced.diagnostics())) == 1
    assert len(lines_about("OTEL_TRACES_SAMPLER", traced.diagnostics())) == 1
    check_all_signals_arrived(receiver)


def test_settings_invalid_values_are_not_reported_by_children(launcher: Launcher, receiver: Receiver) -> None:
    """The first process reports an invalid value; the processes that it starts do not repeat it."""
    traced = launcher.run("workers.py", "pool", "spawn", OTEL_BSP_MAX_QUEUE_SIZE="abc", OTEL_TRACES_SAMPLER="nosuch")
    assert sorted(line.split("=")[0] for line in traced.diagnostics()) == [
        "otel-distro: OTEL_BSP_MAX_QUEUE_SIZE",
        "otel-distro: OTEL_TRACES_SAMPLER",
    ]
    assert len(receiver.logs()) == 22
