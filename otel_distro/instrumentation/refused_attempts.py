"""Audit events for responses 401 and 403, and for logins: the data for an alert on brute force.

Every request that an instrumentation of this package records is checked at its end. Where that of
a framework is disabled, or its URL excluded, the calls of Flask, Django, Starlette, FastAPI, Falcon
and Pyramid applications are checked, and those in the WSGI or ASGI middleware of OpenTelemetry. A
request counts once, also if applications are mounted in each other. Logins are those of Django, by
its signals; with other frameworks a failed login is a refused request.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from opentelemetry import context

from otel_distro._runtime import import_hooks
from otel_distro._runtime.diagnostics import guard
from otel_distro.instrumentation import Instrumentor
from otel_distro.instrumentation._access.audit_events import REFUSED, AccessAudit, forwarded_of
from otel_distro.instrumentation._http_server.carrier import request_of
from otel_distro.instrumentation._http_server.request import ServerRequest, observers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from otel_distro.instrumentation import Wrapper

    Message = dict[str, Any]

_TASK = "auditing a refused request"
_CONTEXT = "_otel_distro_context"
_SIGNALS = "django.contrib.auth.signals"
_UID = "otel_distro.refused_attempts"

_inside: ContextVar[bool] = ContextVar("otel_distro.refused_attempts", default=False)
"""Whether an outer application is auditing the request already."""


class RefusedAttemptsInstrumentor(Instrumentor):
    """Entry point ``refused_attempts``."""

    def install(self) -> None:
        """Check the responses of every framework that is, or will be, imported."""
        access = self.__dict__["_access"] = AccessAudit()
        self.__dict__["_observer"] = observer = _check_request(access)
        observers.append(observer)
        wsgi, asgi = _wsgi(access), _asgi(access)
        for module, owner, attribute, wrap in (
            ("flask.app", "Flask", "__call__", wsgi),
            ("falcon.app", "App", "__call__", wsgi),
            ("pyramid.router", "Router", "__call__", wsgi),
            ("opentelemetry.instrumentation.wsgi", "OpenTelemetryMiddleware", "__call__", wsgi),
            ("starlette.applications", "Starlette", "__call__", asgi),
            ("falcon.asgi.app", "App", "__call__", asgi),
            ("opentelemetry.instrumentation.asgi", "OpenTelemetryMiddleware", "__call__", asgi),
            ("django.core.handlers.base", "BaseHandler", "get_response", _django(access)),
            ("django.core.handlers.base", "BaseHandler", "get_response_async", _django_async(access)),
            ("django.core.handlers.base", "BaseHandler", "resolve_request", _remember_context),
        ):
            import_hooks.when_imported(module, self._patch_when_imported(access, owner, attribute, wrap))
        import_hooks.when_imported(_SIGNALS, self._connect_signals)

    def _patch_when_imported(
        self, access: AccessAudit, owner: str, attribute: str, wrap: Wrapper
    ) -> Callable[[Any], None]:
        def patch(module: Any) -> None:
            with guard(f"auditing refused requests of {module.__name__}"):
                # It may be imported after the instrumentor was uninstalled, or installed again.
                if self.__dict__.get("_access") is access:
                    self.patch(getattr(module, owner), attribute, wrap)

        return patch

    def _connect_signals(self, module: Any) -> None:
        access: AccessAudit | None = self.__dict__.get("_access")
        if access is None:
            return
        with guard("auditing logins"):
            module.user_login_failed.connect(_login_failed(access), weak=False, dispatch_uid=_UID)
            module.user_logged_in.connect(_logged_in(access), weak=False, dispatch_uid=_UID)

    def _uninstrument(self, **kwargs: Any) -> None:
        self.__dict__.pop("_access", None)
        observer = self.__dict__.pop("_observer", None)
        if observer in observers:
            observers.remove(observer)
        module: Any = sys.modules.get(_SIGNALS)
        if module is not None:
            module.user_login_failed.disconnect(dispatch_uid=_UID)
            module.user_logged_in.disconnect(dispatch_uid=_UID)
        super()._uninstrument(**kwargs)


def _check_request(access: AccessAudit) -> Callable[[ServerRequest], None]:
    def check(request: ServerRequest) -> None:
        if request.status in REFUSED:
            token = context.attach(request.context)
            try:
                access.refused(
                    request.status,
                    method=request.method,
                    path=request.path,
                    route=request.route,
                    client=access.client(request.client_address, ()),
                )
            finally:
                context.detach(token)

    return check


def _wsgi(access: AccessAudit) -> Wrapper:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(app: Any, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            if _inside.get() or request_of(environ) is not None:
                return original(app, environ, start_response)
            path, checked = environ.get("PATH_INFO"), False

            def check_and_start(status: str, *args: Any, **kwargs: Any) -> Any:
                nonlocal checked
                with guard(_TASK):
                    number = int(status[:3])
                    if number in REFUSED and not checked:
                        checked = True
                        client = access.client(environ.get("REMOTE_ADDR"), forwarded_of(environ))
                        method = environ.get("REQUEST_METHOD")
                        access.refused(number, method=method, path=path, route=_route_of_flask(), client=client)
                return start_response(status, *args, **kwargs)

            token = _inside.set(True)
            try:
                return original(app, environ, check_and_start)
            finally:
                _inside.reset(token)

        return call

    return wrap


def _route_of_flask() -> str:
    flask: Any = sys.modules.get("flask")
    if flask is None or not flask.has_request_context() or flask.request.url_rule is None:
        return ""
    return str(flask.request.url_rule.rule)


def _asgi(access: AccessAudit) -> Wrapper:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        async def call(
            app: Any, scope: dict[str, Any], receive: Any, send: Callable[[Message], Awaitable[None]]
        ) -> Any:
            recorded = request_of(scope) is not None
            if recorded or _inside.get() or scope.get("type") not in ("http", "websocket"):
                return await original(app, scope, receive, send)
            # Stored now: mounted applications change it in the scope.
            path, responded = scope.get("path"), False

            def check_and_send(message: Message) -> Awaitable[None]:
                nonlocal responded
                if not responded:
                    with guard(_TASK):
                        status = _status_of(message)
                        responded = status is not None
                        if status is not None and status in REFUSED:
                            _audit(access, scope, path, status)
                return send(message)

            token = _inside.set(True)
            try:
                return await original(app, scope, receive, check_and_send)
            finally:
                _inside.reset(token)

        return call

    return wrap


def _status_of(message: Message) -> int | None:
    """Return the status of a response, None for another message; 403 closes a WebSocket."""
    kind = message["type"]
    if kind.endswith(".start"):
        return int(message["status"])
    return 403 if kind == "websocket.close" else 0 if kind.endswith((".accept", ".close")) else None


def _audit(access: AccessAudit, scope: dict[str, Any], path: str | None, status: int) -> None:
    headers = scope.get("headers") or ()
    forwarded = [bytes(value).decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
    client = access.client((scope.get("client") or ("",))[0], forwarded)
    method = scope.get("method", "GET")
    access.refused(status, method=method, path=path, route=_route_of_scope(scope), client=client)


def _route_of_scope(scope: dict[str, Any]) -> str:
    route = getattr(scope.get("route"), "path", None)
    if isinstance(route, str):
        return route
    # Starlette stores only the endpoint in the scope, not its route.
    endpoint = scope.get("endpoint")
    routes = getattr(scope.get("app"), "routes", ()) if endpoint is not None else ()
    found = [each.path for each in routes if getattr(each, "endpoint", None) is endpoint]
    return str(found[0]) if found else ""


def _django(access: AccessAudit) -> Wrapper:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def get_response(handler: Any, request: Any) -> Any:
            response = original(handler, request)
            with guard(_TASK):
                _check_django(access, request, response)
            return response

        return get_response

    return wrap


def _django_async(access: AccessAudit) -> Wrapper:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        async def get_response_async(handler: Any, request: Any) -> Any:
            response = await original(handler, request)
            with guard(_TASK):
                _check_django(access, request, response)
            return response

        return get_response_async

    return wrap


def _remember_context(original: Callable[..., Any]) -> Callable[..., Any]:
    def resolve_request(handler: Any, request: Any) -> Any:
        # The span of the request has ended when the response is returned.
        setattr(request, _CONTEXT, context.get_current())
        return original(handler, request)

    return resolve_request


def _check_django(access: AccessAudit, request: Any, response: Any) -> None:
    if response.status_code not in REFUSED or _inside.get() or _is_recorded(request):
        return
    route = getattr(getattr(request, "resolver_match", None), "route", None) or ""
    token = context.attach(getattr(request, _CONTEXT, None) or context.get_current())
    try:
        client = _client_of_django(access, request)
        access.refused(response.status_code, method=request.method, path=request.path, route=route, client=client)
    finally:
        context.detach(token)


def _is_recorded(request: Any) -> bool:
    """Return whether the end of the request of the application checks it."""
    carrier = getattr(request, "scope", None) or getattr(request, "environ", None) or {}
    return request_of(carrier) is not None


def _client_of_django(access: AccessAudit, request: Any) -> str:
    meta = getattr(request, "META", None) or {}
    return access.client(meta.get("REMOTE_ADDR"), forwarded_of(meta))


def _login_failed(access: AccessAudit) -> Callable[..., None]:
    def receive(sender: Any, credentials: dict[str, Any], request: Any = None, **kwargs: Any) -> None:
        with guard("auditing a failed login"):
            # Django has masked secrets with stars; the first other value is the user name.
            name = next((value for value in credentials.values() if value and not str(value).startswith("***")), "")
            access.login("failure", name=name, user_id=None, client=_client_of_django(access, request))

    return receive


def _logged_in(access: AccessAudit) -> Callable[..., None]:
    def receive(sender: Any, user: Any, request: Any = None, **kwargs: Any) -> None:
        with guard("auditing a login"):
            access.login(
                "success", name=user.get_username(), user_id=user.pk, client=_client_of_django(access, request)
            )

    return receive
