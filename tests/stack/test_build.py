"""The script that builds the programs."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.stack.build import BACKENDS, ROOT, cache

if TYPE_CHECKING:
    from pathlib import Path


def run(*names: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the script with this environment alone."""
    command = [sys.executable, "tests/stack/build.py", *names]
    return subprocess.run(command, check=False, cwd=ROOT, env=env, capture_output=True, text=True, timeout=30)


def test_build_with_a_full_cache_builds_nothing() -> None:
    """With every program in the cache it prints one line each and needs neither Go nor npm."""
    done = run(PATH="/nowhere", OTEL_DISTRO_BACKENDS_CACHE=str(cache()))
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split(" (")[0] for line in done.stdout.splitlines()] == [f"{b.name}: cached" for b in BACKENDS]


def test_build_without_go_prints_one_sentence(tmp_path: Path) -> None:
    """Without Go it ends with one sentence that names the needed version."""
    done = run("jaeger", PATH="/nowhere", OTEL_DISTRO_BACKENDS_CACHE=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == "Building the backends needs Go 1.26 or newer, and no working `go` is on PATH.\n"


def test_build_with_an_old_go_prints_one_sentence(tmp_path: Path) -> None:
    """A Go that is too old is reported before anything is compiled."""
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho go1.25.3\n")
    go.chmod(0o755)
    done = run("jaeger", PATH=f"{tmp_path}:/bin:/usr/bin", OTEL_DISTRO_BACKENDS_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 1
    assert "Building the backends needs Go 1.26 or newer; `go` on PATH is go1.25.3." in done.stderr


def test_build_without_npm_prints_one_sentence(tmp_path: Path) -> None:
    """Without npm it ends with one sentence that names npm and node."""
    done = run("grammars", PATH="/nowhere", OTEL_DISTRO_BACKENDS_CACHE=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == "Installing the grammars of the query languages needs npm and node on PATH.\n"
