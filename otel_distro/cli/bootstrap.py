"""``otel-distro bootstrap``: install the instrumentations for the installed libraries.

OpenTelemetry's table selects them, without those that this package replaces or provides and with
the widened ranges (``compatibility.py``). Their version is that of the installed OpenTelemetry.
Nothing else changes: a plan that would change the version of another package is refused whole.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import distributions, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from packaging.requirements import Requirement
from packaging.version import Version

from otel_distro._startup import compatibility
from otel_distro.cli.messages import say, say_conflict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_OURS = "opentelemetry-"
_OLDEST_PIP = (22, 2)
_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
_UV = ("uv", "pip", "install", "--python", sys.executable)

# Their own exact pins hold every other package of the release.
_TRAIN = ("opentelemetry-api", "opentelemetry-sdk", "opentelemetry-instrumentation")

# In OpenTelemetry's table it indicates Tortoise ORM; but every FastAPI program has it.
_NO_SIGN = ("pydantic",)


class Change(NamedTuple):
    """One package of a plan: name, new version and installed version, if any."""

    name: str
    version: str
    installed: str | None

    def __str__(self) -> str:
        before = f"{self.installed} -> " if self.installed else ""
        return f"{self.name} {before}{self.version}"


class Refused(Exception):
    """The installation is not possible or not allowed; the text says why and what to do."""


def main(argv: list[str]) -> int:
    """Install what is missing, or list it with ``--dry-run``; return 1 if nothing was done."""
    parser = argparse.ArgumentParser(prog="otel-distro bootstrap", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="show what would be installed and change nothing",
    )
    parser.add_argument(
        "--print",
        action="store_true",
        help="print the requirements, for a requirements file, and stop",
    )
    arguments = parser.parse_args(argv)
    installed = {normalized(dist.name): dist.version for dist in distributions() if dist.name}
    if say_conflict("bootstrap: nothing was installed", ", then otel-distro bootstrap again"):
        # Otherwise instrumentations of another release would be installed beside the wrong SDK.
        return 1
    wanted = missing(installed)
    if arguments.print:
        print("\n".join(wanted))
        return 0
    if not wanted:
        print("Every library found here has its instrumentation already.")
        return 0
    try:
        changes = _plan(installer := _installer(wanted), wanted, installed)
        _refuse_foreign(changes)
        print("Would install:" if arguments.dry_run else "Installing:")
        print("\n".join(f"  {change}" for change in changes))
        if not arguments.dry_run:
            installer.install(changes)
            print("Done.")
    except Refused as reason:
        first, *more = str(reason).splitlines()
        say(f"bootstrap: {first}", *(line.strip() for line in more), code="OD807")
        return 1
    return 0


def _plan(installer: _Pip | _Uv, wanted: Sequence[str], installed: dict[str, str]) -> list[Change]:
    """Return the changes that install ``wanted``, with the installed OpenTelemetry if possible.

    Not every package of a train is released on the same day. Where one is missing, OpenTelemetry
    itself changes to the newest version of the tested range that has them all.
    """
    # Without these pins, one instrumentation could change the version of the SDK.
    train = [f"{name}=={installed[name]}" for name in _TRAIN if name in installed]
    try:
        return installer.plan([*wanted, *train], installed)
    except Refused as reason:
        names = [pin.partition("==") for pin in wanted]
        ranges = [f"{name}{compatibility.CONTRIB_RANGE if is_pin else rest}" for name, is_pin, rest in names]
        try:
            # The installed packages first: pip 23 finds no solution in the other order.
            return installer.plan([*_ranges(installed), *ranges], installed)
        except Refused:
            raise reason from None


def _ranges(installed: dict[str, str]) -> list[str]:
    """Return the tested range of each installed package of OpenTelemetry's release train.

    All of them: they require exact versions of each other.
    """
    api = installed.get("opentelemetry-api", "")
    core, contrib = next(train for train in compatibility.TRAINS if api.startswith(train[0]))
    found = {name: version for name, version in installed.items() if name.startswith("opentelemetry-")}
    return [
        f"{name}{compatibility.CORE_RANGE if version.startswith(core) else compatibility.CONTRIB_RANGE}"
        for name, version in found.items()
        if version.startswith((core, contrib))
    ]


def missing(installed: dict[str, str]) -> list[str]:
    """Return the requirements of the instrumentations that fit ``installed`` and are missing.

    They are pinned to the release of the installed OpenTelemetry.
    """
    from opentelemetry.instrumentation import bootstrap_gen

    train = version("opentelemetry-instrumentation")
    pins = list(bootstrap_gen.default_instrumentations)
    pins += [row["instrumentation"] for row in bootstrap_gen.libraries if _fits(row["library"], installed)]
    for instrumentor, libraries in compatibility.WIDENED.items():
        if any(_fits(library, installed) for library in libraries):
            pins.append(f"{compatibility.package_of(instrumentor)}=={train}")
    replaced = {compatibility.package_of(name) for name in (*compatibility.REPLACED, *compatibility.PROVIDED)}
    names = {normalized(Requirement(pin).name): Requirement(pin) for pin in pins}
    return sorted(
        # Packages that OpenTelemetry releases separately (generative AI) keep their own range.
        f"{name}=={train}" if "==" in str(requirement.specifier) else str(requirement)
        for name, requirement in names.items()
        if name not in replaced and name not in installed
    )


def normalized(name: str) -> str:
    """Return a package's name as PyPI compares it.

    https://packaging.python.org/specifications/name-normalization/
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def _fits(requirement: str, installed: dict[str, str]) -> bool:
    wanted = Requirement(requirement)
    name = normalized(wanted.name)
    found = None if name in _NO_SIGN else installed.get(name)
    return found is not None and wanted.specifier.contains(found, prereleases=True)


