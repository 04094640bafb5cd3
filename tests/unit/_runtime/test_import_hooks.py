"""Callbacks after an import run once, and imports stay as without them."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
import zipfile
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from otel_distro._runtime import import_hooks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory on the path; its modules and the pending callbacks are dropped afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    known = set(sys.modules)
    yield tmp_path
    import_hooks.forget_imports()
    for name in set(sys.modules) - known:
        del sys.modules[name]
    importlib.invalidate_caches()


class Calls:
    """A callback that keeps the modules it was called with."""

    def __init__(self) -> None:
        self.modules: list[ModuleType] = []

    def __call__(self, module: ModuleType) -> None:
        self.modules.append(module)


def write(path: Path, text: str = "value = 1\n") -> None:
    """Write a module and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_import_callback_runs_after_the_import_once(library: Path) -> None:
    """The module is complete when the callback sees it; later imports do not call it again."""
    write(library / "made_shop.py")
    calls = Calls()
    import_hooks.when_imported("made_shop", lambda module: calls(SimpleNamespace(seen=module.value, module=module)))  # type: ignore[arg-type]
    module = importlib.import_module("made_shop")
    importlib.import_module("made_shop")
    importlib.reload(module)
    assert [(call.seen, call.module) for call in calls.modules] == [(1, module)]


def test_import_callback_for_an_imported_module_runs_at_once(library: Path) -> None:
    """For a module that is imported the callback runs at once."""
    write(library / "made_shop.py")
    module = importlib.import_module("made_shop")
    calls = Calls()
    import_hooks.when_imported("made_shop", calls)
    assert calls.modules == [module]


def test_import_callback_during_the_import_runs_after_it(library: Path) -> None:
    """A module in the middle of its import is not passed on incomplete."""
    write(library / "made_half.py", "import made_asks\nvalue = 1\n")
    write(
        library / "made_asks.py",
        "from otel_distro._runtime import import_hooks\nseen = []\nimport_hooks.when_imported('made_half', lambda m: seen.append(hasattr(m, 'value')))\n",
    )
    importlib.import_module("made_half")
    assert False not in importlib.import_module("made_asks").seen


def test_import_callbacks_of_one_module_run_in_order(library: Path) -> None:
    """Several callbacks for one module run in the order of registration."""
    write(library / "made_shop.py")
    order: list[int] = []
    for number in range(3):
        import_hooks.when_imported("made_shop", lambda _, number=number: order.append(number))  # type: ignore[misc]
    importlib.import_module("made_shop")
    assert order == [0, 1, 2]


def test_import_callbacks_of_package_and_submodule_are_separate(library: Path) -> None:
    """A package and its submodule have separate callbacks, also when one imports the other."""
    write(library / "made_pack" / "__init__.py", "from made_pack import inner\n")
    write(library / "made_pack" / "inner.py")
    names: list[str] = []
    for name in ("made_pack", "made_pack.inner", "made_pack.other"):
        import_hooks.when_imported(name, lambda module: names.append(module.__name__))
    importlib.import_module("made_pack.inner")
    assert names == ["made_pack.inner", "made_pack"]


def test_import_that_fails_runs_no_callback(library: Path) -> None:
    """A failing import raises its error and runs no callback; a later successful one does."""
    write(library / "made_shop.py", "raise ValueError('not today')\n")
    calls = Calls()
    import_hooks.when_imported("made_shop", calls)
    with pytest.raises(ValueError, match="not today"):
        importlib.import_module("made_shop")
    assert calls.modules == []
    write(library / "made_shop.py", "value = 'longer than before'\n")
    importlib.invalidate_caches()
    assert calls.modules == [] == [importlib.import_module("made_shop")][1:]
    assert calls.modules == [sys.modules["made_shop"]]


def test_import_of_a_missing_module_raises_as_without_hooks(library: Path) -> None:
    """A module that cannot be found raises the same error."""
    import_hooks.when_imported("made_nowhere", Calls())
    with pytest.raises(ModuleNotFoundError, match="made_nowhere") as caught:
        importlib.import_module("made_nowhere")
    assert caught.value.name == "made_nowhere"


def test_import_with_a_callback_leaves_loader_and_spec_unchanged(library: Path) -> None:
    """Loader, spec and file of a module are those of an import without hooks."""
    write(library / "made_shop.py")
    write(library / "made_bare.py")
    calls = Calls()
    import_hooks.when_imported("made_shop", calls)
    ours, bare = importlib.import_module("made_shop"), importlib.import_module("made_bare")
    assert len(calls.modules) == 1
    assert ours.__spec__ is not None
    assert ours.__loader__ is ours.__spec__.loader
    assert type(ours.__loader__) is type(bare.__loader__)
    assert vars(ours.__loader__).keys() == vars(bare.__loader__).keys()
    assert vars(ours).keys() == vars(bare).keys()


