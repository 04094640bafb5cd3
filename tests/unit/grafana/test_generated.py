"""The JSON in the repository equals the output of the Python source."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from grafana.__main__ import generate, main
from tests.support.grafana_names import FILES, GRAFANA


def test_committed_dashboards_are_those_generated() -> None:
    """`python -m grafana --check`, as the CI runs it, has nothing to report."""
    done = subprocess.run(
        [sys.executable, "-m", "grafana", "--check"], cwd=GRAFANA.parent, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert FILES


def test_board_is_generated_without_registration() -> None:
    """A new module in grafana/boards is a dashboard without any registration."""
    modules = {path.stem for path in (GRAFANA / "boards").glob("*.py")} - {"__init__"}
    assert {f"{name}.json" for name in modules} == generate().keys()


def test_check_names_differing_files_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--check fails and names a changed, a missing and a left-over file, and writes nothing."""
    main([], tmp_path)
    assert main(["--check"], tmp_path) == 0
    (tmp_path / "service_overview.json").write_text("{}", encoding="utf-8")
    (tmp_path / "gone.json").write_text("{}", encoding="utf-8")

    assert main(["--check"], tmp_path) == 1

    lines = capsys.readouterr().err.splitlines()
    assert [str(tmp_path / "gone.json"), str(tmp_path / "service_overview.json")] == [x.split()[0] for x in lines]
    assert (tmp_path / "service_overview.json").read_text(encoding="utf-8") == "{}"


def test_generator_repairs_and_removes_files(tmp_path: Path) -> None:
    """Without --check every file is as generated afterwards; a file without a board is removed."""
    (tmp_path / "gone.json").write_text("{}", encoding="utf-8")

    assert main([], tmp_path) == 0

    written = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert generate() == written
    assert all(json.loads(text)["uid"] for text in written.values())
