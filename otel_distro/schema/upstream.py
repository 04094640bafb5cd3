"""Metrics of OpenTelemetry's instrumentors that dashboards read."""

from __future__ import annotations

from otel_distro.schema.attributes import (
    DB_NAMESPACE,
    DB_OPERATION_NAME,
    DB_SYSTEM_NAME,
    ERROR_TYPE,
    HTTP_REQUEST_METHOD,
    HTTP_RESPONSE_STATUS_CODE,
    SERVER_ADDRESS,
    SERVER_PORT,
)
from otel_distro.schema.http import HTTP_BUCKETS
from otel_distro.schema.kinds import Metric

HTTP_CLIENT_DURATION = Metric(
    "http.client.request.duration",
    "histogram",
    "s",
    "Duration of HTTP client requests.",
    (HTTP_REQUEST_METHOD, HTTP_RESPONSE_STATUS_CODE, SERVER_ADDRESS, SERVER_PORT, ERROR_TYPE),
    buckets=HTTP_BUCKETS,
    upstream=True,
)
DB_CLIENT_DURATION = Metric(
    "db.client.operation.duration",
    "histogram",
    "s",
    "Duration of database operations.",
    (DB_SYSTEM_NAME, DB_NAMESPACE, DB_OPERATION_NAME, SERVER_ADDRESS, ERROR_TYPE),
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10),
    upstream=True,
)
