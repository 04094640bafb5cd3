"""Calls a WSGI application inside a :class:`ServerRequest`.

Source: https://peps.python.org/pep-3333/
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import attach, detach
from opentelemetry.instrumentation.propagators import get_global_response_propagator

from otel_distro._runtime.diagnostics import report_failure
from otel_distro.instrumentation._http_server import headers, options
from otel_distro.instrumentation._http_server.carrier import (
    CARRIER_KEY,
    EXCLUDED,
    exclude,
    is_recorded,
    mark_as_recorded,
    nested,
)
from otel_distro.instrumentation._http_server.request import ServerRequest
from otel_distro.instrumentation._http_server.request_start import begin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from otel_distro.instrumentation import Wrapper
    from otel_distro.instrumentation._http_server.options import Options

    Environ = dict[str, Any]
    StartResponse = Callable[..., Any]

_NOTHING: Final = object()
_NO_BODY: Final = frozenset((list, tuple, bytes, str, type(None)))
"""Classes of responses that are complete, or that a server treats in its own way."""


def wrap_method(chosen: Options) -> Wrapper:
    """Return what wraps the ``__call__`` of a class of applications."""

    # Its first parameter is named like a method's: testing tools count the others.
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def __call__(self: Any, environ: Environ, start_response: StartResponse) -> Any:  # noqa: N807
            known = environ.get(CARRIER_KEY)
            if known is None:
                return answer(partial(original, self), environ, start_response, chosen.of(self))
            if type(known) is ServerRequest and known.by_server:
                return _join(partial(original, self), environ, start_response, chosen.of(self))
            return original(self, environ, start_response)

        mark_as_recorded(__call__)
        return __call__

    return wrap


def wrap_application(application: Callable[..., Any], chosen: Options) -> Callable[..., Any]:
    """Return an application that a server calls instead of ``application``.

    It is the application itself if that makes requests already.
    """
    if is_recorded(application):
        return application

    def call(environ: Environ, start_response: StartResponse) -> Any:
        if CARRIER_KEY in environ:
            return application(environ, start_response)
        return answer(application, environ, start_response, chosen)

    mark_as_recorded(call)
    return call


def answer(
    call: Callable[[Environ, StartResponse], Any], environ: Environ, start_response: StartResponse, chosen: Options
) -> Any:
    """Return what ``call(environ, start_response)`` returns, recorded as one request.

    The response is closed by the server: its iterable is wrapped where its items are still to be
    made. Lists and files are returned as they are, and the request ends with the call. So are files
    that the server itself wraps, to send them without reading them here; their ``close`` ends the
    request.
    """
    request = start(environ, chosen)
    if request is None:
        outer = environ.get(CARRIER_KEY)
        if type(outer) is ServerRequest and outer.by_server:
            return _join(call, environ, start_response, chosen)
        return call(environ, start_response)

    def respond(status: str, response_headers: list[tuple[str, str]], *exc_info: Any, **kwargs: Any) -> Any:
        try:
            _respond(request, environ, status, response_headers, exc_info, chosen)
        except Exception as error:
            report_failure("the response of a request", error)
        return start_response(status, response_headers, *exc_info, **kwargs)

    token = attach(request.context)
    try:
        result = call(environ, respond)
    except BaseException as error:
        request.fail_before_body(error)
        request.end()
        raise
    finally:
        detach(token)
    kind = type(result)
    if kind in _NO_BODY:
        if result is None or not request.status:
            request.start_response(500)  # the server answers for the application
        request.end()
        return result
    wrapper = environ.get("wsgi.file_wrapper")
    if isinstance(result, wrapper) if isinstance(wrapper, type) else wrapper and hasattr(kind, "read"):
        _end_with_file(result, request)
        return result
    if hasattr(kind, "read"):
        request.end()
        return result
    return SizedBody(result, request) if hasattr(kind, "__len__") else Body(result, request)


def _join(
    call: Callable[[Environ, StartResponse], Any], environ: Environ, start_response: StartResponse, chosen: Options
) -> Any:
    """Call an application in a request that a server has begun, with the framework's options."""
    request: ServerRequest = environ[CARRIER_KEY]
    request.by_server = False
    if not chosen.changes_nested:
        return call(environ, start_response)
    if chosen.excludes(*_url(environ)):
        token = exclude(environ, request)
        try:
            return call(environ, start_response)
        finally:
            detach(token)
    return call_with_hooks(call, request, environ, start_response, chosen)


def call_with_hooks(
    call: Callable[[Environ, StartResponse], Any],
    request: ServerRequest,
    environ: Environ,
    start_response: StartResponse,
    chosen: Options,
) -> Any:
    """Return what ``call(environ, start_response)`` returns, with the hooks of ``chosen``."""
    chosen.call(chosen.request_hook, request.span, environ)

    def respond(status: str, response_headers: list[tuple[str, str]], *args: Any, **kwargs: Any) -> Any:
        chosen.call(chosen.response_hook, request.span, environ, status, response_headers)
        return start_response(status, response_headers, *args, **kwargs)

    return call(environ, start_response if chosen.response_hook is None else respond)


class Body:
    """The iterable of a response: its steps run in the request's context, which ends with it."""

    __slots__ = ("__weakref__", "_request", "_source")

    def __init__(self, source: Iterable[bytes], request: ServerRequest) -> None:
        self._source: Any = source
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        return _Steps(self, self._run(iter, self._source))

    def __next__(self) -> bytes:
        return next(_Steps(self, self._source))

    def close(self) -> None:
        """Close the response, and end the request."""
        try:
            close = getattr(self._source, "close", None)
            if close is not None:
                self._run(close)
        finally:
            self._request.end()

    def _run(self, function: Callable[..., Any], argument: Any = _NOTHING) -> Any:
        request = self._request
        token = attach(request.context)
        try:
            return function() if argument is _NOTHING else function(argument)
        except BaseException as error:
            request.fail(error)
            raise
        finally:
            detach(token)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def __del__(self) -> None:
        # A server that never closes a response.
        self._request.end_in_finalizer()


