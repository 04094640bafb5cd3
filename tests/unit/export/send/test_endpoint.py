"""The endpoint of each signal is read from the environment as the OTLP specification says."""

from __future__ import annotations

import pytest

from otel_distro.export.send.endpoint import OtlpEndpoint, otlp_endpoint

OTLP = "OTEL_EXPORTER_OTLP_"


def test_endpoint_without_settings_is_the_local_collector() -> None:
    """Without settings: the Collector on this machine, protobuf, gzip, ten seconds."""
    found = otlp_endpoint("traces", {})
    assert (found.url, found.timeout, found.gzip) == ("http://localhost:4318/v1/traces", 10.0, True)
    assert (found.ca_file, found.certificate_file, found.key_file) == (None, None, None)
    assert found.headers["content-type"] == "application/x-protobuf"
    assert found.headers["user-agent"].startswith("otel-distro/")


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"ENDPOINT": "http://collector:4318"}, "http://collector:4318/v1/logs"),
        ({"ENDPOINT": "http://collector:4318/"}, "http://collector:4318/v1/logs"),
        ({"ENDPOINT": " https://collector/otlp/ "}, "https://collector/otlp/v1/logs"),
        ({"LOGS_ENDPOINT": "http://loki:3100/otlp/v1/logs"}, "http://loki:3100/otlp/v1/logs"),
        ({"LOGS_ENDPOINT": "http://loki:3100", "ENDPOINT": "http://collector"}, "http://loki:3100"),
        ({"TRACES_ENDPOINT": "http://tempo", "ENDPOINT": ""}, "http://localhost:4318/v1/logs"),
    ],
)
def test_endpoint_of_the_signal_takes_precedence_and_gets_no_path(environ: dict[str, str], url: str) -> None:
    """The general endpoint gets the path of the signal; the signal's own is used unchanged."""
    assert otlp_endpoint("logs", {OTLP + name: value for name, value in environ.items()}).url == url


def test_setting_of_the_signal_takes_precedence() -> None:
    """Headers, timeout, compression and files: the variable of the signal, then the general one."""
    environ = {
        "HEADERS": "x-key=general",
        "METRICS_HEADERS": "X-Key=a%20b, x-tenant = shop",
        "TIMEOUT": "3",
        "METRICS_TIMEOUT": "0.5",
        "COMPRESSION": "gzip",
        "METRICS_COMPRESSION": "NONE",
        "CERTIFICATE": "/ca",
        "CLIENT_CERTIFICATE": "/cert",
        "CLIENT_KEY": "/key",
        "METRICS_CLIENT_KEY": "/own-key",
    }
    found = otlp_endpoint("metrics", {OTLP + name: value for name, value in environ.items()})
    assert {key: found.headers[key] for key in ("x-key", "x-tenant")} == {"x-key": "a b", "x-tenant": "shop"}
    assert (found.timeout, found.gzip) == (0.5, False)
    assert (found.ca_file, found.certificate_file, found.key_file) == ("/ca", "/cert", "/own-key")


@pytest.mark.parametrize("value", ["soon", "0", "-1", "nan", "inf", "1e400"])
def test_invalid_timeout_gives_the_default(value: str) -> None:
    """A timeout that became invalid after the check of the environment gives ten seconds."""
    assert otlp_endpoint("traces", {"OTEL_EXPORTER_OTLP_TIMEOUT": value}).timeout == 10.0


def test_credentials_in_the_url_become_a_header() -> None:
    """User and password of the URL become a header and are in no message; a set header wins."""
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://us%40er:pa%3Ass@collector:4318/otlp"}
    found = otlp_endpoint("traces", environ)
    assert found.url == "https://collector:4318/otlp/v1/traces"
    assert found.headers["authorization"] == "Basic dXNAZXI6cGE6c3M="
    found = otlp_endpoint("traces", {**environ, "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer x"})
    assert found.headers["authorization"] == "Bearer x"


def test_endpoint_shows_no_secret_in_origin_or_repr() -> None:
    """Neither the origin, which messages contain, nor the representation has secrets."""
    shown = OtlpEndpoint("https://user:secret@collector:4318/v1/traces?key=secret", {"authorization": "secret"})
    assert shown.origin == "https://collector:4318"
    found = otlp_endpoint("traces", {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://user:secret@collector"})
    assert "secret" not in repr(found)
    assert "dXNlc" not in repr(found)


@pytest.mark.parametrize(
    ("url", "origin"),
    [("http://[::1]:4318/v1/traces", "http://[::1]:4318"), ("https://collector/x", "https://collector")],
)
def test_origin_is_scheme_host_and_port(url: str, origin: str) -> None:
    """The origin is scheme, host and, where it is given, port."""
    assert OtlpEndpoint(url).origin == origin
