"""Callbacks after an import come once, and a function's stand-in leaves no trace but its first call."""

from __future__ import annotations

import functools
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
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path; what is imported from it is forgotten afterwards, and so is what still waits."""
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


def test_callback_comes_after_the_import(library: Path) -> None:
    """The module is complete when the callback sees it; later imports do not call it again."""
    write(library / "made_shop.py")
    calls = Calls()
    import_hooks.when_imported("made_shop", lambda module: calls(SimpleNamespace(seen=module.value, module=module)))  # type: ignore[arg-type]
    module = importlib.import_module("made_shop")
    importlib.import_module("made_shop")
    importlib.reload(module)
    assert [(call.seen, call.module) for call in calls.modules] == [(1, module)]


def test_imported_already(library: Path) -> None:
    """For a module that is there the callback comes at once."""
    write(library / "made_shop.py")
    module = importlib.import_module("made_shop")
    calls = Calls()
    import_hooks.when_imported("made_shop", calls)
    assert calls.modules == [module]


def test_being_imported_does_not_count_as_imported(library: Path) -> None:
    """A module that is in the middle of its import is not handed out half-made."""
    write(library / "made_half.py", "import made_asks\nvalue = 1\n")
    write(
        library / "made_asks.py",
        "from otel_distro._runtime import import_hooks\nseen = []\nimport_hooks.when_imported('made_half', lambda m: seen.append(hasattr(m, 'value')))\n",
    )
    importlib.import_module("made_half")
    assert False not in importlib.import_module("made_asks").seen


def test_all_callbacks_of_a_module(library: Path) -> None:
    """Several callbacks for one module come in the order they were given."""
    write(library / "made_shop.py")
    order: list[int] = []
    for number in range(3):
        import_hooks.when_imported("made_shop", lambda _, number=number: order.append(number))  # type: ignore[misc]
    importlib.import_module("made_shop")
    assert order == [0, 1, 2]


def test_packages_and_submodules(library: Path) -> None:
    """A package and its submodule are told apart, also when the one imports the other."""
    write(library / "made_pack" / "__init__.py", "from made_pack import inner\n")
    write(library / "made_pack" / "inner.py")
    names: list[str] = []
    for name in ("made_pack", "made_pack.inner", "made_pack.other"):
        import_hooks.when_imported(name, lambda module: names.append(module.__name__))
    importlib.import_module("made_pack.inner")
    assert names == ["made_pack.inner", "made_pack"]


def test_failing_import(library: Path) -> None:
    """An import that fails calls nobody and raises what it raised; the one that succeeds later calls."""
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


def test_missing_module_stays_missing(library: Path) -> None:
    """A module that cannot be found raises as ever."""
    import_hooks.when_imported("made_nowhere", Calls())
    with pytest.raises(ModuleNotFoundError, match="made_nowhere") as caught:
        importlib.import_module("made_nowhere")
    assert caught.value.name == "made_nowhere"


def test_loader_is_left_as_it_was(library: Path) -> None:
    """What a module keeps of its import (loader, spec, file) is what it would be without us."""
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


def test_zip_files(library: Path) -> None:
    """Modules of a zip file share one loader: asking whether one can be found does not call it for another."""
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


def test_namespace_package(library: Path) -> None:
    """A folder without ``__init__.py`` is imported as ever, and so are the modules in it."""
    write(library / "made_space" / "inner.py")
    calls = Calls()
    import_hooks.when_imported("made_space", Calls())
    import_hooks.when_imported("made_space.inner", calls)
    inner = importlib.import_module("made_space.inner")
    assert calls.modules == [inner]
    assert sys.modules["made_space"].__path__


@pytest.mark.parametrize("name", ["xxsubtype", "__hello__"])
def test_built_in_and_frozen_modules(library: Path, name: str) -> None:
    """Modules whose loader is a class are imported as ever, and the class is not touched."""
    sys.modules.pop(name, None)
    import_hooks.when_imported(name, Calls())
    module = importlib.import_module(name)
    loader: Any = module.__loader__
    assert getattr(loader.exec_module, "__module__", "") != import_hooks.__name__


def test_lazy_loader(library: Path) -> None:
    """A module that is loaded at its first use calls when it is used."""
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


def test_nothing_is_left_when_all_is_forgotten(library: Path) -> None:
    """Who forgets imports takes the finder out of the interpreter and is not called any more."""
    write(library / "made_shop.py")
    before = list(sys.meta_path)
    calls = Calls()
    import_hooks.when_imported("made_shop", calls)
    assert len(sys.meta_path) == len(before) + 1
    import_hooks.forget_imports()
    assert sys.meta_path == before
    importlib.import_module("made_shop")
    assert calls.modules == []


class Shop:
    """Something of an application."""

    def price(self, item: str, *, count: int = 1) -> str:
        """Say what it costs."""
        return f"{item}*{count}"


@pytest.fixture
def price() -> Iterator[Callable[..., str]]:
    """The method that is replaced, put back afterwards."""
    original = Shop.price
    yield original
    Shop.price = original  # type: ignore[method-assign]


def test_first_call_only(price: Callable[..., str]) -> None:
    """The first call tells, with its arguments and result unchanged; then the very function stands there again."""
    told: list[str] = []
    import_hooks.Trampoline(Shop, "price", lambda: told.append("first"))
    assert Shop.price.__doc__ == "Say what it costs."
    assert (Shop.price.__name__, Shop.price.__qualname__, Shop.price.__module__) == ("price", "Shop.price", __name__)
    assert [Shop().price("tea", count=2), Shop().price("tea")] == ["tea*2", "tea*1"]
    assert told == ["first"]
    assert Shop.price is price


def test_functions_of_modules() -> None:
    """A function of a module is replaced as a method is."""
    module = ModuleType("made")
    module.__dict__["double"] = double = lambda number: number * 2
    told: list[str] = []
    import_hooks.Trampoline(module, "double", lambda: told.append("first"))
    assert (module.double(2), module.double(3), told) == (4, 6, ["first"])
    assert module.double is double


def test_first_call_goes_through_what_it_started(price: Callable[..., str]) -> None:
    """What is patched in at the first call serves that call already."""

    def patch() -> None:
        def wrapped(self: Shop, *args: Any, **kwargs: Any) -> str:
            return f"<{price(self, *args, **kwargs)}>"

        Shop.price = wrapped  # type: ignore[method-assign]

    import_hooks.Trampoline(Shop, "price", patch)
    assert Shop().price("tea") == "<tea*1>"


def test_error_of_the_application_passes(price: Callable[..., str]) -> None:
    """What the function raises at its first call is raised, and the function is back."""
    import_hooks.Trampoline(Shop, "price", lambda: None)
    with pytest.raises(TypeError, match="unexpected keyword"):
        Shop().price("tea", colour="green")  # type: ignore[call-arg]
    assert Shop.price is price


def test_other_tool_patches_over_us(price: Callable[..., str]) -> None:
    """A tool that has wrapped the stand-in keeps its place, is called once for each call, and the call comes through."""
    trampoline = import_hooks.Trampoline(Shop, "price", lambda: None)
    found = Shop.price

    @functools.wraps(found)
    def theirs(self: Shop, *args: Any, **kwargs: Any) -> str:
        return f"[{found(self, *args, **kwargs)}]"

    Shop.price = theirs  # type: ignore[method-assign]
    assert [Shop().price("tea"), Shop().price("tea")] == ["[tea*1]"] * 2
    trampoline.remove()
    assert Shop.price is theirs


def test_other_tool_that_kept_us_for_later(price: Callable[..., str]) -> None:
    """A tool that took the function before the first call and patches after it does not send calls round in circles."""
    import_hooks.Trampoline(Shop, "price", lambda: None)
    kept = Shop.price
    Shop().price("tea")
    Shop.price = lambda *args, **kwargs: f"[{kept(*args, **kwargs)}]"  # type: ignore[method-assign]
    assert Shop().price("tea").strip("[]") == "tea*1"


def test_other_tool_and_then_an_instrumentor(price: Callable[..., str]) -> None:
    """An instrumentor that comes with the first call wraps the other tool: from then on both see every call once."""

    def instrument() -> None:
        if Shop.price is theirs:
            Shop.price = lambda self, *args, **kwargs: f"<{theirs(self, *args, **kwargs)}>"  # type: ignore[method-assign]

    import_hooks.Trampoline(Shop, "price", instrument)
    found = Shop.price

    def theirs(self: Shop, *args: Any, **kwargs: Any) -> str:
        return f"[{found(self, *args, **kwargs)}]"

    Shop.price = theirs  # type: ignore[method-assign]
    assert [Shop().price("tea"), Shop().price("tea")] == ["[tea*1]", "<[tea*1]>"]


def test_two_in_one_place(price: Callable[..., str]) -> None:
    """A second stand-in takes the place of the first, not of a tool that wrapped the first."""
    import_hooks.Trampoline(Shop, "price", lambda: None)
    import_hooks.Trampoline(Shop, "price", lambda: None)
    assert Shop().price("tea") == "tea*1"
    assert Shop.price is price

    import_hooks.Trampoline(Shop, "price", lambda: None)
    found = Shop.price

    @functools.wraps(found)
    def theirs(self: Shop, *args: Any, **kwargs: Any) -> str:
        return f"[{found(self, *args, **kwargs)}]"

    Shop.price = theirs  # type: ignore[method-assign]
    import_hooks.Trampoline(Shop, "price", lambda: None)
    assert [Shop().price("tea"), Shop().price("tea")] == ["[tea*1]"] * 2
    assert Shop.price is theirs


def test_kept_reference_goes_through_what_stands_there(price: Callable[..., str]) -> None:
    """A stand-in that somebody imported by name before leads to what stands in the place later."""
    import_hooks.Trampoline(Shop, "price", lambda: None)
    kept = Shop.price
    Shop().price("tea")
    Shop.price = lambda *args, **kwargs: f"<{args[1]}>"  # type: ignore[method-assign]
    assert kept(Shop(), "tea") == "<tea>"


@pytest.mark.parametrize("fails", [False, True])
def test_import_that_is_under_way(library: Path, fails: bool) -> None:
    """A callback that is registered in the middle of an import comes at its end; where that fails, at the next one's."""
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


def test_many_threads_at_once(price: Callable[..., str]) -> None:
    """However many threads make the first call at once, each gets its result, and all wait for what it starts."""
    started = threading.Event()

    def first() -> None:
        started.wait(10)

    import_hooks.Trampoline(Shop, "price", first)
    entered = threading.Barrier(9)
    results: list[str] = []

    def call(number: int) -> None:
        entered.wait(10)
        results.append(Shop().price(str(number)))

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    entered.wait(10)
    assert results == []
    started.set()
    for thread in threads:
        thread.join(10)
    assert sorted(results) == [f"{number}*1" for number in range(8)]
    assert Shop.price is price