class _Steps:
    """An iterator over a response; it keeps the response alive."""

    __slots__ = ("_body", "_iterator", "_request")

    def __init__(self, body: Body, iterator: Iterator[bytes]) -> None:
        self._body = body
        self._request = body._request
        self._iterator = iterator

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        request = self._request
        token = attach(request.context)
        try:
            step = next(self._iterator)
        except StopIteration:
            raise
        except BaseException as error:
            (request.fail if request.has_body else request.fail_before_body)(error)
            raise
        else:
            if step:
                request.has_body = True
            return step
        finally:
            detach(token)


class SizedBody(Body):
    """A response of a known number of items; servers take the length of a single one."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self._source)


def _end_with_file(result: Any, request: ServerRequest) -> None:
    """End the request when the server closes a file."""
    close = getattr(result, "close", None)

    def close_and_end() -> None:
        try:
            # Otherwise the file would be in a cycle, and only the garbage collector would free it.
            vars(result).pop("close", None)
            if close is not None:
                close()
        finally:
            request.end()

    try:
        vars(result)["close"] = close_and_end
    except TypeError:
        request.end()


class _Headers:
    """Looks up headers in WSGI's environment."""

    __slots__ = ("_environ",)

    def __init__(self, environ: Environ) -> None:
        self._environ = environ

    def has_any(self, names: Iterable[str]) -> bool:
        environ = self._environ
        for name in names:  # noqa: SIM110 - half the time of any() and a generator
            if _key(name) in environ:
                return True
        return False

    def get(self, _: Any, key: str) -> list[str] | None:
        value = self._environ.get(_key(key))
        return None if value is None else [value]

    def keys(self, _: Any) -> list[str]:
        return [name for name, _ in _all(self._environ)]


@lru_cache(maxsize=256)
def _key(name: str) -> str:
    return "HTTP_" + name.upper().replace("-", "_")


def _all(environ: Environ) -> list[tuple[str, str]]:
    """Return all headers of a request."""
    found = [
        (name[5:].replace("_", "-").lower(), value)
        for name, value in environ.items()
        if name.startswith("HTTP_") and type(value) is str
    ]
    return [*found, *((name.replace("_", "-").lower(), environ[name]) for name in _NO_PREFIX if environ.get(name))]


_NO_PREFIX = ("CONTENT_TYPE", "CONTENT_LENGTH")


def _url(environ: Environ) -> tuple[str, str, str]:
    get = environ.get
    path = _decoded(get("SCRIPT_NAME", "") + get("PATH_INFO", ""))
    return get("wsgi.url_scheme", "http"), get("HTTP_HOST") or get("SERVER_NAME", ""), path


def start(environ: Environ, chosen: Options) -> ServerRequest | None:
    """Start the request of an environment and store it there; never raises.

    Returns:
        None if it is an outer application's, or is not recorded.
    """
    try:
        return _start(environ, chosen)
    except Exception as error:
        report_failure("the start of a request", error)
        return None


def _start(environ: Environ, chosen: Options) -> ServerRequest | None:
    get = environ.get
    scheme, host, path = _url(environ)
    method, port = get("REQUEST_METHOD", "GET"), str(get("SERVER_PORT", ""))
    if (outer := nested(path, method)) is not None:
        environ[CARRIER_KEY] = outer
        return None
    if chosen.excludes(scheme, host, path):
        environ[CARRIER_KEY] = EXCLUDED
        return None
    version = get("SERVER_PROTOCOL", "")
    request = environ[CARRIER_KEY] = begin(
        method,
        scheme,
        path,
        get("QUERY_STRING", ""),
        host,
        int(port) if port.isdecimal() else 0,
        get("REMOTE_ADDR", ""),
        version.removeprefix("HTTP/"),
        get("HTTP_USER_AGENT", ""),
        _Headers(environ),
    )
    request.by_server = chosen.is_server
    if options.common().request_headers is not None:
        request.add_headers(headers.of_request(_all(environ)))
    if chosen.request_hook is not None:
        chosen.call(chosen.request_hook, request.span, environ)
    return request


def _decoded(path: str) -> str:
    """Return a path, which WSGI gives as bytes in Latin-1, as text."""
    if path.isascii():
        return path
    try:
        return path.encode("latin-1").decode("utf-8", "replace")
    except UnicodeEncodeError:
        return path


def _respond(
    request: ServerRequest,
    environ: Environ,
    status: str,
    response_headers: list[tuple[str, str]],
    exc_info: tuple[Any, ...],
    chosen: Options,
) -> None:
    code = status[:3]
    if exc_info and exc_info[0]:
        # The application answers with an error of its own.
        request.note_handled(exc_info[0][1])
    request.start_response(int(code) if code.isdecimal() else 0)
    if (propagator := get_global_response_propagator()) is not None:
        propagator.inject(response_headers, request.context, _append_header)
    if options.common().response_headers is not None:
        request.add_headers(headers.of_response(response_headers))
    if chosen.response_hook is not None:
        chosen.call(chosen.response_hook, request.span, environ, status, response_headers)


class _HeaderSetter:
    """Adds a header to those of a response."""

    def set(self, carrier: list[tuple[str, str]], key: str, value: str) -> None:
        carrier.append((key, value))


_append_header: Any = _HeaderSetter()
