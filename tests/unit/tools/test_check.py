"""``python -m tools.check`` finds missing registrations, and names the remedy."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from otel_distro import schema
from tools import check, settings_pages

INSTRUMENTOR = """
from otel_distro.instrumentation import Instrumentor


class CacheReadsInstrumentor(Instrumentor):
    def install(self) -> None:
        pass
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the files that the checks read."""
    for name in ("docs", "otel_distro/instrumentation", "otel_distro/schema", "tests/unit/instrumentation"):
        shutil.copytree(check.ROOT / name, tmp_path / name)
    for path in (*check.ROOT.glob("*.md"), check.ROOT / "pyproject.toml"):
        shutil.copy(path, tmp_path)
    return tmp_path


def test_repository_as_it_is_has_no_findings() -> None:
    """`python -m tools.check`, as `make check` runs it, prints nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.check"], cwd=check.ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_instrumentor_without_registration_is_found_with_each_remedy(copy: Path) -> None:
    """A new file with an instrumentor gets three lines: trigger, entry point, contract."""
    (copy / "otel_distro/instrumentation/cache_reads.py").write_text(INSTRUMENTOR, encoding="utf-8")
    found = list(check.findings(copy))
    assert all(line.startswith("otel_distro/instrumentation/cache_reads.py: ") for line in found)
    place = "otel_distro.instrumentation.cache_reads:CacheReadsInstrumentor"
    assert [place in line for line in found] == [True, True, False]
    assert ["triggers.py" in line for line in found] == [True, False, False]
    assert f"'cache_reads = \"{place}\"'" in found[1]
    assert "tests/unit/instrumentation/test_cache_reads.py" in found[2]


def test_instrumentor_whose_test_has_no_contract_is_found(copy: Path) -> None:
    """A registered instrumentor needs CONTRACT in its test module."""
    test = copy / "tests/unit/instrumentation/test_log_records.py"
    test.write_text(test.read_text(encoding="utf-8").replace("\nCONTRACT = ", "\nFORGOTTEN = "), encoding="utf-8")
    (line,) = check.findings(copy)
    assert "LogRecordsInstrumentor has no contract; fix: " in line


def test_name_with_undeclared_root_is_found_with_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name under an undeclared root is reported with its file and the remedy."""
    monkeypatch.setattr(schema, "OWN_ROOTS", tuple(root for root in schema.OWN_ROOTS if root != "audit"))
    found = list(check.undeclared_roots())
    assert found
    assert all(line.startswith("otel_distro/schema/security.py: 'audit.") for line in found)
    assert all("OWN_ROOTS in otel_distro/schema/kinds.py" in line for line in found)


def test_page_with_unknown_setting_is_found_with_its_line(copy: Path) -> None:
    """A variable that settings.py does not have is found where a page names it."""
    (copy / "docs" / "more.md").write_text("Set\n`OTEL_DISTRO_SPOOL_COLOUR=red`.\n", encoding="utf-8")
    (line,) = check.findings(copy)
    assert line.startswith("docs/more.md:2: OTEL_DISTRO_SPOOL_COLOUR is no setting; fix: ")


def test_stale_table_of_settings_is_found_and_mended(copy: Path) -> None:
    """A page whose table lacks a row is reported; the generator restores it and nothing else."""
    page = copy / "docs" / "settings.md"
    whole = page.read_text(encoding="utf-8")
    lost = next(line for line in whole.splitlines(keepends=True) if "OTEL_DISTRO_EXIT_TIMEOUT`" in line)
    page.write_text(whole.replace(lost, ""), encoding="utf-8")
    (line,) = check.findings(copy)
    assert line == "docs/settings.md: its table of settings is stale; fix: python -m tools.settings_pages"
    assert settings_pages.main(["--check"], copy / "docs") == 1
    assert settings_pages.main([], copy / "docs") == 0
    assert page.read_text(encoding="utf-8") == whole
    assert settings_pages.main(["--check"], copy / "docs") == 0


def test_schema_module_that_the_package_does_not_export_is_found(copy: Path) -> None:
    """A new file of names needs its import in the package, and the line says which."""
    assert list(check.unlisted_schema_modules(copy)) == []
    (copy / "otel_distro" / "schema" / "caches.py").touch()
    (line,) = check.unlisted_schema_modules(copy)
    assert line.startswith("otel_distro/schema/caches.py: ")
    assert "'from otel_distro.schema.caches import *'" in line
