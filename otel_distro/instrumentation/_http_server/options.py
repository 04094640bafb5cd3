"""Settings of the instrumentation of one framework, by the names that upstream gave them."""

from __future__ import annotations

import os
import re
import weakref
from typing import TYPE_CHECKING, Any, ClassVar, Final

from otel_distro import settings
from otel_distro._runtime.diagnostics import report_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_SANITIZE: Final = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS"
_REQUEST: Final = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST"
_RESPONSE: Final = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE"
_ALL_METHODS: Final = "OTEL_PYTHON_INSTRUMENTATION_HTTP_CAPTURE_ALL_METHODS"
_OPT_IN: Final = "OTEL_SEMCONV_STABILITY_OPT_IN"
_MAX_URLS: Final = 1024


class Options:
    """Settings of one framework's instrumentor, from the environment or from ``instrument()``.

    ``request_hook`` and ``response_hook`` get the span first and then the arguments that upstream's
    instrumentor of the framework passes; the module of the framework calls them.

    Args:
        framework: Name as in ``OTEL_PYTHON_<NAME>_EXCLUDED_URLS``, in upper case.
        arguments: Arguments of ``instrument()``: ``excluded_urls`` (regular expressions, separated
            by commas; without it those of the environment), ``request_hook``, ``response_hook``; of
            ASGI ``server_request_hook``, ``client_request_hook``, ``client_response_hook``;
            ``http_capture_headers_server_request``, ``http_capture_headers_server_response``,
            ``http_capture_headers_sanitize_fields`` (lists of expressions).
        is_server: Whether a server makes requests for any application that it runs. A framework
            inside of it applies its own options, too.
    """

    def __init__(self, framework: str, arguments: Mapping[str, Any] | None = None, *, is_server: bool = False) -> None:
        self._framework = framework
        self.is_server: Final = is_server
        self._of_apps: weakref.WeakKeyDictionary[Any, Options] = weakref.WeakKeyDictionary()
        self._set(arguments or {})

    def set(self, arguments: Mapping[str, Any], app: Any = None) -> None:
        """Use other arguments from now on, for one application or for all without their own."""
        if app is None:
            self._set(arguments)
        else:
            self._of_apps[app] = Options(self._framework, arguments)

    def of(self, app: Any) -> Options:
        """Return the options of one application."""
        return self._of_apps.get(app, self) if self._of_apps else self

    def _set(self, given: Mapping[str, Any]) -> None:
        framework = self._framework
        excluded_urls = given.get("excluded_urls")
        if excluded_urls is None:
            general = os.environ.get("OTEL_PYTHON_EXCLUDED_URLS", "")
            excluded_urls = os.environ.get(f"OTEL_PYTHON_{framework}_EXCLUDED_URLS", general)
        patterns = _listed(excluded_urls)
        self._excluded = _compiled(patterns, 0)
        # Upstream's instrumentors of some frameworks search in the path alone.
        self._anchored = any("^" in pattern or r"\A" in pattern for pattern in patterns)
        self._known_urls: dict[tuple[str, str, str], bool] = {}
        hook = given.get("request_hook") or given.get("server_request_hook")
        self.request_hook: Callable[..., Any] | None = hook
        hook = given.get("response_hook") or given.get("client_response_hook")
        self.response_hook: Callable[..., Any] | None = hook
        self.receive_hook: Callable[..., Any] | None = given.get("client_request_hook")
        self.request_headers = _compiled(given.get("http_capture_headers_server_request") or (), re.IGNORECASE)
        self.response_headers = _compiled(given.get("http_capture_headers_server_response") or (), re.IGNORECASE)
        self.sanitized = _compiled(given.get("http_capture_headers_sanitize_fields") or (), re.IGNORECASE)
        traced = os.environ.get(f"OTEL_PYTHON_{framework}_TRACED_REQUEST_ATTRS", "")
        self.traced_request_attrs = tuple(_listed(traced))

    @property
    def changes_nested(self) -> bool:
        """Whether these settings matter for an application inside another one's request."""
        hooks = (self.request_hook, self.response_hook, self.receive_hook)
        return self._excluded is not None or any(hook is not None for hook in hooks)

    def excludes(self, scheme: str, host: str, path: str) -> bool:
        """Return whether requests of this URL are not recorded."""
        pattern = self._excluded
        if pattern is None:
            return False
        url = (scheme, host, path)
        known = self._known_urls.get(url)
        if known is None:
            if len(self._known_urls) >= _MAX_URLS:
                self._known_urls.clear()
            known = pattern.search(f"{scheme}://{host}{path}") is not None
            if not known and self._anchored:
                known = pattern.search(path) is not None
            self._known_urls[url] = known
        return known

    def call(self, hook: Callable[..., Any] | None, *arguments: Any) -> None:
        """Call a hook of the user; its failure is reported and costs nothing else."""
        if hook is not None:
            try:
                hook(*arguments)
            except Exception as error:
                report_failure("a hook for requests", error)


class _Common:
    """The environment's settings for every framework; read once."""

    read: ClassVar[_Common | None] = None

    def __init__(self) -> None:
        self.request_headers = _compiled(_listed(os.environ.get(_REQUEST, "")), re.IGNORECASE)
        self.response_headers = _compiled(_listed(os.environ.get(_RESPONSE, "")), re.IGNORECASE)
        self.sanitized = _compiled(_listed(os.environ.get(_SANITIZE, "")), re.IGNORECASE)
        self.all_methods = bool(os.environ.get(_ALL_METHODS))
        opted = {name.strip() for name in os.environ.get(_OPT_IN, "").split(",")}
        self.old_names = "http" not in opted
        self.new_names = "http" in opted or "http/dup" in opted
        if "http/dup" in opted:
            self.old_names = True
        self.trusts_proxy = settings.OTEL_DISTRO_AUDIT_TRUST_PROXY.get()
        self.trust = settings.OTEL_DISTRO_TRUST.get()


def common() -> _Common:
    """Return the settings that all frameworks share."""
    found = _Common.read
    if found is None:
        found = _Common.read = _Common()
    return found


def reload_settings() -> None:
    """Read the environment again at the next request."""
    _Common.read = None


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _compiled(patterns: Iterable[str], flags: int) -> re.Pattern[str] | None:
    """Return one expression for all; those that do not compile are left out.

    The check of the environment at the start has reported them.
    """
    good = []
    for pattern in patterns:
        try:
            re.compile(pattern, flags)
        except re.error:
            continue
        good.append(f"(?:{pattern})")
    return re.compile("|".join(good), flags) if good else None
