"""The settings of requests, tried on a WSGI application: trust, URLs, headers, names, hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace

from otel_distro.instrumentation._http_server import options, wsgi
from otel_distro.instrumentation._http_server.carrier import CARRIER_KEY
from otel_distro.instrumentation._http_server.options import Options
from tests.unit.instrumentation._http_server.test_wsgi import DURATION, environment, fine, serve, start_response

if TYPE_CHECKING:
    from otel_distro.testing import Telemetry

CLIENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("trust", "client", "continues"),
    [
        ("all", "192.0.2.7", True),
        ("private", "8.8.8.8", False),
        ("private", "10.0.0.5", True),
        ("private", "::1", True),
        ("private", "::ffff:10.0.0.5", True),
        ("private", "fe80::1%eth0", True),
        ("private", "", True),
        ("private", "nonsense", False),
        ("none", "127.0.0.1", False),
    ],
)
def test_trace_of_a_client_is_continued_or_linked(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch, trust: str, client: str, continues: bool
) -> None:
    """A client that is not trusted gets a link, and its baggage is not in the context."""
    monkeypatch.setenv("OTEL_DISTRO_TRUST", trust)
    options.reload_settings()
    baggages: list[Any] = []

    def app(environ: Any, start: Any) -> Any:
        from opentelemetry import baggage

        baggages.append(baggage.get_baggage("who"))
        return fine(environ, start)

    serve(app, environment(REMOTE_ADDR=client, HTTP_TRACEPARENT=CLIENT, HTTP_BAGGAGE="who=me"))
    (span,) = telemetry.spans()
    parent = span.parent.span_id if span.parent is not None else 0
    linked = [link.context.span_id for link in span.links]
    theirs = 0xB7AD6B7169203331
    expected: tuple[Any, ...] = (theirs, [], ["me"]) if continues else (0, [theirs], [None])
    assert (parent, linked, baggages) == expected


def test_broken_trace_header_is_ignored(telemetry: Telemetry) -> None:
    """A request with it is a root."""
    serve(fine, environment(HTTP_TRACEPARENT="00-zz-1-01", HTTP_BAGGAGE="\xff=%%%;=,;"))
    (span,) = telemetry.spans()
    assert span.parent is None


def test_excluded_urls_leave_no_span_also_inside(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    """The framework's variable replaces the general one; patterns match the URL or the path."""
    monkeypatch.setenv("OTEL_PYTHON_EXCLUDED_URLS", "health")
    monkeypatch.setenv("OTEL_PYTHON_MADE_EXCLUDED_URLS", "^/live$,shop.example:8080/r[a-z]+dy$,(")
    for where in ("/live", "/ready", "/alive", "/health"):
        chosen = Options("MADE")
        inner = wsgi.wrap_application(fine, chosen)
        list(wsgi.wrap_application(inner, chosen)(environment(where), start_response))
    assert [(span.attributes or {})["url.path"] for span in telemetry.spans()] == ["/alive", "/health"]


def test_headers_are_captured_by_name_and_sanitized(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are expressions in any case; a sanitized header shows that it was there."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST", "X-.*,content-type")
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE", "x-made")
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS", "secret")
    options.reload_settings()
    serve(fine, environment(HTTP_X_ONE="1", HTTP_X_SECRET="s", HTTP_OTHER="o", CONTENT_TYPE="a/b"))
    (span,) = telemetry.spans()
    found = {key: value for key, value in (span.attributes or {}).items() if ".header." in key}
    assert found == {
        "http.request.header.x_one": ("1",),
        "http.request.header.x_secret": ("[REDACTED]",),
        "http.request.header.content_type": ("a/b",),
        "http.response.header.x_made": ("y",),
    }


@pytest.mark.parametrize(("opted", "new", "old"), [("http", 1, 0), ("http/dup", 1, 1), ("", 0, 1)])
def test_semantic_conventions_are_those_that_the_user_opted_for(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch, opted: str, new: int, old: int
) -> None:
    """``http/dup`` gives both names of each attribute and both measurements."""
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", opted)
    options.reload_settings()
    serve(fine, environment(QUERY_STRING="a=1"))
    (span,) = telemetry.spans()
    found = span.attributes or {}
    assert ("http.request.method" in found, "http.method" in found) == (bool(new), bool(old))
    assert (found.get("http.target"), found.get("http.status_code")) == (
        ("/orders/7?a=1", 200) if old else (None, None)
    )
    assert (len(telemetry.metric(DURATION)), len(telemetry.metric("http.server.duration"))) == (new, old)


def test_failing_hooks_cost_the_request_nothing(telemetry: Telemetry, swallowed: list[str]) -> None:
    """They are reported, and the client gets its answer."""

    def fail(*arguments: Any) -> None:
        raise ValueError("of a hook")

    chosen = Options("MADE", {"request_hook": fail, "response_hook": fail})
    assert wsgi.wrap_application(fine, chosen)(environment(), start_response) == [b"fine"]
    assert len(telemetry.spans()) == 1
    assert swallowed == ["a hook for requests: ValueError: of a hook"] * 2
    swallowed.clear()


def test_name_that_the_application_gave_stays(telemetry: Telemetry) -> None:
    """The route becomes an attribute all the same."""

    def app(environ: Any, start: Any) -> Any:
        trace.get_current_span().update_name("checkout")
        environ[CARRIER_KEY].set_route("/orders/{id}")
        return fine(environ, start)

    serve(app, environment())
    (span,) = telemetry.spans()
    assert (span.name, (span.attributes or {})["http.route"]) == ("checkout", "/orders/{id}")


def test_client_behind_a_trusted_proxy_is_the_one_that_it_names(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the address that the proxy has appended counts."""
    monkeypatch.setenv("OTEL_DISTRO_AUDIT_TRUST_PROXY", "true")
    options.reload_settings()
    serve(fine, environment(REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR="1.1.1.1, 203.0.113.9"))
    serve(fine, environment(REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR="nonsense"))
    assert [(span.attributes or {})["client.address"] for span in telemetry.spans()] == ["203.0.113.9", "10.0.0.1"]
