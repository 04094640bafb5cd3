"""Exceptions that are no errors: responses below 500, normal ends, cancellations.

A library is recognised by the names of its classes, looked up along the MRO: nothing is imported.
The first part of a name is the top-level package, so that a class may move to another module of it.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Literal

from otel_distro.errors.lost_clients import is_lost_client

if TYPE_CHECKING:
    from types import TracebackType

Kind = Literal["", "response", "control", "iteration"]
"""The meaning of an exception.

- ``response``: a response below 500, to a request; outside of a request it is an error.
- ``control``: a normal end, a cancellation, or a message to the framework that runs the code.
- ``iteration``: the end of an iterator; where it leaves a request or a task it is an error.
- empty: an error.
"""

_STATUS: Final = {
    "aiohttp:BadHttpMessage": ("code",),
    "aiohttp:HTTPException": ("status",),
    "apiflask:HTTPError": ("status_code",),
    "blacksheep:HTTPException": ("status",),
    "bottle:HTTPResponse": ("status_code",),
    "cherrypy:HTTPError": ("code",),
    "cherrypy:HTTPRedirect": ("status",),
    "connexion:ProblemException": ("status",),
    "falcon:HTTPError": ("status_code", "status"),
    "falcon:HTTPStatus": ("status_code", "status"),
    "litestar:HTTPException": ("status_code",),
    "ninja:HttpError": ("status_code",),
    "ninja_extra:APIException": ("status_code",),
    "pyramid:HTTPException": ("status_int", "code"),
    "rest_framework:APIException": ("status_code",),
    "robyn:HTTPException": ("status_code",),
    "sanic:SanicException": ("status_code",),
    "starlette:HTTPException": ("status_code",),
    "starlite:HTTPException": ("status_code",),
    "tornado:HTTPError": ("status_code",),
    "webob:HTTPException": ("status_int", "code"),
    "werkzeug:HTTPException": ("code", "response.status_code"),
}
"""Class -> attributes with the status of its response; the first that is a number counts."""

_RESPONSES: Final = frozenset(
    {
        "django:BadRequest",
        "django:Http404",
        "django:MultiPartParserError",
        "django:PermissionDenied",
        "django:SuspiciousOperation",
        "fastapi:RequestValidationError",
        "fastapi:WebSocketRequestValidationError",
        "ninja:ValidationError",
        "tornado:HTTPInputError",
    }
)
"""Classes without a status of their own, which the framework answers with one below 500."""

_CLOSES: Final = frozenset({"litestar:WebSocketException", "starlette:WebSocketException"})
"""Classes with the code that a WebSocket is closed with."""
_FAILED_CLOSES: Final = frozenset({1011, 4500})
"""Codes of a WebSocket that the server closes for an error of its own."""

_CONTROL: Final = frozenset(
    {
        "airflow:AirflowSkipException",
        "arq:Retry",
        "arq:RetryJob",
        "asyncclick:Abort",
        "asyncclick:Exit",
        "asyncio:QueueShutDown",
        "bdb:BdbQuit",
        "celery:TaskPredicate",
        "celery:TaskRevokedError",
        "channels:AcceptConnection",
        "channels:DenyConnection",
        "channels:StopConsumer",
        "cherrypy:InternalRedirect",
        "click:Abort",
        "click:Exit",
        "concurrent:CancelledError",
        "django:RequestAborted",
        "django:UnreadablePostError",
        "dramatiq:Retry",
        "dramatiq:SkipMessage",
        "falcon:WebSocketDisconnected",
        "huey:CancelExecution",
        "huey:RetryTask",
        "litestar:WebSocketDisconnect",
        "queue:ShutDown",
        "rq:DequeueTimeout",
        "rq:StopRequested",
        "sanic:WebsocketClosed",
        "starlette:ClientDisconnect",
        "starlette:WebSocketDisconnect",
        "tornado:Finish",
        "tornado:StreamClosedError",
        "tornado:WebSocketClosedError",
        "twisted:CancelledError",
        "typer:Abort",
        "typer:Exit",
        "unittest:SkipTest",
        "uvicorn:ClientDisconnected",
        "waitress:ClientDisconnected",
        "websockets:ConnectionClosedOK",
    }
)
_ITERATION: Final = frozenset(
    {"anyio:EndOfStream", "builtins:StopAsyncIteration", "builtins:StopIteration", "trio:EndOfChannel"}
)
_ERRORS: Final = frozenset({"blacksheep:FailedRequestError"})
"""Classes below one of the above that are errors: responses that a client got."""
_GRPC_ABORT: Final = "grpc:AbortError"
_GRPC_FAILURES: Final = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
"""Codes with which a call of a server is an error, by the semantic conventions."""
_FIRST_SERVER_ERROR: Final = 500
_MAX_CACHED: Final = 1000
_MAX_MEMBERS: Final = 1000

_Rule = Callable[[BaseException], Kind]
_rules: dict[type[BaseException], _Rule | None] = {}
"""Class -> its rule, None for an error."""


def kind_of(error: BaseException) -> Kind:
    """Return the meaning of ``error``, empty for an error. Never raises."""
    try:
        kind = type(error)
        try:
            rule = _rules[kind]
        except KeyError:
            if len(_rules) >= _MAX_CACHED:
                _rules.clear()
            rule = _rules[kind] = _rule_of(kind)
        return "" if rule is None else rule(error)
    except Exception:
        # A property of the application's class failed.
        return ""


def exits_with_failure(error: BaseException) -> bool:
    """Return whether ``error`` ends a command with another exit status than 0. Never raises."""
    try:
        code: Any = error.code if isinstance(error, SystemExit) else getattr(error, "exit_code", 0)
        return code not in (None, 0, False)
    except Exception:
        return False


def _rule_of(kind: type[BaseException]) -> _Rule | None:
    if not issubclass(kind, Exception):
        return _group if hasattr(kind, "exceptions") else _control
    if kind is Exception:
        return _bare
    for each in kind.__mro__:
        name = f"{each.__module__.partition('.')[0]}:{each.__qualname__}"
        if name in _ERRORS:
            return None
        if name in _STATUS:
            return _with_status(_STATUS[name])
        if name in _CLOSES:
            return _close
        if name in _RESPONSES:
            return _response
        if name in _CONTROL:
            return _control
        if name in _ITERATION:
            return _iteration
        if name == _GRPC_ABORT:
            return _grpc_abort
    return _connection if issubclass(kind, OSError) else None


def _control(_: BaseException) -> Kind:
    return "control"


def _connection(error: BaseException) -> Kind:
    return "control" if is_lost_client(error) else ""


def _iteration(_: BaseException) -> Kind:
    return "iteration"


def _response(_: BaseException) -> Kind:
    return "response"


def _close(error: BaseException) -> Kind:
    return "" if getattr(error, "code", None) in _FAILED_CLOSES else "response"


def _group(error: BaseException) -> Kind:
    """Classify a group of cancellations and the like, which may hold an error too."""
    todo, seen = [error], 0
    while todo and seen < _MAX_MEMBERS:
        seen += 1
        current = todo.pop()
        members = getattr(current, "exceptions", None)
        if isinstance(members, tuple):
            todo.extend(members)
        elif not kind_of(current):
            return ""
    return "control"


def _with_status(attributes: tuple[str, ...]) -> _Rule:
    getters = [attrgetter(name) for name in attributes]

    def rule(error: BaseException) -> Kind:
        for getter in getters:
            try:
                status = getter(error)
            except AttributeError:
                continue
            if isinstance(status, str) and status[:3].isdigit():
                status = int(status[:3])
            if isinstance(status, int):
                return "response" if status < _FIRST_SERVER_ERROR else ""
        return ""

    return rule


def _bare(error: BaseException) -> Kind:
    """Classify a plain ``Exception``, which gRPC's ``context.abort`` raises without arguments."""
    if error.args or error.__traceback__ is None:
        return ""
    for frame in _aborts(error.__traceback__):
        if frame.f_globals.get("__name__") == "grpc._server":
            return "" if _fails(frame.f_locals.get("code")) else "response"
    return ""


def _grpc_abort(error: BaseException) -> Kind:
    """Classify the exception of ``grpc.aio``: a wrapper of its context may show the code."""
    return "" if any(_fails(frame.f_locals.get("code")) for frame in _aborts(error.__traceback__)) else "response"


def _aborts(tb: TracebackType | None) -> list[Any]:
    """Return the frames of functions named ``abort`` and ``abort_with_status``."""
    frames = []
    while tb is not None:
        if tb.tb_frame.f_code.co_name in ("abort", "abort_with_status"):
            frames.append(tb.tb_frame)
        tb = tb.tb_next
    return frames


def _fails(code: Any) -> bool:
    return getattr(code, "name", None) in _GRPC_FAILURES
