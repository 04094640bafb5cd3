"""The one audit hook of the process (PEP 578), and the queue that it fills.

The hook runs inside the code of others: within imports, under locks, in signal handlers, in forked
children, at the end of the interpreter. So it acquires no lock, opens nothing and imports nothing;
events go into a bounded queue, which a background thread empties. It raises nothing of its own, and
nothing that it does raises an event that it handles, so it never re-enters itself. Python cannot
remove an audit hook; :func:`stop` leaves it without events to handle.

Events and their arguments: https://docs.python.org/3/library/audit_events.html
"""

import os
import sys
import time
from _thread import get_ident
from collections import deque

from otel_distro import settings
from otel_distro._runtime import fork
from otel_distro._runtime.diagnostics import guard
from otel_distro._startup import audit_rules as rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

    Handler = Callable[[tuple[Any, ...]], None]
    Seen = tuple[str, int, str, Any, Any]
    """Kind, nanoseconds since 1970, target, details, and the context of the event."""

OWN_WORK = object()
"""Returned by :attr:`State.context` for events that telemetry itself causes."""

_PRIVILEGE_CALLS = (
    "setuid", "setgid", "seteuid", "setegid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups", "initgroups",
    "chroot", "unshare", "setns",
)  # fmt: skip
"""Functions of :mod:`os` for which the interpreter raises no event."""
_MAX_QUEUED = 10_000
_MAX_PATHS = 4096
_MAX_PEERS = 4096
_MAX_ARGUMENTS = 64
_ACCESS = getattr(os, "O_ACCMODE", 3)
_SPECIAL_BITS = 0o6000
_FROM_SUBPROCESS = os.sep + "subprocess.py"
_LIBRARY = os.path.dirname(os.__file__) + os.sep
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_UPSTREAM = f"{os.sep}opentelemetry{os.sep}"
_PACKAGES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


def _nothing() -> "Any":
    """Return no context; wake no thread."""


class State:
    """State shared by the hook and the thread that empties its queue; one instance in a process."""

    def __init__(self) -> None:
        self.waiting: deque[Seen] = deque()
        self.errors: deque[Exception] = deque(maxlen=1)
        self.limits: dict[str, rules.Limit] = {}
        self.suppressed: dict[str, int] = {}
        """Number of events beyond the limit since the process began, by kind."""
        self.emitter = 0
        """Identity of the thread that is emptying the queue.

        Events that it causes are not recorded.
        """
        self.context: Callable[[], Any] = _nothing
        """Returns the current context, or :data:`OWN_WORK`. Like ``wake`` it runs in the hook."""
        self.wake: Callable[[], None] = _nothing
        """Requests that the queue be emptied soon. Must not wait."""


state = State()
_handlers: "dict[str, Handler]" = {}
_installed = [False]
_patched: "list[tuple[str, Any, Any]]" = []
_paths: "dict[str, str]" = {}
"""Path as given -> absolute path of a sensitive file, empty for others.

Until the working directory changes.
"""
_peers: "dict[tuple[str, int], None]" = {}


def start(kinds: "frozenset[str]") -> None:
    """Record events of ``kinds`` from now on, in place of the kinds before.

    The hook is installed where one of the kinds needs it, and stays.
    """
    each = settings.OTEL_DISTRO_AUDIT_RATE_LIMIT.get()
    for kind in kinds:
        state.limits[kind] = rules.Limit(each)
        state.suppressed.setdefault(kind, 0)
    _paths.clear()
    _handlers.clear()
    if rules.PRIVILEGES in kinds and not _patched:
        _patch_privileges()
    if kinds <= rules.WITHOUT_HOOK:
        return
    _handlers.update({event: handler for kind in sorted(kinds) for event, handler in _handlers_of(kind).items()})
    if not _installed[0]:
        _installed[0] = True
        fork.register("audit hook", fork.Order.AUDIT_HOOK, after_in_child=reset_after_fork)
        sys.addaudithook(_hook_over(_handlers))


def start_early(wake: "Callable[[], None]", is_own_work: "Callable[[], bool]") -> "deque[Seen] | None":
    """Install the hook before any code of the application runs, where a kind needs it.

    Args:
        wake: Starts telemetry soon. Called inside the hook, where little more is allowed.
        is_own_work: Whether the calling thread starts telemetry.

    Returns:
        The queue of events that wait for telemetry, None where the hook is not needed.
    """
    kinds = rules.kinds_wanted()
    if kinds <= rules.WITHOUT_HOOK:
        return None
    state.context = lambda: OWN_WORK if is_own_work() else None
    state.wake = wake
    start(kinds)
    return state.waiting


