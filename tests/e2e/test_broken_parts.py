"""A broken, missing or outdated component prints one line; all other telemetry arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.programs import INSTRUMENT, RUN, Command, Launcher, fake_package

if TYPE_CHECKING:
    from tests.support.receiver import Receiver

INSTRUMENTOR = """
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

class Fake(BaseInstrumentor):
    def instrumentation_dependencies(self):
        return ({dependencies})

    def _instrument(self, **kwargs):
        {instrument}

    def _uninstrument(self, **kwargs):
        pass
"""


def check_all_signals_arrived(receiver: Receiver) -> None:
    """Check that all three signals of ``talker.py`` arrived."""
    assert len(receiver.logs("talking")) == 1
    assert len(receiver.spans("SELECT")) == 1
    assert receiver.points("process.memory.usage")


@pytest.mark.parametrize("command", [INSTRUMENT, RUN])
@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (INSTRUMENTOR.format(dependencies="", instrument="raise ValueError('worn out')"), "ValueError: worn out"),
        ("raise SyntaxError('written in haste')", "SyntaxError: written in haste"),
        ("import a_library_that_is_not_there", "ModuleNotFoundError"),
        ("Other = 1", "AttributeError"),
    ],
    ids=["patch", "import", "dependency", "name"],
)
def test_instrumentor_that_fails_to_load_prints_one_line_and_is_counted(
    source: str, problem: str, command: Command, launcher: Launcher, receiver: Receiver
) -> None:
    """One line names the instrumentor, a metric counts it, and no other telemetry is lost."""
    path = fake_package(
        launcher.folder / "fake", "broken", "1.0", source, ["[opentelemetry_instrumentor]", "broken = broken:Fake"]
    )
    traced = launcher.run("talker.py", "7", command=command, PYTHONPATH=str(path))
    assert (traced.returncode, traced.stdout) == (7, "begin\nend\n")
    (line,) = traced.diagnostics()
    assert line.startswith("otel-distro: instrumentor broken")
    assert problem in line
    check_all_signals_arrived(receiver)
    assert receiver.total("otel_distro.instrumentor.failures", otel_distro_instrumentor_name="broken") == 1


def test_instrumentor_with_a_missing_library_is_skipped_silently(launcher: Launcher, receiver: Receiver) -> None:
    """An instrumentor whose library is not installed is skipped without a message."""
    source = INSTRUMENTOR.format(dependencies="'a-library-that-is-not-there >= 1',", instrument="print('patched')")
    path = fake_package(
        launcher.folder / "fake", "lonely", "1.0", source, ["[opentelemetry_instrumentor]", "lonely = lonely:Fake"]
    )
    traced = launcher.run("talker.py", "7", PYTHONPATH=str(path))
    assert (traced.returncode, traced.stdout, traced.diagnostics()) == (7, "begin\nend\n", [])
    check_all_signals_arrived(receiver)


def test_instrumentor_of_another_package_patches_at_start(launcher: Launcher, receiver: Receiver) -> None:
    """An instrumentor that the distribution does not know patches at start, as in upstream's."""
    source = INSTRUMENTOR.format(dependencies="", instrument="print('patched', flush=True)")
    path = fake_package(
        launcher.folder / "fake", "welcome", "1.0", source, ["[opentelemetry_instrumentor]", "welcome = welcome:Fake"]
    )
    traced = launcher.run("talker.py", "7", PYTHONPATH=str(path))
    assert traced.stdout.count("patched\n") == 1
    assert traced.diagnostics() == []
    check_all_signals_arrived(receiver)


@pytest.mark.parametrize("command", [INSTRUMENT, RUN])
def test_library_at_an_unsupported_version_prints_one_line(
    command: Command, launcher: Launcher, receiver: Receiver
) -> None:
    """One line names the installed and the supported version; other telemetry still arrives."""
    path = fake_package(launcher.folder / "fake", "flask", "0.1", "Flask = None")
    traced = launcher.run(
        "-c", "import flask, logging; logging.warning('talking')", command=command, PYTHONPATH=str(path)
    )
    assert traced.returncode == 0
    (line,) = traced.diagnostics()
    assert line.startswith("otel-distro: flask is not instrumented: flask 0.1")
    assert "flask" in line.partition("supported is")[2]
    assert len(receiver.logs("talking")) == 1


@pytest.mark.parametrize("command", [INSTRUMENT, RUN])
@pytest.mark.parametrize("package", ["opentelemetry-sdk", "opentelemetry-instrumentation"])
def test_opentelemetry_at_another_release_switches_telemetry_off(
    package: str, command: Command, launcher: Launcher, receiver: Receiver
) -> None:
    """The program runs as bare; one line names the package whose release is not supported."""
    path = fake_package(launcher.folder / "fake", package, "1.30.0")
    traced = launcher.run("talker.py", "7", command=command, PYTHONPATH=str(path))
    assert (traced.returncode, traced.stdout) == (7, "begin\nend\n")
    (line,) = traced.diagnostics()
    assert line.startswith(f"otel-distro: telemetry is off: {package} 1.30.0 found")
    assert traced.stderr.replace(f"{line}\n", "") == "talking\n"
    assert receiver.requests == []


def test_exporter_not_installed_is_replaced_by_otlp(launcher: Launcher, receiver: Receiver) -> None:
    """One line names the missing exporter and its package; the OTLP exporter delivers instead."""
    traced = launcher.run("talker.py", "7", OTEL_TRACES_EXPORTER="zipkin")
    assert traced.returncode == 7
    (line,) = traced.diagnostics()
    assert line.startswith("otel-distro: OTEL_TRACES_EXPORTER='zipkin'")
    assert "opentelemetry-exporter-zipkin" in line
    check_all_signals_arrived(receiver)


def test_distribution_of_another_package_selected_by_name_runs_alone(launcher: Launcher, receiver: Receiver) -> None:
    """If OTEL_PYTHON_DISTRO selects another installed distribution, this one does nothing."""
    source = """
from opentelemetry.instrumentation.distro import BaseDistro

class Other(BaseDistro):
    def _configure(self, **kwargs):
        print("other", flush=True)
"""
    path = fake_package(
        launcher.folder / "fake", "other", "1.0", source, ["[opentelemetry_distro]", "other = other:Other"]
    )
    traced = launcher.run(
        "talker.py", "7", PYTHONPATH=str(path), OTEL_PYTHON_DISTRO="other", OTEL_TRACES_EXPORTER="none"
    )
    assert "other\n" in traced.stdout
    assert traced.diagnostics() == []
    assert traced.returncode == 7
    assert "otel-distro" not in {span.resource.get("telemetry.distro.name") for span in receiver.spans()}
