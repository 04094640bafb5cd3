"""Requests that HTTP servers answer.

Sources: https://opentelemetry.io/docs/specs/semconv/http/http-spans/ and
https://opentelemetry.io/docs/specs/semconv/http/http-metrics/
"""

from __future__ import annotations

from otel_distro.schema.attributes import (
    ERROR_TYPE,
    HTTP_REQUEST_METHOD,
    HTTP_RESPONSE_STATUS_CODE,
    HTTP_ROUTE,
)
from otel_distro.schema.kinds import Attribute, Metric

HTTP_REQUEST_METHOD_ORIGINAL = Attribute(
    "http.request.method_original", "Method as the client sent it, where it is no known one."
)
URL_SCHEME = Attribute("url.scheme", "Scheme of the URL.", ("http", "https", "ws", "wss"))
URL_QUERY = Attribute("url.query", "Query string of the URL.")
USER_AGENT_ORIGINAL = Attribute("user_agent.original", "Header User-Agent as the client sent it.")
USER_AGENT_SYNTHETIC_TYPE = Attribute("user_agent.synthetic.type", "Kind of a client that is no person.")
NETWORK_PROTOCOL_VERSION = Attribute("network.protocol.version", "Version of HTTP.")

HTTP_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)

HTTP_SERVER_DURATION = Metric(
    "http.server.request.duration",
    "histogram",
    "s",
    "Duration of HTTP server requests, until the response is closed.",
    (
        HTTP_REQUEST_METHOD,
        URL_SCHEME,
        HTTP_RESPONSE_STATUS_CODE,
        HTTP_ROUTE,
        NETWORK_PROTOCOL_VERSION,
        ERROR_TYPE,
    ),
    buckets=HTTP_BUCKETS,
)
HTTP_SERVER_ACTIVE = Metric(
    "http.server.active_requests",
    "updowncounter",
    "{request}",
    "HTTP requests being served.",
    (HTTP_REQUEST_METHOD, URL_SCHEME),
)