def stop() -> None:
    """Record nothing from now on."""
    while _patched:
        name, original, replacement = _patched.pop()
        if getattr(os, name) is replacement:
            setattr(os, name, original)
    _handlers.clear()
    state.limits.clear()
    state.waiting.clear()


def reset_after_fork() -> None:
    """Start empty in a forked child: the parent emits the queued events and reports the counts."""
    state.waiting.clear()
    state.errors.clear()
    state.emitter = 0
    for kind in state.suppressed:
        state.suppressed[kind] = 0
    for limit in state.limits.values():
        limit.reset()


def enqueue(kind: str, target: str, more: "Any" = None) -> None:
    """Queue an event, or count it where its limit is reached.

    Args:
        kind: One of :data:`otel_distro._startup.audit_rules.KINDS`.
        target: What the event is about; the limit counts by it.
        more: Details, in the form that the emitter expects for the kind.
    """
    limit = state.limits.get(kind)
    if limit is None or state.emitter == get_ident():
        return
    context = state.context()
    if context is OWN_WORK:
        return
    if len(state.waiting) < _MAX_QUEUED and limit.allow(target):
        state.waiting.append((kind, time.time_ns(), target, more, context))
        state.wake()
    else:
        # No call between reading and writing, so no other thread runs between them.
        state.suppressed[kind] += 1


def _hook_over(handlers: "dict[str, Handler]") -> "Callable[[str, tuple[Any, ...]], None]":
    # All that it needs is in its closure: at the end of the interpreter modules lose their names.
    errors = state.errors

    def hook(event: str, args: "tuple[Any, ...]") -> None:
        if event in handlers:
            try:
                handlers[event](args)
            except Exception as error:
                if not _is_own_error(error):
                    raise
                errors.append(error)

    return hook


def _is_own_error(error: Exception) -> bool:
    """Return whether no code of the application raised an exception: a signal handler may have."""
    tb = error.__traceback__
    while tb is not None:
        path = tb.tb_frame.f_code.co_filename
        if not path.startswith(_PACKAGE) and _UPSTREAM not in path and is_application(path, packages=True):
            return False
        tb = tb.tb_next
    return True


def _handlers_of(kind: str) -> "dict[str, Handler]":
    if kind == rules.FILES:
        sensitive = rules.Sensitive(settings.OTEL_DISTRO_AUDIT_FILES.get())
        return {"open": _file_watch(sensitive), "os.chdir": lambda _: _paths.clear()}
    if kind == rules.PROCESSES:
        return {
            "subprocess.Popen": lambda args: _process(args[0], args[1]),
            "os.system": lambda args: _process("sh", ("sh", "-c", args[0])),
            "os.posix_spawn": _posix_spawn,
            "pty.spawn": lambda args: _process(args[0][0] if type(args[0]) in (list, tuple) else args[0], args[0]),
        }
    if kind == rules.CONNECTIONS:
        return dict.fromkeys(("socket.connect", "socket.sendto"), _peer)
    if kind == rules.DYNAMIC_CODE:
        return {"compile": _code}
    if kind == rules.NATIVE_LIBRARIES:
        return {"ctypes.dlopen": _native_library}
    if kind == rules.TMP_MODULES:
        folders, installed = rules.temporary_folders(), rules.installed_folders()

        def temporary(path: "Any") -> None:
            if type(path) is str and path.startswith(folders) and not path.startswith(installed):
                enqueue(rules.TMP_MODULES, path)

        def executed(args: "tuple[Any, ...]") -> None:
            if args[0].co_name == "<module>":
                temporary(args[0].co_filename)

        return {"exec": executed, "import": lambda args: temporary(args[1])}
    return {"os.chmod": _mode, "os.setxattr": _capability}


def _file_watch(sensitive: rules.Sensitive) -> "Handler":
    def opened(args: "tuple[Any, ...]") -> None:
        path = args[0]
        if type(path) is not str:
            path = text_of(path)
        found = _paths.get(path)
        if found is None:
            found = _paths[path] = whole_path(path) if path and sensitive.matches(whole_path(path)) else ""
            if len(_paths) > _MAX_PATHS:
                _paths.clear()
        if found:
            writes = type(args[2]) is int and args[2] & _ACCESS != os.O_RDONLY
            enqueue(rules.FILES, found, "opened for writing" if writes else "opened for reading")

    return opened


def whole_path(path: str) -> str:
    """Return the absolute path; symbolic links stay, because following them would read the disk."""
    if path.startswith("/") and "/." not in path and "//" not in path:
        return path
    return os.path.normpath(path if path.startswith("/") else f"{os.getcwd()}/{path}")


