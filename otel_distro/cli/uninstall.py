"""``otel-distro uninstall``: list what ``pip uninstall`` leaves behind, and delete the state.

Packages are only listed, with the command that removes them: this command runs from one of them,
and metadata does not show which of them the application imports by itself.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shlex
import shutil
import stat
import sys
import tempfile
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_distro import settings
from otel_distro._runtime.state_files import state_home
from otel_distro._runtime.terminal import clean, memory, plural
from otel_distro.cli import _dependents
from otel_distro.cli.messages import say
from otel_distro.export.spool.inspection import inspect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_FOLDERS: Final = {
    "spool": "telemetry that was not delivered yet",
    "errors": "fingerprints of known errors, dumps of crashes",
    "local": "database of `otel-distro local`",
}
"""Folders of the state directory that the distribution creates; everything else in it is kept."""

_HOST_LOCK: Final = "otel-distro-host-metrics.lock"
_USER_FILES: Final = (settings.OTEL_DISTRO_AUDIT_FILE, settings.OTEL_DISTRO_LOG_FILE)
_USAGE_ERROR: Final = 2


class Item(NamedTuple):
    """One thing on disk: its path, what it holds, its size, and reasons to keep it."""

    path: str
    what: str
    files: int
    bytes: int
    undelivered: int = 0
    in_use: bool = False
    is_link: bool = False


def main(argv: list[str]) -> int:
    """List what would stay behind, and delete the state when that is confirmed.

    Returns:
        0 when everything listed is deleted (always with ``--dry-run``), 1 when something was kept
        or could not be deleted, 2 when the deletion was not confirmed.
    """
    options = _parse(argv)
    state, items = _state(os.environ)
    _print_packages()
    _print_state(state, items)
    kept_files = _user_files(os.environ)
    if kept_files:
        print("\nFiles that your settings name. This command never deletes them:")
        print("\n".join(f"  {name}={clean(path)}" for name, path in kept_files))
    if options.dry_run:
        print("\nNothing was changed.")
        return 0
    if not items:
        print("\nThere is no state to delete.")
        return 0
    if not options.yes and not _confirmed():
        say("nothing was deleted: confirm with --yes, or look first with --dry-run", code="OD893")
        return _USAGE_ERROR
    deleted = [item for item in items if _delete(item, undelivered=options.undelivered)]
    if state:
        # rmdir fails, as it should, while the directory has files of the user.
        with suppress(OSError):
            os.rmdir(os.path.join(state, "otel-distro"))
    size = memory(sum(item.bytes for item in deleted))
    print(f"\nDeleted {plural(sum(item.files for item in deleted), 'file')}, {size}.")
    print("The packages are still installed; the command above removes them.")
    return 0 if len(deleted) == len(items) else 1


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="otel-distro uninstall",
        description="List the packages and files that stay after `pip uninstall otel-distro`, and delete the files. "
        "Packages are not removed: the command for that is printed. Stop instrumented programs first.",
    )
    parser.add_argument("--dry-run", action="store_true", help="list everything and change nothing")
    parser.add_argument("--yes", action="store_true", help="delete the listed state without a question")
    parser.add_argument(
        "--undelivered", action="store_true", help="delete telemetry that was not delivered, too (default: keep it)"
    )
    return parser.parse_args(argv)


def _print_packages() -> None:
    plan = _dependents.plan()
    names = sorted(plan.removable)
    print(f"Packages that only otel-distro and its dependencies need: {len(names)}")
    print("\n".join(f"  {name} {plan.removable[name]}" for name in names))
    if plan.instrumentations:
        print(f"Instrumentations that `otel-distro bootstrap` or you installed: {len(plan.instrumentations)}")
        print("\n".join(f"  {name} {version}" for name, version in sorted(plan.instrumentations.items())))
    if plan.requested:
        print("Kept, because you or `otel-distro bootstrap` installed them by name:")
        print(f"  {' '.join(sorted(plan.requested))}")
    if plan.required:
        print("Kept, because other packages need them:")
        print("\n".join(f"  {name}, for {user}" for name, user in sorted(plan.required.items())))
    everything = sorted({*names, *plan.instrumentations})
    if everything:
        print("Remove them with this command. Leave out what your own code imports; no metadata shows that:")
        print(f"  {shlex.join([*_uninstaller(), *everything])}")
    for path in _start_files():
        print(f"That also removes the file that runs at the start of every interpreter here:\n  {clean(path)}")


def _uninstaller() -> list[str]:
    if find_spec("pip") is None and shutil.which("uv"):
        return ["uv", "pip", "uninstall", "--python", sys.executable]
    return [sys.executable, "-m", "pip", "uninstall", "--yes"]


def _start_files() -> list[str]:
    try:
        files = distribution("otel-distro").files or ()
    except PackageNotFoundError:
        return []
    return [str(file.locate()) for file in files if file.suffix == ".pth"]


def _state(environ: Mapping[str, str]) -> tuple[str, list[Item]]:
    """Return the state directory, empty for a user without a home, and the files found on disk."""
    try:
        state = state_home(environ)
    except OSError:
        state = ""
    items = []
    if state:
        root = os.path.join(state, "otel-distro")
        items += [item for name in _FOLDERS for item in _folder(os.path.join(root, name), environ)]
    lock = os.path.join(tempfile.gettempdir(), _HOST_LOCK)
    if os.path.lexists(lock):
        items.append(Item(lock, "which process reports the host's metrics", 1, 0, in_use=_is_locked(lock)))
    return state, items


def _folder(path: str, environ: Mapping[str, str]) -> Iterator[Item]:
    what = _FOLDERS[os.path.basename(path)]
    try:
        found = os.lstat(path)
    except OSError:
        return
    if not stat.S_ISDIR(found.st_mode):
        yield Item(path, "not a folder of otel-distro", 1, 0, is_link=True)
    elif os.path.basename(path) == "spool":
        yield from _destinations(path, what, environ)
    else:
        yield Item(path, what, *_size(path))


def _destinations(path: str, what: str, environ: Mapping[str, str]) -> Iterator[Item]:
    """Yield one item per destination: a running process that uses one does not keep the others."""
    backlogs = inspect(environ)
    try:
        names = sorted(os.listdir(path))
    except OSError:
        names = []
    for name in names:
        folder = os.path.join(path, name)
        here = [backlog for backlog in backlogs if backlog.key == name]
        targets = sorted({target for backlog in here for target in backlog.targets})
        count = sum(backlog.items for backlog in here)
        in_use = any(backlog.state == "held" for backlog in here)
        text = f"{what}: {plural(count, 'item')} for {', '.join(targets)}" if count else "empty spool"
        yield Item(folder, text, *_size(folder), undelivered=count, in_use=in_use)
    if not names:
        yield Item(path, "empty spool", 0, 0)


def _size(path: str) -> tuple[int, int]:
    files = size = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):
                size += os.lstat(os.path.join(folder, name)).st_size
                files += 1
    return files, size


def _is_locked(path: str) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _user_files(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    named = [(setting.name, setting.get(environ)) for setting in _USER_FILES]
    return [(name, path) for name, path in named if path]


def _print_state(state: str, items: Sequence[Item]) -> None:
    if not state:
        print("\nState: none, this user has no home directory")
    else:
        print(f"\nState of this user, shared by all environments: {clean(os.path.join(state, 'otel-distro'))}")
    for item in items:
        size = f"{plural(item.files, 'file')}, {memory(item.bytes)}"
        notes = "; in use by a running process" if item.in_use else ""
        print(f"  {clean(item.path)}\n    {size}; {clean(item.what)}{notes}")
    if state:
        others = _others(os.path.join(state, "otel-distro"))
        if others:
            print("  Not created by otel-distro itself, kept:")
            print("\n".join(f"    {clean(name)}" for name in others))


def _others(root: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(root) if name not in _FOLDERS)
    except OSError:
        return []


def _confirmed() -> bool:
    if not sys.stdin.isatty():
        return False
    try:
        return input("\nDelete the state listed above? [y/N] ").strip().lower() in ("y", "yes")
    except (EOFError, KeyboardInterrupt):
        return False


def _delete(item: Item, *, undelivered: bool) -> bool:
    """Delete one item and return whether it is gone; if not, a line on stderr gives the reason."""
    if item.in_use:
        say(f"{clean(item.path)} kept: a running process uses it; stop that process first", code="OD891")
        return False
    if item.undelivered and not undelivered:
        say(
            f"{clean(item.path)} kept: it holds {plural(item.undelivered, 'item')} of telemetry that were not delivered; "
            "send them with `otel-distro drain`, or delete them with --undelivered",
            code="OD890",
        )
        return False
    try:
        if item.is_link:
            raise OSError("it is not a folder that otel-distro created")  # noqa: TRY301 - one place reports it
        if os.path.isdir(item.path) and not os.path.islink(item.path):
            shutil.rmtree(item.path)
            _remove_empty_spool(item.path)
        else:
            os.unlink(item.path)
    except FileNotFoundError:
        return True
    except OSError as error:
        say(f"{clean(item.path)} kept: {error}; delete it by hand", code="OD892")
        return False
    return True


def _remove_empty_spool(path: str) -> None:
    parent = os.path.dirname(path)
    if os.path.basename(parent) == "spool":
        with suppress(OSError):
            os.rmdir(parent)
