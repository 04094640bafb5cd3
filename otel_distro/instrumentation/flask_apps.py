"""Flask applications: a request with the rule that matched, and what its views raise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.context import attach, get_current, set_value

from otel_distro._runtime.diagnostics import guard, report_failure
from otel_distro.instrumentation import Instrumentor
from otel_distro.instrumentation._http_server import upstream, wsgi
from otel_distro.instrumentation._http_server.carrier import request_of
from otel_distro.instrumentation._http_server.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from otel_distro.instrumentation import Wrapper
    from otel_distro.instrumentation._http_server.request import ServerRequest

_TAGS = "SQLCOMMENTER_ORM_TAGS_AND_VALUES"
"""Where OpenTelemetry's SQL commenter looks for what a framework adds to the comments."""


class FlaskInstrumentor(Instrumentor):
    """Replaces upstream's entry point ``flask``."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the versions of Flask that are supported."""
        return ("flask >= 1.0",)

    def install(self) -> None:
        """Wrap the call of an application, the match of its rule, and its handling of exceptions.

        ``instrument()`` takes upstream's arguments ``request_hook(span, environ)``,
        ``response_hook(span, status, headers)``, ``excluded_urls``, ``enable_commenter`` and
        ``commenter_options``. The last two concern comments that the instrumentor of a database
        writes if its own commenter is on.
        """
        from flask import Flask, ctx

        arguments = _adapted(self.arguments)
        chosen = Options("FLASK", arguments)
        upstream.adopt(self, chosen, "opentelemetry.instrumentation.flask", "FlaskInstrumentor", _adapted)
        self.patch(Flask, "__call__", wsgi.wrap_method(chosen))
        # Flask 3.2 has one context of both kinds; before, that of the application matches nothing.
        owner = ctx.AppContext if hasattr(ctx.AppContext, "match_request") else ctx.RequestContext
        tags = arguments.get("commenter_options") or {} if arguments.get("enable_commenter", True) else None
        self.patch(owner, "match_request", _with_route(_Tags(tags) if tags is not None else None))
        self.patch(Flask, "handle_user_exception", _with_exception)
        self.patch(Flask, "handle_exception", _with_exception)


def _adapted(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return arguments with a response hook that gets what every WSGI application's gets."""
    hook = arguments.get("response_hook")
    if hook is None:
        return arguments
    return {**arguments, "response_hook": lambda span, _, status, headers: hook(span, status, headers)}


class _Tags:
    """Tags that Flask adds to SQL comments."""

    def __init__(self, chosen: Mapping[str, bool]) -> None:
        from importlib.metadata import version

        self._framework = {"framework": f"flask:{version('flask')}"} if chosen.get("framework", True) else {}
        self._has_controller = chosen.get("controller", True)
        self._has_route = chosen.get("route", True)

    def store(self, request: ServerRequest, endpoint: str | None, rule: str) -> None:
        """Store the tags in the current context."""
        found = dict(self._framework)
        if self._has_controller and endpoint:
            found["controller"] = endpoint
        if self._has_route:
            found["route"] = rule
        context = request.context
        if get_current() is context:
            # It belongs to this request alone.
            dict.__setitem__(context, _TAGS, found)
        else:
            # In force until the context of the request is detached.
            attach(set_value(_TAGS, found))


def _with_route(tags: _Tags | None) -> Wrapper:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def match_request(context: Any) -> Any:
            result = original(context)
            try:
                current = context.request
                environ, rule = current.environ, current.url_rule
                request = request_of(environ)
                if request is not None and rule is not None:
                    # A dispatcher moves the prefix under which it has mounted the application there.
                    request.set_mounted_route(environ.get("SCRIPT_NAME", ""), rule.rule)
                    if tags is not None:
                        tags.store(request, rule.endpoint, rule.rule)
            except Exception as error:
                report_failure("the route of a request", error)
            return result

        return match_request

    return wrap


def _with_exception(original: Callable[..., Any]) -> Callable[..., Any]:
    """Note what a view raises; exceptions of HTTP are responses."""

    def handle(app: Any, *arguments: Any) -> Any:
        with guard("an exception of a request"):
            from flask import request as current
            from werkzeug.exceptions import HTTPException

            request, error = request_of(current.environ), arguments[-1]
            if request is not None and not isinstance(error, HTTPException):
                request.note_handled(error)
        return original(app, *arguments)

    return handle
