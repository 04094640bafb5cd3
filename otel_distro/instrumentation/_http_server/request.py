"""One request of an HTTP server: one SERVER span, one measurement, one context.

The outermost application of a request makes it. Inner ones find it by
:mod:`otel_distro.instrumentation._http_server.carrier` and only add what they know: the route, an
exception.

Source: https://opentelemetry.io/docs/specs/semconv/http/http-spans/
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import Context, detach
from opentelemetry.trace import SpanKind, Status, StatusCode

from otel_distro import schema
from otel_distro._otel.request_context import REQUEST_KEY
from otel_distro._otel.sdk import SPAN_KEY
from otel_distro._runtime.diagnostics import report_failure, text_of
from otel_distro.errors import deferred, exception_state
from otel_distro.errors.exception_report import type_name
from otel_distro.errors.lost_clients import is_lost_client
from otel_distro.instrumentation._http_server import instruments, old_names, options

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Span

OTHER_METHOD: Final = "_OTHER"
_MAX_ROUTE_CHARS: Final = 255
_INTERRUPTED: Final = "interrupted"

_METHOD, _METHOD_ORIGINAL = schema.HTTP_REQUEST_METHOD.name, schema.HTTP_REQUEST_METHOD_ORIGINAL.name
_SCHEME, _PATH = schema.URL_SCHEME.name, schema.URL_PATH.name
_CLIENT, _VERSION = schema.CLIENT_ADDRESS.name, schema.NETWORK_PROTOCOL_VERSION.name
_STATUS, _ROUTE, _ERROR = schema.HTTP_RESPONSE_STATUS_CODE.name, schema.HTTP_ROUTE.name, schema.ERROR_TYPE.name

NO_CONTEXT: Final = Context()
_FAILED: Final = Status(StatusCode.ERROR)
_NO_ERRORS: Final = frozenset(("CancelledError", "GreenletExit", "GeneratorExit", "Cancelled"))
"""Classes whose instances end work whose result is not needed any more."""
_CLIENT_LEFT: Final = frozenset(
    (
        *("ClientDisconnect", "ClientDisconnected", "RequestAborted", "StreamClosedError", "UnreadablePostError"),
        *("WebSocketClosedError", "WebSocketDisconnect", "WebSocketDisconnected", "WebsocketDisconnect"),
    )
)
"""Classes whose instances say that the client has closed the connection."""


def _says_that_client_left(error: BaseException) -> bool:
    return type(error).__name__ in _CLIENT_LEFT or is_lost_client(error)


_put: Any = dict.__setitem__


class ServerRequest:
    """A request from its first byte until its response is closed.

    :mod:`otel_distro.instrumentation._http_server.request_start` makes it.

    Attributes:
        client_left: Whether the response is to an exception that says that the client has left.
        by_server: Whether a server has made it, and no framework has applied its options yet.
        kind: Method and scheme, as the metrics have them.
        has_body: Whether a part of the response's body was made, of WSGI applications.
        is_answered: Whether the server has got the last part of the response.
        context: OpenTelemetry's context of the application while it answers.
        route: Template of the route, empty while it is unknown. :meth:`set_route` sets it.
        status: Status code that the client got; 0 before the response has started.
        ended: Whether the span has ended and the measurement is made.
        span: The SERVER span.
    """

    __slots__ = (
        "_abandoned", "_active", "_attributes", "_completed", "_error", "_handled", "_method", "_name", "_recorded", "_started", "_tools",
        "by_server", "client_left", "context", "ended", "has_body", "has_trailers",
        "is_answered", "is_http", "kind", "route", "span", "status",
    )  # fmt: skip

    def __init__(self, attributes: dict[str, Any], method: str, parent: Context, links: Any, *, is_http: bool) -> None:
        self._attributes = attributes
        self._method = method
        self._name = method if method != OTHER_METHOD else "HTTP"
        self._error = ""
        self._abandoned = False
        self._recorded = 0
        self._handled: BaseException | None = None
        self._completed: tuple[int, float] | None = None
        self.route = ""
        self.status = 0
        self.ended = False
        self.has_trailers = False
        self.is_answered = False
        self.client_left = False
        self.has_body = False
        self.is_http = is_http
        self.by_server = False
        common = options.common()
        shown = attributes if not common.old_names else old_names.translated(attributes, keep=common.new_names)
        tools = self._tools = instruments.get()
        self.span: Span = tools.tracer.start_span(self._name, parent, SpanKind.SERVER, shown, links)
        context = self.context = Context(parent)
        _put(context, SPAN_KEY, self.span)
        _put(context, REQUEST_KEY, self)
        self.kind = (method, attributes[_SCHEME])
        self._started = time.perf_counter()
        self._active = tools.active
        self._active.enter(self)

    @property
    def client_address(self) -> str:
        """Address of the client without its port; empty if unknown."""
        return str(self._attributes.get(_CLIENT, ""))

    @property
    def method(self) -> str:
        """Method of the request, ``_OTHER`` for one that is no known one."""
        return self._method

    @property
    def path(self) -> str:
        """Path that the client asked for."""
        return str(self._attributes[_PATH])

    @property
    def is_over(self) -> bool:
        """Whether the application has nothing more to do for the client."""
        return self.ended or self.is_answered

    def asks_for(self, path: str, method: str) -> bool:
        """Return whether a request with this path, and this method as sent, is this one."""
        known = self._attributes
        return bool(known[_PATH] == path and (known.get(_METHOD_ORIGINAL) or known[_METHOD]) == method)

    def __deepcopy__(self, _: Any) -> ServerRequest:
        """Return the request itself: a copy of its carrier is no copy of the request."""
        return self

    def __reduce__(self) -> tuple[type[bool], tuple[()]]:
        """Pickle as False: the process that unpickles has no such request."""
        return bool, ()

    def set_route(self, template: str) -> None:
        """Set the whole template of the route, such as ``/users/{id}``."""
        self.route = template

    def set_mounted_route(self, prefix: str, template: str) -> None:
        """Set the route of an application that is mounted at ``prefix``.

        A prefix holds the values of the outer application's parameters. If that one has set its
        template, the first segments of this take their place.

        Args:
            prefix: Path before that of the application, as WSGI's ``SCRIPT_NAME``; may be empty.
            template: Template of the application's route, with or without a leading slash.
        """
        if prefix and self.route:
            prefix = "/".join(self.route.split("/")[: prefix.count("/") + 1])
        slash = "" if template.startswith("/") else "/"
        self.route = f"{prefix.rstrip('/')}{slash}{template}"[:_MAX_ROUTE_CHARS]

    def set_attribute(self, name: str, value: Any) -> None:
        """Set an attribute of the span."""
        self.span.set_attribute(name, value)

    def add_headers(self, found: dict[str, list[str]]) -> None:
        """Set captured headers as attributes of the span."""
        for name, values in found.items():
            self.span.set_attribute(name, values)

    def fail(self, error: BaseException, *, is_cancellation: bool = True) -> None:
        """Note an exception of the application; never raises.

        The first one is recorded on the span; one that is linked to it, such as the same inside an
        exception group, is not recorded again. Log lines of a server about it get the trace of
        this request. The end of work that is not needed any more, such as a cancellation, is no
        error.
        """
        try:
            if is_cancellation and type(error).__name__ in _NO_ERRORS:
                self._abandoned = type(error) is GeneratorExit
                return
            if not self.ended and not _says_that_client_left(error) and not self._knows(error):
                self._record(error)
            exception_state.remember_span(error, self.span.get_span_context())
        except Exception as failure:
            report_failure("an exception of a request", failure)

    def note_handled(self, error: BaseException) -> None:
        """Note an exception that the framework turns into a response.

        It is recorded if the response has a status of 500 or more. Of several ones it is the last:
        the ones before it are its context.
        """
        self._handled = error

    def start_response(self, status: int) -> None:
        """Note the status of the response, which starts now.

        The exception that was handled is recorded or forgotten: its frames hold the request.
        """
        self.status = status
        handled, self._handled = self._handled, None
        if handled is not None and status >= 500:
            # No client gets the response to an exception that says that it has left.
            self.client_left = _says_that_client_left(handled)
            self.fail(handled)

    def fail_before_body(self, error: BaseException) -> None:
        """Note an exception before the first part of the response: the server answers 500."""
        self.fail(error)
        if self._error:
            self.status = 500

    def fail_with_handled(self) -> None:
        """Note that the response to the exception that was handled says that the server failed."""
        if self._handled is not None:
            self.fail(self._handled)

    def exclude(self) -> None:
        """Record nothing of this request, neither span nor measurement."""
        if not self.ended:
            self.ended = True
            self._active.leave(self)

    def _record(self, error: BaseException) -> None:
        members = getattr(error, "exceptions", ())
        while isinstance(members, tuple) and len(members) == 1 and "ExceptionGroup" in type(error).__name__:
            # A task group of the server or framework is around the exception of the application.
            error = members[0]
            members = getattr(error, "exceptions", ())
        # Not the exception itself: its frames hold the response, whose end is the end of this request.
        self._recorded = id(error)
        if isinstance(error, Exception):
            self.span.record_exception(error)
        self._error = type_name(type(error))
        name = type(error).__name__
        # The status of an exception that is no error elsewhere, such as a cancellation, would be left out by its text.
        text = f"{name}: {text_of(error)}" if isinstance(error, Exception) else name
        self.span.set_status(Status(StatusCode.ERROR, text))

    def _knows(self, error: BaseException) -> bool:
        known = self._recorded
        return bool(known) and (known == id(error) or any(known == id(each) for each in exception_state.linked(error)))

    def complete(self) -> None:
        """Note that the client has the whole response. The request ends now unless it failed.

        After a response of 500 or more an exception usually leaves the application: the request
        then ends with :meth:`end`, as of now.
        """
        if self.ended or self._completed is not None:
            return
        self._completed = (time.time_ns(), time.perf_counter())
        if self.status < 500:
            self.end()

    def end(self) -> None:
        """End the span and record the measurement, once; never raises."""
        if self.ended:
            return
        self.ended = True
        try:
            self._end()
        except Exception as failure:
            report_failure("the end of a request", failure)
        self._active.leave(self)
        # The context holds this request, and exceptions hold frames: cycles for the garbage collector.
        self.context = NO_CONTEXT
        self._handled = None

    def leave(self, token: Any) -> None:
        """End the request and restore the context that was current before it.

        A coroutine that nothing awaits any more is closed by a finalizer, in any other context.

        Args:
            token: What :func:`opentelemetry.context.attach` returned.
        """
        if self._abandoned:
            self.end_in_finalizer()
        else:
            self.end()
            detach(token)

    def end_in_finalizer(self) -> None:
        """End the request from a finalizer, as of now: the background thread does it.

        A finalizer runs anywhere, also where this thread holds a lock of the SDK.
        """
        if not self.ended:
            self._completed = self._completed or (time.time_ns(), time.perf_counter())
            deferred.submit(ServerRequest.end, self)

    def interrupt(self) -> None:
        """End the request as far as it has come: the process ends."""
        if not self.ended:
            if not self.status:
                self._error = _INTERRUPTED
                self.span.set_status(Status(StatusCode.ERROR, "the process ended before the response"))
            self.end()
        elif self.span.is_recording():
            # A signal has come in the middle of the end.
            self._end()

    def _end(self) -> None:
        end_ns, end = self._completed or (None, time.perf_counter())
        span, status = self.span, self.status
        if not status and self._error and self._error is not _INTERRUPTED:
            # The server answers for the application.
            status = self.status = 500
        if self.client_left:
            status = self.status = 0
        common = options.common()
        measured = {_METHOD: self._method, _SCHEME: self._attributes[_SCHEME]}
        version = self._attributes.get(_VERSION)
        if version is not None:
            measured[_VERSION] = version
        if status:
            measured[_STATUS] = status
            if common.new_names:
                span.set_attribute(_STATUS, status)
        if self.route:
            measured[_ROUTE] = self.route
            span.set_attribute(_ROUTE, self.route)
            # A name that the application has given stays.
            if getattr(span, "name", self._name) == self._name:
                span.update_name(f"{self._name} {self.route}")
        if status >= 500 and not self._error:
            self._error = str(status)
            span.set_status(_FAILED)
        if self._error:
            measured[_ERROR] = self._error
            span.set_attribute(_ERROR, self._error)
        if common.old_names:
            old_names.finish(span, status)
        span.end(end_ns)
        if self.is_http:
            self._tools.measure(end - self._started, measured, self._attributes, self.context)
        for observer in observers:
            observer(self)


observers: list[Callable[[ServerRequest], None]] = []
"""Called when a request has ended, while its context is still known; they must not raise."""
