"""What is remembered on an exception itself: whether it was told, and the span it left first.

A list of ours would keep exceptions alive, and with them everything their frames hold. The mark lies in the exception's
own ``__dict__``, which every exception has, even one of a class with ``__slots__``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.trace import SpanContext

_KEY: Final = "__otel_distro_recorded__"
_ELSEWHERE: Final = 1
"""In the place of a mark on an exception that was pickled: another process tells of it."""
_MOST_LINKS: Final = 100

_dict_of: Any = BaseException.__dict__["__dict__"].__get__


class Waiting(Protocol):
    """What waits for the end of an exception. ``done``: it is told, or nobody needs it any more."""

    done: bool


class ExceptionState:
    """The mark of one failure. ``told``: recorded. ``final``: by somebody after whom nobody handles it any more.

    ``span``: the innermost span it left. ``waiting``: what is to be told when the exception ends and nobody told it before.
    """

    __slots__ = ("final", "head", "on_end", "span", "tail", "told", "waiting")

    def __init__(self, tail: int) -> None:
        self.tail = tail
        self.head = 0
        self.told = False
        self.final = False
        self.span: SpanContext | None = None
        self.waiting: Waiting | None = None
        self.on_end: Callable[[Any], None] | None = None

    def wait(self, what: Waiting, on_end: Callable[[Any], None]) -> None:
        """Call ``on_end(what)`` when the exception ends, unless it is told before. It must not raise, nor take locks."""
        self.drop()
        self.on_end = on_end
        self.waiting = what

    def drop(self) -> None:
        """Let what waits be told by nobody."""
        if self.waiting is not None:
            self.waiting.done = True
            self.waiting = None

    def drain(self, *, final: bool, head: int) -> None:
        """Note that the failure is told."""
        self.drop()
        self.told, self.final, self.head = True, final, head

    def __del__(self) -> None:
        waiting, self.waiting = self.waiting, None
        if waiting is not None and not waiting.done and self.on_end is not None:
            waiting.done = True
            self.on_end(waiting)

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        """Be a plain number where the exception is unpickled: that may be where nobody knows this class.

        What waits is told now, so that this process and the other one do not both do it.
        """
        self.__del__()
        self.told = True
        return int, (_ELSEWHERE,)


def find(error: BaseException) -> ExceptionState | None:
    """Return the mark that ``error`` got since it was raised, or None."""
    found = _dict_of(error).get(_KEY)
    if type(found) is ExceptionState:
        return found if found.tail == _tail(error) else None
    if found == _ELSEWHERE:
        mark = ExceptionState(_tail(error))
        mark.told = True
        return mark
    return None


def get(error: BaseException) -> ExceptionState:
    """Return the mark of ``error``, a new one where it has none."""
    mark = find(error)
    if mark is None:
        mark = ExceptionState(_tail(error))
        _dict_of(error)[_KEY] = mark
    return mark


def was_told(error: BaseException) -> bool:
    """Return whether ``error`` was told since it was raised, however often it was raised on since."""
    mark = find(error)
    return mark is not None and mark.told


def tell(error: BaseException, *, final: bool) -> bool:
    """Return whether ``error`` is to be told now, once, and note that it is; those it tells of itself are told with it.

    ``final``: nobody handles it after this. Raised on and seen by another such hook it is the same failure only while its
    traceback is the same: a program that keeps an exception and raises it anew has failed anew.
    """
    mark = get(error)
    head = id(error.__traceback__)
    if mark.waiting is not None and mark.waiting.done:
        # It waited for so long that it was told meanwhile.
        mark.drain(final=final, head=head)
        return False
    if mark.told and not (final and mark.final and mark.head != head):
        return False
    mark.drain(final=final, head=head)
    for other in linked(error):
        theirs = find(other)
        if theirs is not None:
            theirs.drain(final=final, head=id(other.__traceback__))
    return True


def span_of(error: BaseException) -> SpanContext | None:
    """Return the innermost span that ``error``, or else one that led to it, has left; None where there was none."""
    for one in (error, *linked(error)):
        mark = find(one)
        if mark is not None and mark.span is not None:
            return mark.span
    return None


def linked(error: BaseException) -> Iterator[BaseException]:
    """Yield causes, contexts and members of groups of ``error``, at most a hundred: what its stack trace shows."""
    seen = {id(error)}
    todo = [error]
    while todo and len(seen) <= _MOST_LINKS:
        one = todo.pop()
        members = getattr(one, "exceptions", ()) if type(one).__module__ == "builtins" else ()
        for other in (one.__cause__, one.__context__, *(members if isinstance(members, tuple) else ())):
            if isinstance(other, BaseException) and id(other) not in seen:
                seen.add(id(other))
                todo.append(other)
                yield other


def _tail(error: BaseException) -> int:
    """Return the identity of the traceback's last entry, which stays the same while the exception passes frames."""
    tb = error.__traceback__
    if tb is None:
        return 0
    while tb.tb_next is not None:
        tb = tb.tb_next
    return id(tb)
