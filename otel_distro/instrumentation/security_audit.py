"""What the process itself does that an auditor asks for: files, programs, peers, code, native libraries, privileges.

``OTEL_DISTRO_AUDIT_KINDS`` chooses. Most kinds come from the interpreter's audit hook (:mod:`otel_distro._startup.audit_hook`), which
costs every audited operation of the process something and cannot be taken out again: it is put in only where the setting
asks for it, and then at the very start of the process. Changes of privileges need no hook and are audited by default.
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

_PATIENCE = 0.5
_NAP = 3600.0
_ROOT = "audit."
_NAME = "audit events"

EVENTS = {
    rules.FILES: schema.AUDIT_FILE_SENSITIVE,
    rules.PROCESSES: schema.AUDIT_PROCESS_START,
    rules.PEERS: schema.AUDIT_NETWORK_PEER,
    rules.CODE: schema.AUDIT_CODE_TEXT,
    rules.NATIVE: schema.AUDIT_CODE_NATIVE,
    rules.TEMPORARY: schema.AUDIT_CODE_TEMPORARY,
    rules.PRIVILEGES: schema.AUDIT_PRIVILEGE_CHANGE,
}


class SecurityAuditInstrumentor(Instrumentor):
    """Entry point ``security_audit``."""

    def install(self) -> None:
        """Take over the queue of the hook, and put the hook in where the boot has not done so and a kind needs it."""
        kinds = rules.kinds_wanted()
        if not kinds:
            return
        if not state.limits:
            audit_hook.start(kinds)
        _teller.attach(executed=rules.PROCESSES in kinds)

    def _uninstrument(self, **kwargs: Any) -> None:
        _teller.detach()
        audit_hook.stop()
        super()._uninstrument(**kwargs)


class _Teller:
    """Empties the queue in a thread of its own, and at the end of the process."""

    def __init__(self) -> None:
        self._worker = Worker("telling of audit events", self._work)
        self._telling = threads.allocate_lock()
        self._context_before: Callable[[], Any] | None = None
        self._had_thread = False

    def attach(self, *, executed: bool) -> None:
        """Tell what waits and what comes; ``executed``: also the programs that take the place of this one."""
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
            before_end=self.tell_all,
            before_exit=self._before_exit,
            before_exec=self._before_exec if executed else None,
        )
        metric = schema.AUDIT_SUPPRESSED
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
        """Tell what waits, and nothing from then on."""
        if self._context_before is None:
            return
        self.tell_all()
        state.context, self._context_before = self._context_before, None
        state.wake = lambda: None
        process_exit.unregister(_NAME)
        fork.unregister(_NAME)

    def _wake(self) -> None:
        self._worker.start()
        self._worker.notify()

    def _work(self) -> float:
        self.tell_all()
        return _NAP

    def tell_all(self) -> None:
        """Emit what waits, in the contexts it happened in. Where another thread is at it, wait for that a moment."""
        if not self._telling.acquire(True, _PATIENCE):
            return
        state.emitter = threads.get_ident()
        try:
            while state.waiting:
                with guard("telling of an audit event"):
                    _tell(state.waiting.popleft())
            while state.errors:
                report_failure("looking at an audit event", state.errors.popleft())
        finally:
            state.emitter = 0
            self._telling.release()

    def _before_fork(self) -> None:
        self._had_thread = self._worker.alive
        if self._had_thread:
            self._worker.stop_and_join()

    def _after_fork(self) -> None:
        if self._had_thread:
            self._worker.restart()

    def reset_after_fork(self) -> None:
        """Leave to the parent what a forked child has a copy of."""
        self._telling = threads.allocate_lock()
        self._worker.reset_after_fork()
        audit_hook.reset_after_fork()

    def _before_exit(self) -> None:
        # What delivers at this end looks first whether there is anything to deliver.
        if state.waiting:
            self.tell_all()

    def _before_exec(self, path: Any, argv: Any) -> None:
        # The interpreter's own event comes when nothing of ours runs any more.
        if argv is None:
            return
        words = [audit_hook.text_of(each) for each in argv]
        audit_hook.enqueue(rules.PROCESSES, audit_hook.text_of(path) or str(path), words)
        self.tell_all()


def _tell(seen: Seen) -> None:
    kind, _, target, more, happened_in = seen
    name = EVENTS[kind].name.removeprefix(_ROOT)
    outcome: Any = "unknown"
    reason = ""
    attributes: dict[str, Any] = {}
    if kind == rules.FILES:
        attributes[schema.FILE_PATH.name], reason = target, more
    elif kind == rules.PROCESSES:
        attributes[schema.PROCESS_COMMAND_ARGS.name] = more
    elif kind == rules.PEERS:
        attributes[schema.NETWORK_PEER_ADDRESS.name] = more[0]
        if more[1]:
            attributes[schema.NETWORK_PEER_PORT.name] = more[1]
    elif kind == rules.CODE:
        path, line, function, size = more
        attributes[schema.CODE_FILE_PATH.name] = path
        attributes[schema.CODE_LINE_NUMBER.name] = line
        attributes[schema.CODE_FUNCTION_NAME.name] = function
        reason = f"{size} characters"
    elif kind == rules.TEMPORARY:
        attributes[schema.FILE_PATH.name] = target
    elif kind == rules.PRIVILEGES:
        target, outcome, reason = more
    token = context.attach(happened_in if happened_in is not None else context.Context())
    try:
        audit.event(name, outcome=outcome, target=target, reason=reason, source="interpreter", attributes=attributes)
    finally:
        context.detach(token)


def _observe(_: CallbackOptions) -> Iterable[Observation]:
    for kind, count in list(state.suppressed.items()):
        if count:
            yield Observation(count, {schema.AUDIT_NAME.name: EVENTS[kind].name.removeprefix(_ROOT)})


_teller = _Teller()