def _refuse_foreign(changes: Iterable[Change]) -> None:
    foreign = [change for change in changes if change.installed and not change.name.startswith(_OURS)]
    if foreign:
        names = "\n".join(f"  {change}" for change in foreign)
        raise Refused(
            f"the instrumentations need other versions of installed packages that are not "
            f"OpenTelemetry's. Nothing was changed; upgrade these yourself and repeat:\n{names}"
        )


class _Pip:
    def plan(self, wanted: Sequence[str], installed: dict[str, str]) -> list[Change]:
        done = _run([*_PIP, "install", "--dry-run", "--report", "-", "--quiet", *wanted])
        found = [item["metadata"] for item in json.loads(done.stdout)["install"]]
        return _changes(((item["name"], item["version"]) for item in found), installed)

    def install(self, changes: Sequence[Change]) -> None:
        _run([*_PIP, "install", "--quiet", "--no-deps", *_pins(changes)])


class _Uv:
    def plan(self, wanted: Sequence[str], installed: dict[str, str]) -> list[Change]:
        done = _run([*_UV, "--dry-run", *wanted])
        # On stderr, one line for each change: "+ name==version", after "- name==version" for a
        # replacement.
        return _changes(re.findall(r"^ \+ ([\w.-]+)==(\S+)", done.stderr, re.MULTILINE), installed)

    def install(self, changes: Sequence[Change]) -> None:
        _run([*_UV, "--no-deps", *_pins(changes)])


def _installer(wanted: Sequence[str]) -> _Pip | _Uv:
    pip = _pip_version()
    if pip >= _OLDEST_PIP:
        return _Pip()
    if shutil.which("uv"):
        return _Uv()
    if pip:
        raise Refused(f"pip is too old for a dry run; run: {sys.executable} -m pip install --upgrade pip")
    requirements = " ".join(f"'{requirement}'" for requirement in wanted)
    raise Refused(
        "neither pip nor uv was found, nothing was installed. Install what is missing from outside with:\n"
        f"  uv pip install --python {sys.executable} {requirements}"
    )


def _pip_version() -> tuple[int, ...]:
    if find_spec("pip") is None:
        return ()
    return Version(version("pip")).release[:2]


def _changes(found: Iterable[tuple[str, str]], installed: dict[str, str]) -> list[Change]:
    return sorted(Change(normalized(name), new, installed.get(normalized(name))) for name, new in found)


def _pins(changes: Sequence[Change]) -> list[str]:
    """Return exact pins of the plan, so that exactly the checked plan is installed."""
    return [f"{change.name}=={change.version}" for change in changes]


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = "\n".join(f"  {line}" for line in done.stderr.strip().splitlines()[-8:])
        raise Refused(f"{' '.join(command[:4])} failed, nothing was installed. Its output ends with:\n{said}")
    return done
