"""``otel-distro bootstrap`` in its own virtual environment, against the package index."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

import otel_distro
from otel_distro._startup import compatibility
from otel_distro.cli import bootstrap

ROOT = str(Path(otel_distro.__file__).parent.parent)
TRAIN = version("opentelemetry-instrumentation")


class Venv:
    """A virtual environment with OpenTelemetry's base packages, pip and uv."""

    def __init__(self, home: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        self.python = home / "bin" / "python"
        base = ["pip", "uv", f"opentelemetry-instrumentation=={TRAIN}"]
        subprocess.run([str(self.python), "-m", "pip", "install", "--quiet", "--upgrade", *base], check=True)
        self.packages = next((home / "lib").glob("python*/site-packages"))

    def installed(self) -> set[str]:
        """Return name and version of everything installed, in the form ``wrapt-2.5.2``."""
        return {path.name.removesuffix(".dist-info") for path in self.packages.glob("*.dist-info")}

    def bootstrap(self, *arguments: str, path: str = "/nonexistent") -> subprocess.CompletedProcess[str]:
        """Run the command with ``path`` as PATH, where it looks for uv."""
        return subprocess.run(
            [str(self.python), "-m", "otel_distro", "bootstrap", *arguments],
            env={**os.environ, "PATH": path, "PYTHONPATH": ROOT, "PYTHONDONTWRITEBYTECODE": "1"},
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Venv:
    """One environment for all tests: creating it takes seconds."""
    return Venv(tmp_path_factory.mktemp("bootstrap") / "venv")


@pytest.fixture
def library(venv: Venv) -> Iterator[Callable[[str, str], None]]:
    """A function that makes a library count as installed for one test, by its metadata alone."""
    made: list[Path] = []

    def install(name: str, number: str) -> None:
        folder = venv.packages / f"{name}-{number}.dist-info"
        folder.mkdir()
        made.append(folder)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n")
        (folder / "RECORD").touch()

    yield install
    for folder in made:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offer a newer instrumentation of openai, which needs a version of a foreign package."""
    info = "opentelemetry_instrumentation_openai_v2-999.dist-info"
    files = {
        "METADATA": "Metadata-Version: 2.1\nName: opentelemetry-instrumentation-openai-v2\nVersion: 999\n"
        "Requires-Dist: asgiref ~= 3.0\n",
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(tmp_path / "opentelemetry_instrumentation_openai_v2-999-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(f"{info}/{name}", text)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path))


@pytest.fixture
def without_pip(venv: Venv) -> Iterator[None]:
    """Remove pip from the environment, as in those that uv makes, for one test."""
    pip, away = venv.packages / "pip", venv.packages / "pip-away"
    pip.rename(away)
    yield
    away.rename(pip)


def test_bootstrap_dry_run_lists_and_changes_nothing(venv: Venv, library: Callable[[str, str], None]) -> None:
    """A dry run names the instrumentations at the installed release and changes nothing.

    SQLAlchemy 2.1, beyond upstream's range, is included.
    """
    library("celery", "5.7.0")
    library("flask", "3.1.3")
    library("sqlalchemy", "2.1.9")
    library("psutil", "7.2.2")
    library("pydantic", "2.14.4")
    before = venv.installed()
    done = venv.bootstrap("--dry-run")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "Would install:"
    assert f"  opentelemetry-instrumentation-celery {TRAIN}" in lines
    assert f"  opentelemetry-instrumentation-sqlalchemy {TRAIN}" in lines
    assert f"  opentelemetry-instrumentation-threading {TRAIN}" in lines
    for absent in ("logging", "system-metrics", "exceptions", "asyncio", "redis", "tortoiseorm", "flask", "wsgi"):
        assert f"opentelemetry-instrumentation-{absent}" not in done.stdout
    assert venv.installed() == before


def test_bootstrap_installs_missing_instrumentations_once(venv: Venv, library: Callable[[str, str], None]) -> None:
    """The plan is installed, nothing else changes, and a second run has nothing to do."""
    library("pymongo", "4.15.0")
    before = venv.installed()
    done = venv.bootstrap()
    assert done.returncode == 0, done.stderr
    after = venv.installed()
    assert before <= after
    assert f"opentelemetry_instrumentation_pymongo-{TRAIN}" in after
    again = venv.bootstrap()
    assert again.returncode == 0
    assert again.stdout == "Every library found here has its instrumentation already.\n"


@pytest.mark.usefixtures("foreign")
def test_bootstrap_refuses_to_change_foreign_packages(venv: Venv, library: Callable[[str, str], None]) -> None:
    """If an instrumentation needs another version of a foreign package, nothing is installed."""
    library("openai", "2.0.0")
    library("asgiref", "2.3.2")
    before = venv.installed()
    done = venv.bootstrap()
    assert done.returncode == 1
    assert "not OpenTelemetry's" in done.stderr
    assert "\n  asgiref 2.3.2 -> 3" in done.stderr
    assert "Traceback" not in done.stderr
    assert venv.installed() == before


def test_bootstrap_explains_a_failed_plan(
    venv: Venv, library: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If pip cannot make a plan, the end of its output is shown and nothing is installed."""
    library("celery", "5.7.0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "/nonexistent")
    before = venv.installed()
    done = venv.bootstrap()
    assert done.returncode == 1
    assert "failed, nothing was installed" in done.stderr
    assert "No matching distribution" in done.stderr
    assert venv.installed() == before


@pytest.mark.usefixtures("without_pip")
def test_bootstrap_without_pip_uses_uv(venv: Venv, library: Callable[[str, str], None]) -> None:
    """Without pip, uv does the same: a dry run, the refusal, the installation."""
    library("redis", "7.0.0")
    path = str(venv.python.parent)
    expected = f"  opentelemetry-instrumentation-redis {TRAIN}"
    dry = venv.bootstrap("--dry-run", path=path)
    assert dry.returncode == 0, dry.stderr
    assert expected in dry.stdout.splitlines()
    assert f"opentelemetry_instrumentation_redis-{TRAIN}" not in venv.installed()
    done = venv.bootstrap(path=path)
    assert done.returncode == 0, done.stderr
    assert f"opentelemetry_instrumentation_redis-{TRAIN}" in venv.installed()


@pytest.mark.usefixtures("without_pip", "foreign")
def test_bootstrap_with_uv_refuses_to_change_foreign_packages(venv: Venv, library: Callable[[str, str], None]) -> None:
    """A plan of uv that changes other packages is refused like one of pip."""
    library("openai", "2.0.0")
    library("asgiref", "2.3.2")
    done = venv.bootstrap(path=str(venv.python.parent))
    assert done.returncode == 1
    assert "\n  asgiref 2.3.2 -> 3" in done.stderr


@pytest.mark.usefixtures("without_pip")
def test_bootstrap_without_pip_and_uv_prints_the_command(venv: Venv, library: Callable[[str, str], None]) -> None:
    """Without pip and uv the command for an installation from outside is printed."""
    library("celery", "5.7.0")
    done = venv.bootstrap()
    assert done.returncode == 1
    assert f"uv pip install --python {venv.python}" in done.stderr
    assert f"'opentelemetry-instrumentation-celery=={TRAIN}'" in done.stderr


def test_bootstrap_print_lists_requirements(venv: Venv, library: Callable[[str, str], None]) -> None:
    """``--print`` gives lines for a requirements file without asking an index."""
    library("celery", "5.7.0")
    done = venv.bootstrap("--print")
    assert done.returncode == 0
    assert f"opentelemetry-instrumentation-celery=={TRAIN}" in done.stdout.splitlines()


def test_bootstrap_ranges_are_upstream_or_widened() -> None:
    """A library outside upstream's range and the widened ones is left alone.

    Names are compared as the index compares them.
    """
    names = " ".join(
        bootstrap.missing({"sqlalchemy": "2.1.9", "celery": "3.1", "pika": "1.3", "psycopg2-binary": "2.9"})
    )
    assert compatibility.package_of("sqlalchemy") in names
    assert compatibility.package_of("pika") in names
    assert compatibility.package_of("psycopg2") in names
    assert compatibility.package_of("celery") not in names
    assert bootstrap.normalized("Foo_.Bar") == "foo-bar"


def test_replaced_instrumentor_exists_upstream() -> None:
    """Every replaced instrumentor is in upstream's table, and has its reason."""
    from opentelemetry.instrumentation import bootstrap_gen

    pins = [*bootstrap_gen.default_instrumentations, *(row["instrumentation"] for row in bootstrap_gen.libraries)]
    packages = {pin.partition("==")[0] for pin in pins}
    for name, reason in compatibility.REPLACED.items():
        assert compatibility.package_of(name) in packages
        assert len(reason) > 20


def test_provided_instrumentor_exists_upstream_and_is_not_installed() -> None:
    """Every provided instrumentor is in upstream's table; bootstrap asks for none of them."""
    from opentelemetry.instrumentation import bootstrap_gen

    pins = [*bootstrap_gen.default_instrumentations, *(row["instrumentation"] for row in bootstrap_gen.libraries)]
    provided = {compatibility.package_of(name) for name in compatibility.PROVIDED}
    assert provided <= {pin.partition("==")[0] for pin in pins}
    libraries = {"flask": "3.1.3", "fastapi": "0.165.0", "starlette": "1.10.0", "asgiref": "3.9", "aiohttp": "3.13"}
    wanted = {pin.partition("==")[0] for pin in bootstrap.missing(libraries)}
    assert not provided & wanted


def test_bootstrap_beside_unsupported_release_prints_the_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside an unsupported OpenTelemetry nothing is installed, and the remedy is printed."""
    monkeypatch.setattr(compatibility, "TRAINS", (("1.99.", "0.99b"),))
    assert bootstrap.main([]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert f"opentelemetry-api {version('opentelemetry-api')} found" in said.err
    assert "'opentelemetry-sdk" in said.err
    assert " install " in said.err.splitlines()[1]


class Installer:
    """An installer of a package index that lacks a package of the installed train."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def plan(self, wanted: Sequence[str], installed: dict[str, str]) -> list[bootstrap.Change]:
        self.asked.append(list(wanted))
        if any("==" in each for each in wanted):
            raise bootstrap.Refused("no version of opentelemetry-instrumentation-flask==0.66b2")
        return [bootstrap.Change("opentelemetry-instrumentation-flask", "0.66b1", None)]

    def install(self, changes: Sequence[bootstrap.Change]) -> None:
        """Do nothing."""


def test_train_that_is_not_complete_changes_within_the_range() -> None:
    """Where a package of the installed train is missing, the whole range is tried."""
    installer: Any = Installer()
    installed = {"opentelemetry-api": "1.45.2", "opentelemetry-instrumentation": "0.66b2"}
    wanted = ["opentelemetry-instrumentation-flask==0.66b2", "opentelemetry-instrumentation-genai>=1"]
    assert [str(change) for change in bootstrap._plan(installer, wanted, installed)] == [
        "opentelemetry-instrumentation-flask 0.66b1"
    ]
    assert installer.asked == [
        [*wanted, "opentelemetry-api==1.45.2", "opentelemetry-instrumentation==0.66b2"],
        [
            f"opentelemetry-api{compatibility.CORE_RANGE}",
            f"opentelemetry-instrumentation{compatibility.CONTRIB_RANGE}",
            f"opentelemetry-instrumentation-flask{compatibility.CONTRIB_RANGE}",
            "opentelemetry-instrumentation-genai>=1",
        ],
    ]