def _process(program: "Any", argv: "Any") -> None:
    arguments = argv if type(argv) in (list, tuple) else (argv,)
    words = [text_of(each) or f"<{type(each).__name__}>" for each in arguments[:_MAX_ARGUMENTS]]
    enqueue(rules.PROCESSES, text_of(program) or (words[0] if words else ""), words)


def _posix_spawn(args: "tuple[Any, ...]") -> None:
    # The standard library implements subprocess by it, whose event came before.
    if not sys._getframe(2).f_code.co_filename.endswith(_FROM_SUBPROCESS):
        _process(args[0], args[1])


def _peer(args: "tuple[Any, ...]") -> None:
    address = args[1]
    if type(address) is tuple and len(address) >= 2 and type(address[0]) is str and type(address[1]) is int:
        peer = address[:2]
    elif type(address) in (str, bytes):
        peer = (f"unix:{text_of(address)}", 0)
    else:
        return
    if peer in _peers:
        return
    if state.emitter == get_ident() or state.context() is OWN_WORK:
        return
    if len(_peers) >= _MAX_PEERS:
        _peers.pop(next(iter(_peers)), None)
    _peers[peer] = None
    enqueue(rules.CONNECTIONS, f"{peer[0]}:{peer[1]}" if peer[1] else peer[0], peer)


def _code(args: "tuple[Any, ...]") -> None:
    try:
        caller = sys._getframe(2)
    except ValueError:
        # The program itself, which has no caller.
        return
    if type(args[0]) in (str, bytes) and is_application(caller.f_code.co_filename):
        enqueue(rules.DYNAMIC_CODE, f"{caller.f_code.co_filename}:{caller.f_lineno}", _place(caller, len(args[0])))


def is_application(path: str, *, packages: bool = False) -> bool:
    """Return whether a file is the application's.

    With ``packages``, also an installed package's.
    """
    if any(folder in path for folder in _PACKAGES):
        return packages
    return not path.startswith((_LIBRARY, "<frozen ", "<attrs "))


def _place(frame: "FrameType", size: int) -> "tuple[str, int, str, int]":
    code = frame.f_code
    return code.co_filename, frame.f_lineno, getattr(code, "co_qualname", code.co_name), size


def _native_library(args: "tuple[Any, ...]") -> None:
    if name := text_of(args[0]):
        enqueue(rules.NATIVE_LIBRARIES, name)


def _mode(args: "tuple[Any, ...]") -> None:
    if type(args[1]) is int and args[1] & _SPECIAL_BITS:
        enqueue(rules.PRIVILEGES, "chmod", (f"chmod {args[1] & 0o7777:o} {text_of(args[0]) or args[0]}", "unknown", ""))


def _capability(args: "tuple[Any, ...]") -> None:
    if text_of(args[1]) == "security.capability":
        enqueue(rules.PRIVILEGES, "setcap", (f"setcap {text_of(args[0]) or args[0]}", "unknown", ""))


def _patch_privileges() -> None:
    for name in _PRIVILEGE_CALLS:
        original = getattr(os, name, None)
        if original is not None:
            replacement = _privilege_call(name, original)
            setattr(os, name, replacement)
            _patched.append((name, original, replacement))


def _privilege_call(name: str, original: "Any") -> "Any":
    def call(*args: "Any", **kwargs: "Any") -> "Any":
        try:
            result = original(*args, **kwargs)
        except OSError as error:
            with guard("auditing a change of privileges"):
                _privilege(name, args, "failure", error.strerror or "")
            raise
        with guard("auditing a change of privileges"):
            _privilege(name, args, "success", "")
        return result

    for attribute in ("__name__", "__qualname__", "__doc__", "__module__"):
        setattr(call, attribute, getattr(original, attribute, None))
    call.__wrapped__ = original  # type: ignore[attr-defined]
    return call


def _privilege(name: str, args: "tuple[Any, ...]", outcome: str, reason: str) -> None:
    words = " ".join(str(each)[:100] for each in args)
    enqueue(rules.PRIVILEGES, name, (f"{name} {words}", outcome, reason))


def text_of(value: "Any") -> str:
    """Return a path, name or argument as text without running code of the application.

    Other types give the empty text.
    """
    if isinstance(value, bytes):
        return bytes.decode(value, "utf-8", "backslashreplace")
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, os.PathLike) and type(value).__module__.partition(".")[0] == "pathlib":
        return str(value)
    return ""
