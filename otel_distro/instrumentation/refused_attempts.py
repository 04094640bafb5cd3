"""Requests that were answered with 401 or 403, and logins: who tried what, ready for an alert on brute force.

Flask, Django, Starlette, FastAPI, Falcon, Pyramid, and every application in the WSGI or ASGI middleware of OpenTelemetry. A
request counts once, whatever is mounted in what. Logins are those of Django, by its own signals; elsewhere a failed login
is a refused request. No instrumentor of upstream is needed; where one runs, the event belongs to the request's trace.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from opentelemetry import context

from otel_distro._runtime import import_hooks
from otel_distro._runtime.diagnostics import guard
from otel_distro.instrumentation import Instrumentor
from otel_distro.instrumentation._refusals.reports import REFUSED, Reports, forwarded_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from otel_distro.instrumentation import Wrapper

    Message = dict[str, Any]

_WHAT = "auditing a refused request"
_CONTEXT = "_otel_distro_context"
_SIGNALS = "django.contrib.auth.signals"
_UID = "otel_distro.refused_attempts"

_inside: ContextVar[bool] = ContextVar("otel_distro.refused_attempts", default=False)
"""Whether an application further out looks at the request already."""


class RefusedAttemptsInstrumentor(Instrumentor):
    """Entry point ``refused_attempts``."""

    def install(self) -> None:
        """Look at the answers of every framework that is, or will be, imported."""
        reports = self.__dict__["_reports"] = Reports()
        wsgi, asgi = _wsgi(reports), _asgi(reports)
        for module, owner, attribute, wrap in (
            ("flask.app", "Flask", "__call__", wsgi),
            ("falcon.app", "App", "__call__", wsgi),
            ("pyramid.router", "Router", "__call__", wsgi),
            ("opentelemetry.instrumentation.wsgi", "OpenTelemetryMiddleware", "__call__", wsgi),
            ("starlette.applications", "Starlette", "__call__", asgi),
            ("falcon.asgi.app", "App", "__call__", asgi),
            ("opentelemetry.instrumentation.asgi", "OpenTelemetryMiddleware", "__call__", asgi),
            ("django.core.handlers.base", "BaseHandler", "get_response", _django(reports)),
            ("django.core.handlers.base", "BaseHandler", "get_response_async", _django_async(reports)),
            ("django.core.handlers.base", "BaseHandler", "resolve_request", _remember_context),
        ):
            import_hooks.when_imported(module, self._patch_when_imported(reports, owner, attribute, wrap))
        import_hooks.when_imported(_SIGNALS, self._listen)

    def _patch_when_imported(
        self, reports: Reports, owner: str, attribute: str, wrap: Wrapper
    ) -> Callable[[Any], None]:
        def patch(module: Any) -> None:
            with guard(f"auditing refused requests of {module.__name__}"):
                # It may be imported only after we were taken out again, or in again.
                if self.__dict__.get("_reports") is reports:
                    self.patch(getattr(module, owner), attribute, wrap)

        return patch

    def _listen(self, module: Any) -> None:
        reports: Reports | None = self.__dict__.get("_reports")
        if reports is None:
            return
        with guard("auditing logins"):
            module.user_login_failed.connect(_login_failed(reports), weak=False, dispatch_uid=_UID)
            module.user_logged_in.connect(_logged_in(reports), weak=False, dispatch_uid=_UID)

    def _uninstrument(self, **kwargs: Any) -> None:
        self.__dict__.pop("_reports", None)
        module: Any = sys.modules.get(_SIGNALS)
        if module is not None:
            module.user_login_failed.disconnect(dispatch_uid=_UID)
            module.user_logged_in.disconnect(dispatch_uid=_UID)
        super()._uninstrument(**kwargs)


def _wsgi(reports: Reports) -> Wrapper:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(app: Any, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            if _inside.get():
                return original(app, environ, start_response)
            path, told = environ.get("PATH_INFO"), False

            def look_and_start(status: str, *args: Any, **kwargs: Any) -> Any:
                nonlocal told
                with guard(_WHAT):
                    number = int(status[:3])
                    if number in REFUSED and not told:
                        told = True
                        client = reports.client(environ.get("REMOTE_ADDR"), forwarded_of(environ))
                        method = environ.get("REQUEST_METHOD")
                        reports.refused(number, method=method, path=path, route=_route_of_flask(), client=client)
                return start_response(status, *args, **kwargs)

            token = _inside.set(True)
            try:
                return original(app, environ, look_and_start)
            finally:
                _inside.reset(token)

        return call

    return wrap


def _route_of_flask() -> str:
    flask: Any = sys.modules.get("flask")
    if flask is None or not flask.has_request_context() or flask.request.url_rule is None:
        return ""
    return str(flask.request.url_rule.rule)


def _asgi(reports: Reports) -> Wrapper:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        async def call(
            app: Any, scope: dict[str, Any], receive: Any, send: Callable[[Message], Awaitable[None]]
        ) -> Any:
            if _inside.get() or scope.get("type") not in ("http", "websocket"):
                return await original(app, scope, receive, send)
            attempt = _Attempt(reports, scope)

            async def look_and_send(message: Message) -> None:
                with guard(_WHAT):
                    attempt.look(message)
                await send(message)

            token = _inside.set(True)
            try:
                return await original(app, scope, receive, look_and_send)
            finally:
                _inside.reset(token)

        return call

    return wrap


class _Attempt:
    """One request or WebSocket of an ASGI application, until its first answer."""

    def __init__(self, reports: Reports, scope: dict[str, Any]) -> None:
        self._reports = reports
        self._scope = scope
        # Routers change it on the way in.
        self._path = scope.get("path")
        self._answered = False

    def look(self, message: Message) -> None:
        """Tell if this message refuses the request. A WebSocket that is closed before it was accepted is a 403."""
        kind = message["type"]
        if self._answered or not kind.endswith((".start", ".accept", ".close")):
            return
        self._answered = True
        status = message["status"] if kind.endswith(".start") else 403 if kind == "websocket.close" else 0
        if status in REFUSED:
            headers = self._scope.get("headers") or ()
            forwarded = [bytes(value).decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
            client = self._reports.client((self._scope.get("client") or ("",))[0], forwarded)
            self._reports.refused(
                status,
                method=self._scope.get("method", "GET"),
                path=self._path,
                route=_route_of_scope(self._scope),
                client=client,
            )


def _route_of_scope(scope: dict[str, Any]) -> str:
    route = getattr(scope.get("route"), "path", None)
    if isinstance(route, str):
        return route
    # Starlette itself leaves no more behind than the function that was chosen.
    endpoint = scope.get("endpoint")
    routes = getattr(scope.get("app"), "routes", ()) if endpoint is not None else ()
    found = [each.path for each in routes if getattr(each, "endpoint", None) is endpoint]
    return str(found[0]) if found else ""


def _django(reports: Reports) -> Wrapper:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def get_response(handler: Any, request: Any) -> Any:
            response = original(handler, request)
            with guard(_WHAT):
                _look_at_django(reports, request, response)
            return response

        return get_response

    return wrap


def _django_async(reports: Reports) -> Wrapper:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        async def get_response_async(handler: Any, request: Any) -> Any:
            response = await original(handler, request)
            with guard(_WHAT):
                _look_at_django(reports, request, response)
            return response

        return get_response_async

    return wrap


def _remember_context(original: Callable[..., Any]) -> Callable[..., Any]:
    def resolve_request(handler: Any, request: Any) -> Any:
        # When the answer is there the request's span has ended.
        setattr(request, _CONTEXT, context.get_current())
        return original(handler, request)

    return resolve_request


def _look_at_django(reports: Reports, request: Any, response: Any) -> None:
    if response.status_code not in REFUSED or _inside.get():
        return
    route = getattr(getattr(request, "resolver_match", None), "route", None) or ""
    token = context.attach(getattr(request, _CONTEXT, None) or context.get_current())
    try:
        client = _client_of_django(reports, request)
        reports.refused(response.status_code, method=request.method, path=request.path, route=route, client=client)
    finally:
        context.detach(token)


def _client_of_django(reports: Reports, request: Any) -> str:
    meta = getattr(request, "META", None) or {}
    return reports.client(meta.get("REMOTE_ADDR"), forwarded_of(meta))


def _login_failed(reports: Reports) -> Callable[..., None]:
    def receive(sender: Any, credentials: dict[str, Any], request: Any = None, **kwargs: Any) -> None:
        with guard("auditing a failed login"):
            # Django has made stars of everything that is secret by its name; what is left is the name of the user.
            name = next((value for value in credentials.values() if value and not str(value).startswith("***")), "")
            reports.login("failure", name=name, user_id=None, client=_client_of_django(reports, request))

    return receive


def _logged_in(reports: Reports) -> Callable[..., None]:
    def receive(sender: Any, user: Any, request: Any = None, **kwargs: Any) -> None:
        with guard("auditing a login"):
            reports.login(
                "success", name=user.get_username(), user_id=user.pk, client=_client_of_django(reports, request)
            )

    return receive
