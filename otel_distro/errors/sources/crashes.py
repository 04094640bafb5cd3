"""The native crash of an earlier process of the service: a segmentation fault, an abort, told at the next start.

Where the application has not switched on :mod:`faulthandler` itself it is switched on here, into a file of the process beside
the spool. A process holds the lock of its file as long as it lives; a file that nobody holds and that has a dump in it is
a crash, and whoever of the same service finds it first tells of it.
"""

from __future__ import annotations

import faulthandler
import fcntl
import functools
import os
import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace

from otel_distro import schema
from otel_distro._runtime.diagnostics import guard
from otel_distro.errors import exception_report, frames, state

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.util.types import AnyValue

_SUFFIX: Final = ".crash"
_LONGEST: Final = 256 * 1024
_MOST_FILES: Final = 200
_TITLE: Final = re.compile(r"^Fatal Python error: (.+)$", re.MULTILINE)
_FRAME: Final = re.compile(r'^  File "(.+)", line \d+ in (.+)$', re.MULTILINE)

_enable: Final = faulthandler.enable
_state: dict[str, Any] = {}


def start() -> None:
    """Tell of earlier crashes of the service, and be ready for one of this process."""
    service = _service()
    if not service:
        return
    with guard("looking for crashes of earlier processes"):
        try:
            folder = state.open_folder()
        except OSError:
            # The spool has said so.
            return
        try:
            _collect(folder, service)
            if not faulthandler.is_enabled():
                _watch(folder, service)
                _give_way(_enable)
        finally:
            os.close(folder)


def stop() -> None:
    """Give up the file: the process ends well. The descriptor stays open, for faulthandler may still write to it."""
    held = _state.pop("file", None)
    if held is not None and held[2] == os.getpid():
        with guard("removing the file for crashes"):
            _remove(held[1])


def renew() -> None:
    """Take a file of its own in a forked child."""
    held = _state.pop("file", None)
    if held is None:
        return
    with guard("the file for crashes of a forked child"):
        folder = state.open_folder()
        try:
            _watch(folder, _service())
        finally:
            os.close(folder)
        # It is the parent's, whose lock goes on as long as it has its own descriptor.
        os.close(held[0])


def _give_way(original: Callable[..., Any]) -> None:
    """Drop the file when the application switches faulthandler on itself: dumps go where it wants them."""

    @functools.wraps(original)
    def enable(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        held = _state.get("file")
        stop()
        if held is not None:
            os.close(held[0])
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


def _watch(folder: int, service: str) -> None:
    name = f"{service}-{os.getpid()}-{os.urandom(4).hex()}{_SUFFIX}"
    descriptor = state.open_below(folder, name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _enable(descriptor)
    except (OSError, RuntimeError):
        os.close(descriptor)
        os.unlink(name, dir_fd=folder)
        raise
    _state["file"] = (descriptor, name, os.getpid())


def _collect(folder: int, service: str) -> None:
    files = [name for name in os.listdir(folder) if name.startswith(f"{service}-") and name.endswith(_SUFFIX)]
    for name in sorted(files)[:_MOST_FILES]:
        try:
            descriptor = state.open_below(folder, name, os.O_RDWR)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.fstat(descriptor).st_nlink:
                continue
            when = os.fstat(descriptor).st_mtime_ns
            dump = os.read(descriptor, _LONGEST).decode("utf-8", "replace")
            os.unlink(name, dir_fd=folder)
        except OSError:
            # It lives, or another process is telling of it.
            continue
        finally:
            os.close(descriptor)
        if dump:
            _tell(dump, name, when)


def _tell(dump: str, name: str, when: int) -> None:
    title = _TITLE.search(dump)
    kind = title[1].strip()[:100] if title is not None else "crash"
    # The dump shows the innermost frame first, and all threads; those of the first one are of the thread that crashed.
    crashed = dump.partition("\n\n")[2].partition("\n\n")[0]
    found = [(frames.own_name(file), file, function) for file, function in _FRAME.findall(crashed)][::-1]
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