def test_import_from_a_zip_file_calls_for_the_right_module(library: Path) -> None:
    """Modules of a zip file share one loader: find_spec() for one does not call for another."""
    archive = library / "shop.zip"
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr("made_first.py", "value = 1\n")
        target.writestr("made_second.py", "value = 2\n")
    sys.path.insert(0, str(archive))
    calls = Calls()
    import_hooks.when_imported("made_first", calls)
    try:
        assert importlib.util.find_spec("made_first") is not None
        second = importlib.import_module("made_second")
        assert calls.modules == []
        first = importlib.import_module("made_first")
    finally:
        sys.path.remove(str(archive))
    assert calls.modules == [first]
    assert (first.value, second.value) == (1, 2)
    assert "exec_module" not in vars(first.__loader__)


def test_import_of_a_namespace_package_works_without_callback(library: Path) -> None:
    """A namespace package, and the modules in it, are imported as without hooks."""
    write(library / "made_space" / "inner.py")
    calls = Calls()
    import_hooks.when_imported("made_space", Calls())
    import_hooks.when_imported("made_space.inner", calls)
    inner = importlib.import_module("made_space.inner")
    assert calls.modules == [inner]
    assert sys.modules["made_space"].__path__


@pytest.mark.parametrize("name", ["xxsubtype", "__hello__"])
def test_import_of_built_in_and_frozen_modules_leaves_their_loader(library: Path, name: str) -> None:
    """Modules whose loader is a class are imported as usual; the class is not changed."""
    sys.modules.pop(name, None)
    import_hooks.when_imported(name, Calls())
    module = importlib.import_module(name)
    loader: Any = module.__loader__
    assert getattr(loader.exec_module, "__module__", "") != import_hooks.__name__


def test_import_with_a_lazy_loader_calls_at_first_use(library: Path) -> None:
    """A module that is loaded at its first use calls back then."""
    write(library / "made_shop.py")
    calls = Calls()
    import_hooks.when_imported("made_shop", calls)
    spec = importlib.util.find_spec("made_shop")
    assert spec is not None
    assert spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules["made_shop"] = module
    spec.loader.exec_module(module)
    assert calls.modules == []
    assert module.value == 1
    assert calls.modules == [module]


def test_forget_imports_removes_finder_and_callbacks(library: Path) -> None:
    """Afterwards the finder is gone and no callback runs."""
    write(library / "made_shop.py")
    before = list(sys.meta_path)
    calls = Calls()
    import_hooks.when_imported("made_shop", calls)
    assert len(sys.meta_path) == len(before) + 1
    import_hooks.forget_imports()
    assert sys.meta_path == before
    importlib.import_module("made_shop")
    assert calls.modules == []


@pytest.mark.parametrize("fails", [False, True])
def test_import_callback_registered_in_an_import_runs_at_its_end(library: Path, fails: bool) -> None:
    """Registered in the middle of an import it runs at the end; if that fails, of the next one."""
    calls = Calls()
    vars(import_hooks)["test_calls"] = calls
    line = "from otel_distro._runtime import import_hooks\nimport_hooks.when_imported('made_half', import_hooks.test_calls)\n"
    write(
        library / "made_half.py", f"{line}early = list(import_hooks.test_calls.modules)\n{'1 / 0' if fails else ''}\n"
    )
    if fails:
        with pytest.raises(ZeroDivisionError):
            importlib.import_module("made_half")
        assert calls.modules == []
        write(library / "made_half.py", "early = []\nvalue = 'other'\n")
        importlib.invalidate_caches()
    module = importlib.import_module("made_half")
    del vars(import_hooks)["test_calls"]
    assert (module.early, calls.modules) == ([], [module])
    assert type(module.__spec__).__name__ == "ModuleSpec"


def test_import_that_another_thread_waits_for_is_noticed(library: Path) -> None:
    """Also where it waits for a third thread, whose import waits for this one."""
    write(library / "made_ours.py", "import made_asks_who\n")
    write(library / "made_theirs.py", "import made_ours\n")
    write(library / "made_asks_who.py", "import made_probe\nmade_probe.probe()\n")
    direct, through = (
        threading.Thread(target=importlib.import_module, args=(name,)) for name in ("made_ours", "made_theirs")
    )
    idle = threading.Thread(target=threading.Event().wait, args=(0,))
    found: list[bool] = []

    def probe() -> None:
        for thread in (through, direct):
            thread.start()
            while not import_hooks.is_import_needed_by(thread.ident or 0):
                thread.join(0.001)
        idle.start()
        found.append(import_hooks.is_import_needed_by(idle.ident or 0))

    sys.modules["made_probe"] = SimpleNamespace(probe=probe)  # type: ignore[assignment]
    importlib.import_module("made_ours")
    for thread in (direct, through, idle):
        thread.join()
    assert found == [False]
