"""Build the programs that the tests of the stack run.

    python tests/stack/build.py [NAME...]

Each is compiled from its released Go module into a cache outside of the source tree. The key in the
cache covers everything that decides the result (version pins, checksums, build tags), so a second
run finds all programs there. The grammars of the query languages are npm packages and are installed
into the same cache. The cache is ``$OTEL_DISTRO_BACKENDS_CACHE``, else
``$XDG_CACHE_HOME/otel-distro/backends``, else ``~/.cache/otel-distro/backends``.

Needs Go 1.26, npm, and only the standard library of Python.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[2]
MODULES = Path(__file__).resolve().parent / "backends"
GRAMMARS = Path(__file__).resolve().parent / "grammars"
BUILDER_CONFIG = ROOT / "collector" / "builder.yaml"
GO_NEEDED = (1, 26)
# Read at import: tests remove the variables of OpenTelemetry from the environment.
NAMED_CACHE = os.environ.get("OTEL_DISTRO_BACKENDS_CACHE")
COMPILE = ("-trimpath", "-ldflags=-s -w")


class BuildError(Exception):
    """A program cannot be built; the message says what to install or run."""


@dataclass(frozen=True)
class Backend:
    """One Go module under ``backends/`` and the programs that it builds."""

    name: str
    programs: tuple[str, ...]
    tags: str = ""

    @property
    def module(self) -> Path:
        """The folder with the module's ``go.mod`` and ``go.sum``."""
        return MODULES / self.name

    def inputs(self) -> list[Path]:
        """Return the files that decide the result of the build."""
        if self.name == "grammars":
            return [GRAMMARS / name for name in ("package.json", "package-lock.json", "parse.js")]
        files = [self.module / "go.mod", self.module / "go.sum"]
        return [*files, BUILDER_CONFIG] if self.name == "collector" else files

    def key(self) -> str:
        """Return the name of the folder in the cache, which changes with any input of the build."""
        digest = hashlib.sha256(" ".join((*self.programs, self.tags, *COMPILE)).encode())
        for file in self.inputs():
            # Comments of builder.yaml do not change the build; the other files have none.
            lines = file.read_bytes().splitlines(keepends=True)
            digest.update(b"".join(line for line in lines if not line.lstrip().startswith(b"#")))
        return f"{self.name}-{digest.hexdigest()[:12]}"


BACKENDS = (
    Backend("collector", ("otelcol-distro",)),
    Backend("prometheus", ("prometheus", "promtool"), tags="remove_all_sd,netgo"),
    Backend("alertmanager", ("alertmanager", "amtool")),
    Backend("victorialogs", ("victoria-logs",)),
    Backend("jaeger", ("jaeger",)),
    # npm writes this file last: it exists once all packages are installed.
    Backend("grammars", ("parse.js", "node_modules/.package-lock.json")),
)


def cache() -> Path:
    """Return the folder of the built programs."""
    if NAMED_CACHE:
        return Path(NAMED_CACHE)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "otel-distro" / "backends"


def locate(program: str) -> Path:
    """Return the path of a built program.

    Raises:
        BuildError: It is not built.
    """
    for backend in BACKENDS:
        if program in backend.programs:
            path = cache() / backend.key() / program
            if path.is_file():
                return path
            needs = "npm" if backend.name == "grammars" else "Go 1.26"
            raise BuildError(
                f"{program} is not built: run `python tests/stack/build.py {backend.name}` (needs {needs})"
            )
    raise BuildError(f"no backend builds a program named {program}")


def check_go() -> None:
    """Raise :class:`BuildError` unless ``go`` is installed and new enough."""
    need = ".".join(map(str, GO_NEEDED))
    try:
        said = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        raise BuildError(f"Building the backends needs Go {need} or newer, and no working `go` is on PATH.") from None
    found = re.match(r"go(\d+)\.(\d+)", said)
    if found is None or tuple(map(int, found.groups())) < GO_NEEDED:
        raise BuildError(
            f"Building the backends needs Go {need} or newer; `go` on PATH is {said or 'of no known version'}."
        )


def check_npm() -> None:
    """Raise :class:`BuildError` unless ``npm`` and ``node`` are installed."""
    if not (shutil.which("npm") and shutil.which("node")):
        raise BuildError("Installing the grammars of the query languages needs npm and node on PATH.")


def build(backend: Backend) -> str:
    """Build the programs that the cache lacks and return what was done.

    Raises:
        BuildError: A tool is missing, or a command failed.
    """
    home = cache() / backend.key()
    if _complete(backend, home):
        return "cached"
    (check_npm if backend.name == "grammars" else check_go)()
    home.parent.mkdir(parents=True, exist_ok=True)
    with _exclusive(home):
        if _complete(backend, home):
            return "cached (another run built it)"
        started = time.monotonic()
        work = Path(tempfile.mkdtemp(prefix=f"{home.name}.", dir=home.parent))
        try:
            {"collector": _collector, "grammars": _grammars}.get(backend.name, _module)(backend, work / "out", work)
            shutil.rmtree(home, ignore_errors=True)
            (work / "out").rename(home)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return f"built in {time.monotonic() - started:.0f} s"


def _complete(backend: Backend, home: Path) -> bool:
    return all((home / program).is_file() for program in backend.programs)


@contextmanager
def _exclusive(home: Path) -> Iterator[None]:
    """Hold the lock of one key, so that two concurrent runs do not compile the same program."""
    with open(home.with_name(f"{home.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _module(backend: Backend, out: Path, _work: Path) -> None:
    """Compile the module's tools.

    Go's default ``-mod=readonly`` rejects modules that are missing in ``go.sum``.
    """
    out.mkdir()
    tags = [f"-tags={backend.tags}"] if backend.tags else []
    _run(["go", "build", *COMPILE, *tags, "-o", f"{out}/", "tool"], backend.module)


def _collector(backend: Backend, out: Path, work: Path) -> None:
    """Compile the Collector's builder, and with it the Collector of ``collector/builder.yaml``."""
    _module(backend, work / "tools", work)
    _run([str(work / "tools" / "builder"), "--config", str(BUILDER_CONFIG), "--ldflags=-s -w"], work)
    out.mkdir()
    (work / "build" / "otelcol-distro").rename(out / "otelcol-distro")


def _grammars(backend: Backend, out: Path, _work: Path) -> None:
    """Install the packages of the lock file beside the script that imports them."""
    out.mkdir()
    for file in backend.inputs():
        shutil.copy(file, out)
    _run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], out)


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, check=False, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        last = "\n".join(done.stdout.splitlines()[-20:])
        raise BuildError(f"`{' '.join(command)}` ended with {done.returncode}:\n{last}")


def main(names: Sequence[str]) -> int:
    """Build the named backends, all by default; print a line for each, return the exit status."""
    known = {backend.name: backend for backend in BACKENDS}
    if unknown := [name for name in names if name not in known]:
        print(f"no such backend: {', '.join(unknown)} (known: {', '.join(known)})", file=sys.stderr)
        return 2
    try:
        for backend in [known[name] for name in names] or BACKENDS:
            print(f"{backend.name}: ", end="", flush=True)
            print(f"{build(backend)} ({cache() / backend.key()})", flush=True)
    except BuildError as error:
        print("failed", flush=True)
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
