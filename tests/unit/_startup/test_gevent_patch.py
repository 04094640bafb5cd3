"""Work is done outside of a patch of the standard library, and the timer waits for one to come."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from otel_distro._startup import gevent_patch
from tests.support.processes import bare_and_ours

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """The state of a process that has just started."""
    monkeypatch.setattr(gevent_patch, "_state", gevent_patch._State())
    for name in ("gevent.monkey", "eventlet", "eventlet.patcher"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "orig_argv", ["celery", "worker"])


@pytest.mark.parametrize("words", ["-P gevent", "--pool gevent", "--pool=eventlet", "-Peventlet"])
def test_patch_is_expected_where_the_command_names_a_pool_of_greenlets(
    words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every spelling of the option counts, other values do not."""
    assert not gevent_patch.is_expected()
    monkeypatch.setattr(sys, "orig_argv", ["celery", "worker", *words.split(), "-l", "INFO"])
    assert gevent_patch.is_expected()
    other = [word.replace("gevent", "threads").replace("eventlet", "solo") for word in sys.orig_argv]
    monkeypatch.setattr(sys, "orig_argv", other)
    assert not gevent_patch.is_expected()


def test_patch_is_expected_no_longer_after_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that imports gevent and does not patch gets telemetry."""
    monkeypatch.setattr(sys, "orig_argv", ["celery", "worker", "-P", "gevent"])
    gevent_patch._state.created -= gevent_patch._LONGEST_WAIT_S + 1
    assert not gevent_patch.is_expected()


def test_work_outside_of_a_patch_is_done_at_once() -> None:
    """Nothing is kept where nothing patches."""
    done: list[str] = []
    gevent_patch.outside(lambda: done.append("work"))
    assert done == ["work"]


@pytest.mark.parametrize(
    "patch", ["from gevent.monkey import patch_all", "from eventlet import monkey_patch as patch_all"]
)
def test_import_in_the_middle_of_a_patch_loads_its_instrumentor_after_it(patch: str, tmp_path: Path) -> None:
    """The patch itself may import a library; the instrumentor of it comes when it is complete."""
    program = f"""
import sys, threading, warnings

warnings.simplefilter("ignore")
{patch}

class Proxy:
    lock = threading.RLock()
    seen = []

    @property
    def __class__(self):
        if not self.seen:
            self.seen.append(True)
            import sqlalchemy
            self.seen.append("opentelemetry.sdk.trace" in sys.modules)
        return Proxy

kept = Proxy()
patch_all()
import select
print(kept.seen, select.select.__module__)
"""
    bare, ours = bare_and_ours(tmp_path, program)
    assert bare[0] == 0
    assert ours == bare
