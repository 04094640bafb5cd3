"""The command finds its subcommands, and ``run`` replaces itself by the given command."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from otel_distro import __version__, cli
from otel_distro.cli import run as run_command
from tests.support.processes import RUN, run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_every_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Without arguments or with a request for help, every subcommand is listed, with status 0."""
    assert cli.main(arguments) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    for name, brief in cli.COMMANDS.items():
        assert f"  {name:<10} {brief}\n" in shown.out


def test_unknown_command_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown command is reported on stderr with the list of commands; status 2."""
    assert cli.main(["lunch", "now"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("otel-distro: there is no command 'lunch' [OD801]\nusage: otel-distro COMMAND")


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """The version is printed."""
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"otel-distro {__version__}\n"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_command_has_help(tmp_path: Path, name: str) -> None:
    """Every subcommand is a module of its name that has a help text."""
    ended = run(tmp_path, sys.executable, "-m", "otel_distro", name, "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"otel-distro {name}" in ended.stdout


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["python", "app.py"], ["python", "app.py"]),
        (["--", "python", "--", "x"], ["python", "--", "x"]),
        (["--", "--help"], ["--help"]),
        (["--"], []),
    ],
)
def test_run_takes_the_command_after_dashes(argv: list[str], words: list[str]) -> None:
    """The command is everything after the first ``--``, or everything."""
    assert run_command.command(argv) == words


@pytest.mark.parametrize(
    ("path", "expected"), [(None, ""), ("", ""), ("/a:/b", ":/a:/b"), ("/a:", ":/a:"), ("{site}:/a", ":/a")]
)
def test_run_environment_has_the_folder_first(path: str | None, expected: str) -> None:
    """The distribution's folder is first on PYTHONPATH, once; everything else is unchanged."""
    base = {"HOME": "/root"} if path is None else {"HOME": "/root", "PYTHONPATH": path.format(site=run_command.SITE)}
    given = dict(base)
    assert run_command.environment(base) == {"HOME": "/root", "PYTHONPATH": f"{run_command.SITE}{expected}"}
    assert base == given


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        (("made-nowhere",), 127, "otel-distro: made-nowhere: command not found [OD802]\n"),
        (("./script",), 126, "otel-distro: ./script: Permission denied [OD802]\n"),
        (("sh", "-c", "exit 9"), 9, ""),
    ],
)
def test_run_status_is_that_of_the_command(tmp_path: Path, command: tuple[str, ...], status: int, said: str) -> None:
    """The exit status is the command's; one that cannot start gives 127 or 126, as in shells."""
    (tmp_path / "script").write_text("exit 0\n", encoding="utf-8")
    ended = run(tmp_path, *RUN, *command)
    assert (ended.returncode, ended.stderr) == (status, said)


def test_run_without_a_command_prints_usage(tmp_path: Path) -> None:
    """Without a command: status 2, the usage on stderr."""
    ended = run(tmp_path, sys.executable, "-m", "otel_distro", "run")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("usage: otel-distro run")


def test_run_process_is_replaced_by_the_command(tmp_path: Path) -> None:
    """The command keeps the process id: there is no parent in between that could lose signals."""
    script = "import os; print(os.getpid(), os.getppid())"
    ended = run(tmp_path, "sh", "-c", 'echo $$; exec "$@"', "sh", *RUN, sys.executable, "-c", script)
    first, second = ended.stdout.splitlines()
    assert second == f"{first} {os.getpid()}"
