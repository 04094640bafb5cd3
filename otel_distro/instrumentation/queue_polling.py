"""No spans for what the loops of queue workers and schedulers ask their brokers by themselves.

An idle Celery worker sends heartbeats, acknowledgements and scans to Redis; with an instrumentation
of Redis each is a trace of its own, some 40,000 a day. Here a client's span without parent is left
out where the library's own loop makes the call. The stack shows it: going outwards there are only
frames of clients and queue libraries up to a module of :data:`LOOPS`. A frame of any other module
in between, such as a task or a callback, keeps the span: what is unknown is recorded. Spans with a
parent are never touched, nor are metrics.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import INVALID_SPAN, SpanKind, get_current_span

from otel_distro._runtime import import_hooks
from otel_distro._runtime.diagnostics import guard

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

WORKERS = (
    "apscheduler.schedulers.base",
    "arq.worker",
    "celery.beat",
    "celery.worker.components",
    "django_q.cluster",
    "django_tasks.backends.database.management.commands.db_worker",
    "dramatiq.worker",
    "flower.app",
    "huey.consumer",
    "kombu.mixins",
    "pgqueuer.qm",
    "procrastinate.worker",
    "rq.worker",
    "rq_scheduler.scheduler",
    "saq.worker",
    "taskiq.receiver",
)
"""Modules whose import makes a process a worker: only then are spans looked at."""

LOOPS = (
    "arq.cli",
    "arq.worker",
    "celery.app.trace",
    "celery.apps",
    "celery.beat",
    "celery.concurrency",
    "celery.events",
    "celery.worker",
    "django_q.cluster",
    "django_q.monitor",
    "django_q.pusher",
    "django_q.scheduler",
    "django_q.worker",
    "django_tasks.backends.database.management",
    "dramatiq.cli",
    "dramatiq.middleware",
    "dramatiq.worker",
    "flower",
    "huey.consumer",
    "kombu.asynchronous",
    "kombu.mixins",
    "pgqueuer.listeners",
    "pgqueuer.qm",
    "procrastinate.worker",
    "rq.cli",
    "rq.cron",
    "rq.scheduler",
    "rq.worker",
    "rq_scheduler.scheduler",
    "saq.worker",
    "taskiq.cli",
    "taskiq.receiver",
)
"""Modules and packages that call their broker by themselves, not for a call of the application."""

LOOP_FUNCTIONS = {("apscheduler.schedulers.base", "_process_jobs"), ("apscheduler.schedulers.base", "start")}
"""The same where other functions of the module are called by the application."""

_CLIENTS = """
    aio_pika aioboto3 aiobotocore aiohttp aiokafka aiomysql aiormq aiosqlite amqp anyio apscheduler arq asgiref
    async_timeout asyncpg billiard boto3 botocore celery click confluent_kafka django django_celery_beat
    django_celery_results django_q django_tasks dramatiq eventlet flower gevent greenlet httpcore httpx huey kafka
    kombu motor mysql MySQLdb opentelemetry otel_distro pgqueuer pika procrastinate psycopg psycopg2 psycopg_pool
    pycurl pymongo pymysql redbeat redis requests rq rq_scheduler s3transfer saq sqlalchemy taskiq taskiq_redis
    tenacity tornado urllib3 uvloop valkey vine wrapt
"""
_TRANSPARENT = {*_CLIENTS.split(), *sys.stdlib_module_names}
"""Packages whose frames do not show whether the application makes the call."""

_RECEIVES = ("opentelemetry.instrumentation.boto3sqs",)
"""Instrumentations whose CONSUMER spans are polls, also empty ones."""

_loops: dict[str, bool] = {}
"""Module -> whether :data:`LOOPS` covers it."""


def install() -> None:
    """Look at spans as soon as a worker is imported. The SDK's tracer must be complete by now."""
    for module in WORKERS:
        import_hooks.when_imported(module, _on_worker)


def _on_worker(_: object) -> None:
    with guard("leaving out polls of queues"):
        from opentelemetry.sdk.trace import Tracer

        if not getattr(Tracer.start_span, "leaves_out_polls", False):
            Tracer.start_span = _start_span(Tracer.start_span)  # type: ignore[method-assign]


def _start_span(original: Callable[..., Any]) -> Any:
    def start_span(
        tracer: Any, name: Any, context: Any = None, kind: Any = SpanKind.INTERNAL, *args: Any, **kwargs: Any
    ) -> Any:
        if kind is SpanKind.CLIENT or kind is SpanKind.CONSUMER:
            with guard("a poll of a queue"):
                if _is_poll(kind, context):
                    return INVALID_SPAN
        return original(tracer, name, context, kind, *args, **kwargs)

    start_span.__wrapped__ = original  # type: ignore[attr-defined]
    start_span.leaves_out_polls = True  # type: ignore[attr-defined]
    return start_span


def _is_poll(kind: SpanKind, context: Any) -> bool:
    if get_current_span(context).get_span_context().is_valid:
        return False
    frame = sys._getframe(2)
    return (kind is SpanKind.CLIENT or _receives(frame)) and is_loop(frame)


def _receives(frame: FrameType | None) -> bool:
    """Return whether the innermost instrumentation is one of :data:`_RECEIVES`."""
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if module.startswith("opentelemetry.instrumentation."):
            return module in _RECEIVES
        frame = frame.f_back
    return False


def is_loop(frame: FrameType | None) -> bool:
    """Return whether the innermost caller that is no client is the loop of a queue library."""
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        known = _loops.get(module)
        if known is None:
            known = _loops[module] = any(module == loop or module.startswith(f"{loop}.") for loop in LOOPS)
        if known or (module, frame.f_code.co_name) in LOOP_FUNCTIONS:
            return True
        if module.partition(".")[0] not in _TRANSPARENT:
            return False
        frame = frame.f_back
    return False
