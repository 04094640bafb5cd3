"""Audit events of the process: files, programs, peers, code, native libraries, privileges.

``OTEL_DISTRO_AUDIT_KINDS`` selects the kinds. Most come from the interpreter's audit hook
(:mod:`otel_distro._startup.audit_hook`), which slows down every audited operation of the process
and cannot be removed: it is installed only if the setting names such a kind, and then at the start
of the process. Changes of privileges need no hook and are audited by default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import context, metrics
from opentelemetry.metrics import Observation

from otel_distro import audit, schema
from otel_distro._otel import sdk
from otel_distro._runtime import exit as process_exit
from otel_distro._runtime import fork, threads
from otel_distro._runtime.diagnostics import guard, report_failure
from otel_distro._runtime.worker import Worker
from otel_distro._startup import audit_hook
from otel_distro._startup import audit_rules as rules
from otel_distro._startup.audit_hook import OWN_WORK, state
from otel_distro._version import __version__
from otel_distro.instrumentation import Instrumentor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.metrics import CallbackOptions

    from otel_distro._startup.audit_hook import Seen

_DRAIN_TIMEOUT_S = 0.5
"""How long :meth:`_Emitter.drain` waits for another thread that is emitting."""
_IDLE_S = 3600.0
_ROOT = "audit."
_NAME = "audit events"

EVENTS = {
    rules.FILES: schema.AUDIT_FILE_SENSITIVE,
    rules.PROCESSES: schema.AUDIT_PROCESS_START,
    rules.CONNECTIONS: schema.AUDIT_NETWORK_PEER,
    rules.DYNAMIC_CODE: schema.AUDIT_CODE_TEXT,
    rules.NATIVE_LIBRARIES: schema.AUDIT_CODE_NATIVE,
    rules.TMP_MODULES: schema.AUDIT_CODE_TEMPORARY,
    rules.PRIVILEGES: schema.AUDIT_PRIVILEGE_CHANGE,
}


class SecurityAuditInstrumentor(Instrumentor):
    """Entry point ``security_audit``."""

    def install(self) -> None:
        """Emit what the hook has queued; install the hook if a kind needs it and it is missing."""
        kinds = rules.kinds_wanted()
        if not kinds:
            return
        if not state.limits:
            audit_hook.start(kinds)
        _emitter.attach(executed=rules.PROCESSES in kinds)

    def _uninstrument(self, **kwargs: Any) -> None:
        _emitter.detach()
        audit_hook.stop()
        super()._uninstrument(**kwargs)


class _Emitter:
    """Emits the queued events in a background thread, and at the end of the process."""

    def __init__(self) -> None:
        self._worker = Worker("emitting audit events", self._work)
        self._emitting = threads.allocate_lock()
        self._context_before: Callable[[], Any] | None = None
        self._had_thread = False

    def attach(self, *, executed: bool) -> None:
        """Start emitting, beginning with the events that are queued already.

        ``executed``: also emit before another program replaces this one.
        """
        if self._context_before is not None:
            return
        before, read = state.context, sdk.context_reader()
        self._context_before = before

        def current() -> Any:
            if before() is OWN_WORK:
                return OWN_WORK
            found = read()
            return OWN_WORK if found is None else found

        state.context, state.wake = current, self._wake
        process_exit.register(
            _NAME,
            process_exit.Order.AUDIT_EVENTS,
            before_end=self.drain,
            before_exit=self._before_exit,
            before_exec=self._before_exec if executed else None,
        )
        metric = schema.AUDIT_EVENTS_RATE_LIMITED
        metrics.get_meter("otel_distro.audit", __version__).create_observable_counter(
            metric.name, [_observe], metric.unit, metric.brief
        )
        fork.register(
            _NAME,
            fork.Order.AUDIT_EVENTS,
            before=self._before_fork,
            after_in_parent=self._after_fork,
            after_in_child=self.reset_after_fork,
        )
        if state.waiting:
            self._wake()

    def detach(self) -> None:
        """Emit what is queued, and stop."""
        if self._context_before is None:
            return
        self.drain()
        state.context, self._context_before = self._context_before, None
        state.wake = lambda: None
        process_exit.unregister(_NAME)
        fork.unregister(_NAME)

    def _wake(self) -> None:
        self._worker.start()
        self._worker.notify()

    def _work(self) -> float:
        self.drain()
        return _IDLE_S

    def drain(self) -> None:
        """Emit the queued events, each in the context in which it happened.

        If another thread is emitting them, wait for it for half a second.
        """
        if not self._emitting.acquire(True, _DRAIN_TIMEOUT_S):
            return
        state.emitter = threads.get_ident()
        try:
            while state.waiting:
                with guard("emitting an audit event"):
                    _emit(state.waiting.popleft())
            while state.errors:
                report_failure("processing an audit event", state.errors.popleft())
        finally:
            state.emitter = 0
            self._emitting.release()

    def _before_fork(self) -> None:
        self._had_thread = self._worker.alive
        if self._had_thread:
            self._worker.stop_and_join()

    def _after_fork(self) -> None:
        if self._had_thread:
            self._worker.restart()

    def reset_after_fork(self) -> None:
        """Reset thread, lock and queue in a forked child."""
        self._emitting = threads.allocate_lock()
        self._worker.reset_after_fork()
        audit_hook.reset_after_fork()

    def _before_exit(self) -> None:
        # Before delivery, which checks first whether anything is queued.
        if state.waiting:
            self.drain()

    def _before_exec(self, path: Any, argv: Any) -> None:
        # The interpreter raises its own event when no telemetry can be sent any more.
        if argv is None:
            return
        words = [audit_hook.text_of(each) for each in argv]
        audit_hook.enqueue(rules.PROCESSES, audit_hook.text_of(path) or str(path), words)
        self.drain()


def _emit(seen: Seen) -> None:
    kind, _, target, details, event_context = seen
    name = EVENTS[kind].name.removeprefix(_ROOT)
    outcome: Any = "unknown"
    reason = ""
    attributes: dict[str, Any] = {}
    if kind == rules.FILES:
        attributes[schema.FILE_PATH.name], reason = target, details
    elif kind == rules.PROCESSES:
        attributes[schema.PROCESS_COMMAND_ARGS.name] = details
    elif kind == rules.CONNECTIONS:
        attributes[schema.NETWORK_PEER_ADDRESS.name] = details[0]
        if details[1]:
            attributes[schema.NETWORK_PEER_PORT.name] = details[1]
    elif kind == rules.DYNAMIC_CODE:
        path, line, function, size = details
        attributes[schema.CODE_FILE_PATH.name] = path
        attributes[schema.CODE_LINE_NUMBER.name] = line
        attributes[schema.CODE_FUNCTION_NAME.name] = function
        reason = f"{size} characters"
    elif kind == rules.TMP_MODULES:
        attributes[schema.FILE_PATH.name] = target
    elif kind == rules.PRIVILEGES:
        target, outcome, reason = details
    token = context.attach(event_context if event_context is not None else context.Context())
    try:
        audit.event(name, outcome=outcome, target=target, reason=reason, source="interpreter", attributes=attributes)
    finally:
        context.detach(token)


def _observe(_: CallbackOptions) -> Iterable[Observation]:
    for kind, count in list(state.suppressed.items()):
        if count:
            yield Observation(count, {schema.AUDIT_NAME.name: EVENTS[kind].name.removeprefix(_ROOT)})


_emitter = _Emitter()
