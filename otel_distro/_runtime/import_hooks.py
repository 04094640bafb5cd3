"""Call us when a module has been imported, or when a function is called for the first time.

wrapt has post-import hooks too, but this file is imported at the start of every process and importing wrapt alone costs
as much as a bare interpreter's whole start.
"""

import sys
from _thread import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

_waiting: "dict[str, list[Callable[[ModuleType], None]]]" = {}


def when_imported(name: str, callback: "Callable[[ModuleType], None]") -> None:
    """Call ``callback(module)`` right after module ``name`` was imported, or now if it was imported already.

    ``callback`` must not raise: what it raises would look like an error of the import. Modules that are built in, frozen
    or namespaces run no code that could be waited for: they count only when they are imported already.
    """
    module = sys.modules.get(name)
    if module is not None and not getattr(getattr(module, "__spec__", None), "_initializing", False):
        callback(module)
        return
    if module is not None and _listen_to_end(module, callback):
        return
    _waiting.setdefault(name, []).append(callback)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def forget_imports() -> None:
    """Drop all callbacks that still wait, and the hook with them."""
    _waiting.clear()
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)


class _Finder:
    """A meta path finder that finds nothing itself: it lets the others find and listens to the loader's end."""

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
                _listen(name, spec)
                return spec
        return None


_finder: "Any" = _Finder()


def _listen(name: str, spec: "ModuleSpec") -> None:
    loader: Any = spec.loader
    run = getattr(loader, "exec_module", None)
    if run is None or isinstance(loader, type):
        # A namespace; or built in or frozen, and its loader, a class, is shared by all of them.
        return

    def exec_module(module: "ModuleType") -> None:
        # The loader is the module's for ever (pkgutil, importlib.resources): give it back as it was.
        vars(loader).pop("exec_module", None)
        run(module)
        # Modules of one zip file share a loader, and somebody may only have asked whether ours could be found.
        if module.__name__ == name:
            for callback in _waiting.pop(name, ()):
                callback(module)

    try:
        loader.exec_module = exec_module
    except (AttributeError, TypeError):
        # A loader that takes no attributes: written in C, or with slots.
        return


def _listen_to_end(module: "Any", callback: "Callable[[ModuleType], None]") -> bool:
    """Call back at the end of an import that is under way: no finder is asked for it any more. Return whether that goes."""
    spec = module.__spec__
    kind: Any = type(spec)

    class Watched(kind):
        # The import machinery says here that it is through.
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
                # It failed, and may be tried again.
                when_imported(spec.name, callback)

    try:
        spec.__class__ = Watched
    except TypeError:
        return False
    return True


class Trampoline:
    """Stands in the place of a function until its first call, then puts it back and calls ``first``.

    ``first()`` may patch the function; the call then goes through whatever stands in its place.
    """

    def __init__(self, owner: "Any", attribute: str, first: "Callable[[], None]") -> None:
        self._owner = owner
        self._attribute = attribute
        self._removed = False
        original: Any = getattr(owner, attribute)
        # sqlite3.connect is sqlite3.dbapi2.connect: two in a row would have the instrumentor patch it twice.
        is_one_of_us = getattr(original, "trampoline", None) is original
        self._original = original = original.__wrapped__ if is_one_of_us else original
        inside: set[int] = set()

        def trampoline(*args: "Any", **kwargs: "Any") -> "Any":
            thread = get_ident()
            if thread in inside:
                # Another tool keeps us as the function it has wrapped.
                return original(*args, **kwargs)
            inside.add(thread)
            ours = self._removed or getattr(owner, attribute, None) is trampoline
            try:
                # Only then out of the way: threads that come meanwhile shall wait here for what the first one starts.
                first()
                self.remove()
                # Whoever has patched over us has done their part already and calls what they found.
                now = getattr(owner, attribute) if ours or self._removed else original
                return now(*args, **kwargs)
            finally:
                inside.discard(thread)

        for name in ("__name__", "__qualname__", "__doc__", "__module__"):
            if hasattr(original, name):
                setattr(trampoline, name, getattr(original, name))
        trampoline.__wrapped__ = original  # type: ignore[attr-defined]
        trampoline.trampoline = trampoline  # type: ignore[attr-defined]
        self._trampoline = trampoline
        setattr(owner, attribute, trampoline)

    def remove(self) -> None:
        """Put the original back, unless somebody else has patched over us: then theirs stays and calls us through."""
        if getattr(self._owner, self._attribute, None) is self._trampoline:
            self._removed = True
            setattr(self._owner, self._attribute, self._original)
