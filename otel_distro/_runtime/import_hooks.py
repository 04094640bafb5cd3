"""Callbacks after the import of a module, and before the first call of a function.

wrapt has post-import hooks too, but importing wrapt takes as long as the whole start of a bare
interpreter, and this module is imported at the start of every instrumented process.
"""

import sys
from _thread import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

_waiting: "dict[str, list[Callable[[ModuleType], object]]]" = {}


def when_imported(name: str, callback: "Callable[[ModuleType], object]") -> None:
    """Call ``callback(module)`` after a module is imported, or now if it is imported already.

    Built-in modules, frozen ones and namespace packages run no code that a hook could follow; for
    them the callback runs only if they are imported already.

    Args:
        name: Full name of the module.
        callback: Must not raise: what it raises would look like an error of the import.
    """
    module = sys.modules.get(name)
    if module is not None and not getattr(getattr(module, "__spec__", None), "_initializing", False):
        callback(module)
        return
    if module is not None and _follow_import(module, callback):
        return
    _waiting.setdefault(name, []).append(callback)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def forget_imports() -> None:
    """Drop all callbacks that have not run, and the finder with them."""
    _waiting.clear()
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)


class _Finder:
    """A meta path finder that delegates to the others and wraps the loader that they return."""

    @staticmethod
    def find_spec(
        name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        if name not in _waiting:
            return None
        for finder in list(sys.meta_path):
            if finder is _finder:
                continue
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(name, path, target) if find is not None else None
            if spec is not None:
                _wrap_loader(name, spec)
                return spec
        return None


_finder: "Any" = _Finder()


def _wrap_loader(name: str, spec: "ModuleSpec") -> None:
    loader: Any = spec.loader
    run = getattr(loader, "exec_module", None)
    if run is None or isinstance(loader, type):
        # A namespace package; or built in or frozen: the loader is a class, shared by all of these modules.
        return

    def exec_module(module: "ModuleType") -> None:
        # The module keeps its loader (for pkgutil, importlib.resources): restore it.
        vars(loader).pop("exec_module", None)
        run(module)
        # Modules of one zip file share a loader, and find_spec() may have been called without an import.
        if module.__name__ == name:
            for callback in _waiting.pop(name, ()):
                callback(module)

    try:
        loader.exec_module = exec_module
    except (AttributeError, TypeError):
        # The loader takes no attributes: it is written in C, or has slots.
        return


def _follow_import(module: "Any", callback: "Callable[[ModuleType], object]") -> bool:
    """Call back at the end of an import in progress, for which no finder is asked.

    Return whether that is possible.
    """
    spec = module.__spec__
    kind: Any = type(spec)

    class Watched(kind):
        # The import machinery sets this to False at the end of the import.
        @property
        def _initializing(self) -> bool:
            return True

        @_initializing.setter
        def _initializing(self, value: bool) -> None:
            spec.__class__ = kind
            spec._initializing = value
            loaded = sys.modules.get(spec.name)
            if loaded is not None and loaded is module:
                callback(loaded)
            else:
                # The import failed and may be tried again.
                when_imported(spec.name, callback)

    try:
        spec.__class__ = Watched
    except TypeError:
        return False
    return True


def is_import_needed_by(thread: int) -> bool:
    """Return whether a thread waits for an import that this thread is in the middle of.

    It may wait through other threads, whose imports wait for this one's.

    Args:
        thread: Identity of the thread.
    """
    bootstrap: Any = sys.modules.get("_frozen_importlib")
    waits = getattr(bootstrap, "_blocking_on", {})
    seen: set[int] = set()
    while thread not in seen:
        seen.add(thread)
        found = waits.get(thread)
        # From Python 3.12 on a list of locks, before it one.
        lock = found[-1] if isinstance(found, list) and found else found
        thread = getattr(lock, "owner", None) or 0
        if thread == get_ident():
            return True
    return False


def mark_as_trampoline(function: "Any", original: "Any") -> None:
    """Make a function look like ``original``, for which :func:`without_trampoline` returns it."""
    for name in ("__name__", "__qualname__", "__doc__", "__module__"):
        if hasattr(original, name):
            setattr(function, name, getattr(original, name))
    function.__wrapped__ = original
    function.trampoline = function


def without_trampoline(function: "Any") -> "Any":
    """Return the function that a trampoline stands for, any other function as it is."""
    is_trampoline = getattr(function, "trampoline", None) is function
    return function.__wrapped__ if is_trampoline else function


class Trampoline:
    """Replaces a function until its first call, which runs ``first()`` and restores the function.

    ``first()`` may patch the function; the call then goes to the patched one.

    Args:
        owner: Module or class that holds the function.
        attribute: Name of the function in it.
        first: Runs before the first call. If it returns False the trampoline stays: it runs before
            the next call again.
        late: Makes the call where ``first()`` returned False; it gets the original function, the
            arguments and the keyword arguments. By default the original is called.
        unless: Called with the arguments of a call; returns whether it does not count as the first.
    """

    def __init__(
        self,
        owner: "Any",
        attribute: str,
        first: "Callable[[], object]",
        late: "Callable[[Any, Any, Any], Any] | None" = None,
        unless: "Callable[..., bool] | None" = None,
    ) -> None:
        self._owner = owner
        self._attribute = attribute
        self._removed = False
        # sqlite3.connect is sqlite3.dbapi2.connect: with two trampolines the instrumentor would patch it twice.
        self._original = original = without_trampoline(getattr(owner, attribute))
        inside: set[int] = set()

        def trampoline(*args: "Any", **kwargs: "Any") -> "Any":
            thread = get_ident()
            if thread in inside:
                # Another tool wraps this trampoline and is what first() or the call below has called.
                return original(*args, **kwargs)
            if unless is not None and unless(*args, **kwargs):
                return original(*args, **kwargs)
            inside.add(thread)
            in_place = self._removed or getattr(owner, attribute, None) is trampoline
            try:
                # Removed only then: threads that call meanwhile wait in first() for what this one starts.
                if first() is False:
                    return late(original, args, kwargs) if late is not None else original(*args, **kwargs)
                self.remove()
                # A tool that has wrapped this trampoline has run already and expects the original.
                now = getattr(owner, attribute) if in_place or self._removed else original
                return now(*args, **kwargs)
            finally:
                inside.discard(thread)

        mark_as_trampoline(trampoline, original)
        self._trampoline = trampoline
        setattr(owner, attribute, trampoline)

    def remove(self) -> None:
        """Restore the function, unless another tool has wrapped the trampoline."""
        if getattr(self._owner, self._attribute, None) is self._trampoline:
            self._removed = True
            setattr(self._owner, self._attribute, self._original)
