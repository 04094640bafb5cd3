"""State kept on an exception itself: whether it was reported, and which span it left first.

A registry would keep exceptions alive, and with them everything their frames hold. The state is
in the exception's own ``__dict__``, which every exception has, even one of a class with
``__slots__``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from otel_distro._runtime.diagnostics import guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.trace import SpanContext

_KEY: Final = "__otel_distro_recorded__"
_PICKLED: Final = 1
"""Stands for the state in a pickled exception: the process that pickled it reports it."""
_MAX_LINKED: Final = 100

_dict_of: Any = BaseException.__dict__["__dict__"].__get__


class Pending(Protocol):
    """A report that waits for the end of its exception.

    ``done``: it was sent, or is no longer needed.
    """

    done: bool


class ExceptionState:
    """State of one failure.

    - ``reported``: a record of it was made.
    - ``final``: reported by a hook after which no code handles the exception any more.
    - ``span``: the innermost span that it left.
    - ``event_span``: id of the span that got the newest event of it.
    - ``is_failure``: it ended a piece of work that has no client to answer, so that it is an error
      also where its class is an answer.
    - ``pending``: what to report when the exception is freed without having been reported.
    - ``head``, ``tail``: identities of the first and the last entry of its traceback.
    """

    __slots__ = ("event_span", "final", "head", "is_failure", "on_end", "pending", "reported", "span", "tail")

    def __init__(self, tail: int) -> None:
        self.tail = tail
        self.head = 0
        self.reported = False
        self.final = False
        self.is_failure = False
        self.event_span = 0
        self.span: SpanContext | None = None
        self.pending: Pending | None = None
        self.on_end: Callable[[Any], None] | None = None

    def defer(self, pending: Pending, on_end: Callable[[Any], None]) -> None:
        """Call ``on_end(pending)`` when the exception is freed, unless it is reported before.

        ``on_end`` runs in a finalizer: it must not raise and must not take locks.
        """
        self.discard_pending()
        self.on_end = on_end
        self.pending = pending

    def discard_pending(self) -> None:
        """Mark what is pending as done, without reporting it."""
        if self.pending is not None:
            self.pending.done = True
            self.pending = None

    def mark_reported(self, *, final: bool, head: int) -> None:
        """Note that the failure was reported."""
        self.discard_pending()
        self.reported, self.final, self.head = True, final, head

    def __del__(self) -> None:
        pending, self.pending = self.pending, None
        if pending is not None and not pending.done and self.on_end is not None:
            pending.done = True
            self.on_end(pending)

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        """Pickle as a plain number: the unpickling process may not have this class installed.

        What is pending is reported now, so that only one of the two processes does it.
        """
        self.__del__()
        self.reported = True
        return int, (_PICKLED,)


def lookup(error: BaseException) -> ExceptionState | None:
    """Return the state that ``error`` got since it was raised, or None."""
    found = _dict_of(error).get(_KEY)
    if type(found) is ExceptionState:
        return found if found.tail == _tail(error) else None
    if found == _PICKLED:
        state = ExceptionState(_tail(error))
        state.reported = True
        return state
    return None


def get_or_create(error: BaseException) -> ExceptionState:
    """Return the state of ``error``, which is created where it has none."""
    state = lookup(error)
    if state is None:
        state = ExceptionState(_tail(error))
        _dict_of(error)[_KEY] = state
    return state


def was_reported(error: BaseException) -> bool:
    """Return whether ``error`` was reported since it was raised, also if it was re-raised since."""
    state = lookup(error)
    return state is not None and state.reported


def claim(error: BaseException, *, final: bool) -> bool:
    """Return whether the caller is to report ``error``, and mark it as reported.

    Causes, contexts and group members of ``error`` are marked with it: its stack trace shows them.

    Args:
        error: The exception.
        final: No code handles it after this hook. After a final hook, an exception that comes
            again with another traceback was re-raised and counts as a new failure.
    """
    state = get_or_create(error)
    head = id(error.__traceback__)
    if state.pending is not None and state.pending.done:
        # The deferred report timed out and was sent.
        state.mark_reported(final=final, head=head)
        return False
    if state.reported and not (final and state.final and state.head != head):
        return False
    state.mark_reported(final=final, head=head)
    for other in linked(error):
        other_state = lookup(other)
        if other_state is not None:
            other_state.mark_reported(final=final, head=id(other.__traceback__))
    return True


def span_of(error: BaseException) -> SpanContext | None:
    """Return the innermost span that ``error``, or else an exception linked to it, has left."""
    state = lookup(error)
    if state is not None and state.span is not None:
        return state.span
    for each in linked(error):
        state = lookup(each)
        if state is not None and state.span is not None:
            return state.span
    return None


def remember_span(error: BaseException, span: SpanContext) -> None:
    """Note the span of the request or other piece of work that ``error`` ends. Never raises.

    A server logs such an exception after the span has ended: its record gets this span. An inner
    span of the same trace that the exception left before is kept.

    Args:
        error: The exception that leaves the application.
        span: Context of the span around the application.
    """
    with guard("the span of an exception"):
        if span.is_valid:
            state = get_or_create(error)
            if state.span is None or state.span.trace_id != span.trace_id:
                state.span = span


def linked(error: BaseException) -> Iterator[BaseException]:
    """Yield causes, contexts and group members of ``error``, at most a hundred."""
    seen = {id(error)}
    todo = [error]
    while todo and len(seen) <= _MAX_LINKED:
        current = todo.pop()
        for other in (current.__cause__, current.__context__, *_members(current)):
            if isinstance(other, BaseException) and id(other) not in seen:
                seen.add(id(other))
                todo.append(other)
                yield other


def _members(error: BaseException) -> tuple[Any, ...]:
    """Return the members of a group, also of the backport of groups to Python 3.10."""
    if type(error).__module__ not in ("builtins", "exceptiongroup"):
        return ()
    members = getattr(error, "exceptions", ())
    return members if isinstance(members, tuple) else ()


def _tail(error: BaseException) -> int:
    """Return the identity of the traceback's last entry.

    It stays the same while the exception propagates through further frames.
    """
    tb = error.__traceback__
    if tb is None:
        return 0
    while tb.tb_next is not None:
        tb = tb.tb_next
    return id(tb)
