"""Parts that are broken, missing or too old: one line on each, and everything else is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.programs import INSTRUMENT, RUN, Launcher, Way, fake_package

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


def check_told(receiver: Receiver) -> None:
    """Check that all three signals of ``talker.py`` arrived."""
    assert len(receiver.logs("talking")) == 1
    assert len(receiver.spans("SELECT")) == 1
    assert receiver.points("process.memory.usage")


@pytest.mark.parametrize("way", [INSTRUMENT, RUN])
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
def test_a_broken_instrumentor(source: str, problem: str, way: Way, launcher: Launcher, receiver: Receiver) -> None:
    """It is told in one line that names it, counted, and nothing else is lost."""
    path = fake_package(
        launcher.folder / "fake", "broken", "1.0", source, ["[opentelemetry_instrumentor]", "broken = broken:Fake"]
    )
    told = launcher.run("talker.py", "7", way=way, PYTHONPATH=str(path))
    assert (told.status, told.stdout) == (7, "begin\nend\n")
    (line,) = told.ours()
    assert line.startswith("otel-distro: instrumentor broken")
    assert problem in line
    check_told(receiver)
    assert receiver.total("otel_distro.instrumentor.failures", otel_distro_instrumentor_name="broken") == 1


def test_an_instrumentor_whose_library_is_missing(launcher: Launcher, receiver: Receiver) -> None:
    """It is left out without a word, as every instrumentor whose library the user does not have."""
    source = INSTRUMENTOR.format(dependencies="'a-library-that-is-not-there >= 1',", instrument="print('patched')")
    path = fake_package(
        launcher.folder / "fake", "lonely", "1.0", source, ["[opentelemetry_instrumentor]", "lonely = lonely:Fake"]
    )
    told = launcher.run("talker.py", "7", PYTHONPATH=str(path))
    assert (told.status, told.stdout, told.ours()) == (7, "begin\nend\n", [])
    check_told(receiver)


def test_an_instrumentor_of_others_is_loaded(launcher: Launcher, receiver: Receiver) -> None:
    """An instrumentor that we do not know patches at the start, as under upstream's distribution."""
    source = INSTRUMENTOR.format(dependencies="", instrument="print('patched', flush=True)")
    path = fake_package(
        launcher.folder / "fake", "welcome", "1.0", source, ["[opentelemetry_instrumentor]", "welcome = welcome:Fake"]
    )
    told = launcher.run("talker.py", "7", PYTHONPATH=str(path))
    assert told.stdout.count("patched\n") == 1
    assert told.ours() == []
    check_told(receiver)


@pytest.mark.parametrize("way", [INSTRUMENT, RUN])
def test_a_library_at_an_unsupported_version(way: Way, launcher: Launcher, receiver: Receiver) -> None:
    """It gives one line with what is installed and what is supported; the rest of the program is told."""
    path = fake_package(launcher.folder / "fake", "flask", "0.1", "Flask = None")
    told = launcher.run("-c", "import flask, logging; logging.warning('talking')", way=way, PYTHONPATH=str(path))
    assert told.status == 0
    (line,) = told.ours()
    assert line.startswith("otel-distro: flask is not instrumented: flask 0.1")
    assert "flask" in line.partition("supported is")[2]
    assert len(receiver.logs("talking")) == 1


@pytest.mark.parametrize("way", [INSTRUMENT, RUN])
@pytest.mark.parametrize("package", ["opentelemetry-sdk", "opentelemetry-instrumentation"])
def test_another_release_of_opentelemetry(package: str, way: Way, launcher: Launcher, receiver: Receiver) -> None:
    """We step aside: the program runs as bare, with one line that says which package is not the one we are made for."""
    path = fake_package(launcher.folder / "fake", package, "1.30.0")
    told = launcher.run("talker.py", "7", way=way, PYTHONPATH=str(path))
    assert (told.status, told.stdout) == (7, "begin\nend\n")
    (line,) = told.ours()
    assert line.startswith(f"otel-distro: telemetry is off: {package} 1.30.0 found")
    assert told.stderr.replace(f"{line}\n", "") == "talking\n"
    assert receiver.requests == []


def test_an_exporter_that_is_not_installed(launcher: Launcher, receiver: Receiver) -> None:
    """An exporter that is asked for and not installed is told with what to install, and ours delivers instead."""
    told = launcher.run("talker.py", "7", OTEL_TRACES_EXPORTER="zipkin")
    assert told.status == 7
    (line,) = told.ours()
    assert line.startswith("otel-distro: OTEL_TRACES_EXPORTER='zipkin'")
    assert "opentelemetry-exporter-zipkin" in line
    check_told(receiver)


def test_another_distribution_that_was_chosen(launcher: Launcher, receiver: Receiver) -> None:
    """Where the user chose another installed distribution by name, it runs and we do nothing."""
    source = """
from opentelemetry.instrumentation.distro import BaseDistro

class Other(BaseDistro):
    def _configure(self, **kwargs):
        print("other", flush=True)
"""
    path = fake_package(
        launcher.folder / "fake", "other", "1.0", source, ["[opentelemetry_distro]", "other = other:Other"]
    )
    told = launcher.run("talker.py", "7", PYTHONPATH=str(path), OTEL_PYTHON_DISTRO="other", OTEL_TRACES_EXPORTER="none")
    assert "other\n" in told.stdout
    assert told.ours() == []
    assert told.status == 7
    assert "otel-distro" not in {span.resource.get("telemetry.distro.name") for span in receiver.spans()}
