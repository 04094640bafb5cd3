"""A trampoline leaves no trace after the first call."""

from __future__ import annotations

import functools
import threading
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from otel_distro._runtime import import_hooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Shop:
    """Something of an application."""

    def price(self, item: str, *, count: int = 1) -> str:
        """Say what it costs."""
        return f"{item}*{count}"


@pytest.fixture
def price() -> Iterator[Callable[..., str]]:
    """Return the method that the test replaces, and restore it at the end."""
    original = Shop.price
    yield original
    Shop.price = original  # type: ignore[method-assign]


def test_trampoline_runs_first_once_and_restores_the_function(price: Callable[..., str]) -> None:
    """The first call has its arguments and result; then the original function is restored."""
    calls: list[str] = []
    import_hooks.Trampoline(Shop, "price", lambda: calls.append("first"))
    assert Shop.price.__doc__ == "Say what it costs."
    assert (Shop.price.__name__, Shop.price.__qualname__, Shop.price.__module__) == ("price", "Shop.price", __name__)
    assert [Shop().price("tea", count=2), Shop().price("tea")] == ["tea*2", "tea*1"]
    assert calls == ["first"]
    assert Shop.price is price


def test_trampoline_on_a_module_function_works_as_on_a_method() -> None:
    """A function of a module is replaced as a method is."""
    module = ModuleType("made")
    module.__dict__["double"] = double = lambda number: number * 2
    calls: list[str] = []
    import_hooks.Trampoline(module, "double", lambda: calls.append("first"))
    assert (module.double(2), module.double(3), calls) == (4, 6, ["first"])
    assert module.double is double


def test_trampoline_whose_first_patches_calls_the_patched_function(price: Callable[..., str]) -> None:
    """A patch that is installed at the first call handles that call already."""

    def patch() -> None:
        def wrapped(self: Shop, *args: Any, **kwargs: Any) -> str:
            return f"<{price(self, *args, **kwargs)}>"

        Shop.price = wrapped  # type: ignore[method-assign]

    import_hooks.Trampoline(Shop, "price", patch)
    assert Shop().price("tea") == "<tea*1>"


def test_trampoline_with_a_failing_function_raises_its_error(price: Callable[..., str]) -> None:
    """The function's exception at its first call is raised, and the function is restored."""
    import_hooks.Trampoline(Shop, "price", lambda: None)
    with pytest.raises(TypeError, match="unexpected keyword"):
        Shop().price("tea", colour="green")  # type: ignore[call-arg]
    assert Shop.price is price


def test_trampoline_wrapped_by_another_tool_keeps_that_wrapper(price: Callable[..., str]) -> None:
    """A tool that has wrapped the trampoline is called once for each call."""
    trampoline = import_hooks.Trampoline(Shop, "price", lambda: None)
    found = Shop.price

    @functools.wraps(found)
    def theirs(self: Shop, *args: Any, **kwargs: Any) -> str:
        return f"[{found(self, *args, **kwargs)}]"

    Shop.price = theirs  # type: ignore[method-assign]
    assert [Shop().price("tea"), Shop().price("tea")] == ["[tea*1]"] * 2
    trampoline.remove()
    assert Shop.price is theirs


def test_trampoline_kept_by_another_tool_does_not_recurse(price: Callable[..., str]) -> None:
    """A tool that read the trampoline before the first call and patches later causes no loop."""
    import_hooks.Trampoline(Shop, "price", lambda: None)
    kept = Shop.price
    Shop().price("tea")
    Shop.price = lambda *args, **kwargs: f"[{kept(*args, **kwargs)}]"  # type: ignore[method-assign]
    assert Shop().price("tea").strip("[]") == "tea*1"


def test_trampoline_wrapped_by_a_tool_and_an_instrumentor_calls_both(price: Callable[..., str]) -> None:
    """An instrumentor loaded by the first call wraps the other tool; both see every call once."""

    def instrument() -> None:
        if Shop.price is theirs:
            Shop.price = lambda self, *args, **kwargs: f"<{theirs(self, *args, **kwargs)}>"  # type: ignore[method-assign]

    import_hooks.Trampoline(Shop, "price", instrument)
    found = Shop.price

    def theirs(self: Shop, *args: Any, **kwargs: Any) -> str:
        return f"[{found(self, *args, **kwargs)}]"

    Shop.price = theirs  # type: ignore[method-assign]
    assert [Shop().price("tea"), Shop().price("tea")] == ["[tea*1]", "<[tea*1]>"]


def test_trampoline_on_a_trampoline_replaces_it(price: Callable[..., str]) -> None:
    """A second trampoline replaces the first, but not a tool that wrapped the first."""
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


def test_trampoline_imported_by_name_calls_the_present_function(price: Callable[..., str]) -> None:
    """A trampoline that was imported by name leads to the function in its place later."""
    import_hooks.Trampoline(Shop, "price", lambda: None)
    kept = Shop.price
    Shop().price("tea")
    Shop.price = lambda *args, **kwargs: f"<{args[1]}>"  # type: ignore[method-assign]
    assert kept(Shop(), "tea") == "<tea>"


def test_trampoline_called_by_many_threads_starts_once(price: Callable[..., str]) -> None:
    """Each thread gets its result, and all wait for what the first call starts."""
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


def test_trampoline_that_is_not_ready_stays_and_makes_the_call_late() -> None:
    """While ``first()`` returns False each call goes to ``late``; then the function is back."""
    answers = iter([False, False, True])
    owner = SimpleNamespace(add=lambda x, y: x + y)
    original = owner.add
    calls: list[Any] = []

    def late(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        calls.append((args, kwargs))
        return function(*args, **kwargs)

    import_hooks.Trampoline(owner, "add", lambda: next(answers), late)
    assert [owner.add(1, y=1), owner.add(2, 2), owner.add(3, 3)] == [2, 4, 6]
    assert calls == [((1,), {"y": 1}), ((2, 2), {})]
    assert owner.add is original
