"""Native crashes (segmentation fault, abort) of earlier processes of the service.

Where the application has not enabled :mod:`faulthandler` itself, it is enabled here with a dump
file of this process beside the spool. A process holds the lock of its dump file while it runs. An
unlocked file with a dump in it is a crash; the first process of the same service that finds it
reports it and deletes the file.
"""

from __future__ import annotations

import faulthandler
import fcntl
import functools
import os
import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry import trace

from otel_distro import schema
from otel_distro._runtime.diagnostics import guard
from otel_distro.errors import exception_report, frames, state

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.util.types import AnyValue

_SUFFIX: Final = ".crash"
_MAX_DUMP_BYTES: Final = 256 * 1024
_MAX_FILES: Final = 200
_TITLE: Final = re.compile(r"^Fatal Python error: (.+)$", re.MULTILINE)
_FRAME: Final = re.compile(r'^  File "(.+)", line \d+ in (.+)$', re.MULTILINE)

_CRASHED: Final = "Current thread "

_enable: Final = faulthandler.enable


class _DumpFile(NamedTuple):
    """The dump file of a process. ``pid``: that process; a forked child inherits the parent's."""

    descriptor: int
    name: str
    pid: int


class _State:
    """``file``: the dump file that faulthandler writes to, if any."""

    __slots__ = ("file",)

    def __init__(self) -> None:
        self.file: _DumpFile | None = None


_state = _State()


def start() -> None:
    """Report earlier crashes of the service, and prepare a dump file for this process."""
    service = _service()
    if not service:
        return
    with guard("looking for crashes of earlier processes"):
        try:
            folder = state.open_folder()
        except OSError:
            # The spool uses the same folder and has printed the reason.
            return
        try:
            _report_dumps(folder, service)
            if not faulthandler.is_enabled():
                _open_dump_file(folder, service)
                _patch_enable(_enable)
        finally:
            os.close(folder)


def stop() -> None:
    """Delete the dump file: the process ends normally.

    The descriptor stays open, because faulthandler may still write to it.
    """
    file, _state.file = _state.file, None
    if file is not None and file.pid == os.getpid():
        with guard("removing the file for crashes"):
            _remove(file.name)


def reset_after_fork() -> None:
    """Open a dump file of its own in a forked child."""
    inherited, _state.file = _state.file, None
    if inherited is None:
        return
    with guard("the file for crashes of a forked child"):
        folder = state.open_folder()
        try:
            _open_dump_file(folder, _service())
        finally:
            os.close(folder)
        # The parent keeps its lock: its own descriptor stays open.
        os.close(inherited.descriptor)


def _patch_enable(original: Callable[..., Any]) -> None:
    """Delete the dump file when the application enables faulthandler: it chooses the output."""

    @functools.wraps(original)
    def enable(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        file = _state.file
        stop()
        if file is not None:
            os.close(file.descriptor)
        return result

    faulthandler.enable = enable


def _remove(name: str) -> None:
    folder = state.open_folder(create=False)
    try:
        os.unlink(name, dir_fd=folder)
    finally:
        os.close(folder)


def _service() -> str:
    resource: Any = getattr(trace.get_tracer_provider(), "resource", None)
    attributes = resource.attributes if resource is not None else {}
    name = str(attributes.get(schema.SERVICE_NAME.name, ""))
    namespace = str(attributes.get(schema.SERVICE_NAMESPACE.name, ""))
    return sha256(f"{namespace}\n{name}".encode("utf-8", "replace")).hexdigest()[:16] if name else ""


def _open_dump_file(folder: int, service: str) -> None:
    name = f"{service}-{os.getpid()}-{os.urandom(4).hex()}{_SUFFIX}"
    descriptor = state.open_below(folder, name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _enable(descriptor)
    except (OSError, RuntimeError):
        os.close(descriptor)
        os.unlink(name, dir_fd=folder)
        raise
    _state.file = _DumpFile(descriptor, name, os.getpid())


def _report_dumps(folder: int, service: str) -> None:
    files = [name for name in os.listdir(folder) if name.startswith(f"{service}-") and name.endswith(_SUFFIX)]
    for name in sorted(files)[:_MAX_FILES]:
        try:
            descriptor = state.open_below(folder, name, os.O_RDWR)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.fstat(descriptor).st_nlink:
                continue
            when = os.fstat(descriptor).st_mtime_ns
            dump = os.read(descriptor, _MAX_DUMP_BYTES).decode("utf-8", "replace")
            os.unlink(name, dir_fd=folder)
        except OSError:
            # Its process still runs, or another process is reporting it.
            continue
        finally:
            os.close(descriptor)
        if dump:
            _report(dump, name, when)


def _report(dump: str, name: str, when: int) -> None:
    title = _TITLE.search(dump)
    kind = title[1].strip()[:100] if title is not None else "crash"
    # The dump lists all threads, each with its innermost frame first. The crashed one is marked.
    threads = dump.split("\n\n")[1:]
    crashed = next((thread for thread in threads if thread.startswith(_CRASHED)), threads[0] if threads else "")
    found = [(frames.app_file_name(file), file, function) for file, function in _FRAME.findall(crashed)][::-1]
    parts = [f"{own}:{function}" for own, _, function in found if own] or [
        f"{os.path.basename(file)}:{function}" for _, file, function in found
    ]
    pid = name.split("-")[1]
    attributes: dict[str, AnyValue] = {
        schema.EXCEPTION_TYPE.name: kind,
        schema.EXCEPTION_MESSAGE.name: f"process {pid} crashed",
        schema.EXCEPTION_STACKTRACE.name: dump,
        schema.EXCEPTION_HANDLER.name: "crash",
        schema.EXCEPTION_HANDLED.name: False,
        schema.EXCEPTION_FINGERPRINT.name: frames.fingerprint_of(kind, parts),
        schema.PROCESS_PID.name: int(pid) if pid.isdecimal() else 0,
    }
    report = exception_report.Report(attributes, f"{kind}: process {pid} crashed", "FATAL", None, schema.EXCEPTION)
    report.timestamp = when
    exception_report.send(report)
