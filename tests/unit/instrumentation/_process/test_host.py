"""The lease of the host: one process at a time has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_distro.instrumentation._process.host import HostLease

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_lease_without_usable_file_is_granted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a lock file, or with a planted link, the process reports the host."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    assert HostLease().acquire()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "otel-distro-host-metrics.lock").symlink_to(tmp_path / "elsewhere")
    assert HostLease().acquire()
    assert not (tmp_path / "elsewhere").exists()


def test_released_lease_can_be_acquired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After ``release()`` another process can acquire the lease."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    first, second = HostLease(), HostLease()
    assert (first.acquire(), second.acquire(), first.acquire()) == (True, False, True)
    first.release()
    assert (second.acquire(), first.acquire()) == (True, False)
    second.release()
