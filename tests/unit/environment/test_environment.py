"""A bad value in the environment gives one line and a fallback; the SDK then has no complaint."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.util.http import parse_excluded_urls

import otel_distro
from otel_distro import settings
from otel_distro.environment import DEFAULTS, prepare
from otel_distro.environment.rules import RULES
from tests.support.bad_values import BAD, BAD_TOGETHER, GARBAGE, HINTS, QUIET

ROOT = str(Path(otel_distro.__file__).parent.parent)


@pytest.mark.parametrize(("name", "value", "using"), BAD)
def test_bad_value_gives_one_line_and_a_fallback(name: str, value: str, using: str) -> None:
    """A bad value is replaced in place, with one line, and reported only once.

    The line names the variable and the value used.
    """
    environ = {name: value}
    lines = prepare(environ)
    assert len(lines) == 1
    assert lines[0].startswith(f"otel-distro: {name}=")
    assert lines[0].endswith(f"; using {using}")
    assert len(lines[0]) < 300
    assert environ.get(name) != value
    assert prepare(dict(environ)) == []


@pytest.mark.parametrize(("environ", "name", "using"), BAD_TOGETHER)
def test_contradicting_values_give_one_line(environ: dict[str, str], name: str, using: str) -> None:
    """For values that contradict each other, or a bad special value, the line names the result."""
    environ = dict(environ)
    lines = prepare(environ)
    assert len(lines) == 1
    assert lines[0].startswith(f"otel-distro: {name}=")
    assert lines[0].endswith(f"; using {using}")
    assert prepare(dict(environ)) == []


@pytest.mark.parametrize(("environ", "name", "word"), HINTS)
def test_hint_leaves_the_value_and_is_given_once(environ: dict[str, str], name: str, word: str) -> None:
    """A hint names the variable, keeps every value, and is not repeated in children."""
    prepared = dict(environ)
    lines = prepare(prepared)
    assert len(lines) == 1
    assert lines[0].startswith(f"otel-distro: {name}")
    assert word in lines[0]
    assert "secret" not in lines[0]
    assert {key: prepared[key] for key in environ} == environ
    child = {**prepared, "OTEL_SERVICE_NAME": "child"}
    assert prepare(child) == []


@pytest.mark.parametrize(("environ", "expected"), QUIET)
def test_good_values_give_no_line(environ: dict[str, str], expected: dict[str, str]) -> None:
    """Valid values give no line, also those that the SDK would reject unrepaired."""
    prepared = dict(environ)
    assert prepare(prepared) == []
    assert {key: prepared[key] for key in expected} == expected


def test_empty_value_counts_as_unset() -> None:
    """Every empty or blank variable counts as unset: the same environment, and no line."""
    bare: dict[str, str] = {}
    prepare(bare)
    empty = {name: "  " if index % 2 else "" for index, name in enumerate(RULES)}
    assert prepare(empty) == []
    del empty["_OTEL_DISTRO_CHECKED"]
    assert empty == bare == DEFAULTS


def test_good_value_of_the_user_stays() -> None:
    """A good value stays, general or for one signal; only unset variables get a default."""
    theirs = {
        "OTEL_TRACES_EXPORTER": "console",
        "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION": "none",
        "OTEL_METRIC_EXPORT_INTERVAL": "5000.5",
        "OTEL_SEMCONV_STABILITY_OPT_IN": "http/dup",
        "OTEL_PYTHON_EXCLUDED_URLS": "/admin,client/.*/info",
        "PATH": "/bin",
    }
    environ = dict(theirs)
    assert prepare(environ) == []
    del environ["_OTEL_DISTRO_CHECKED"]
    assert environ == {**DEFAULTS, **theirs}


def test_default_has_a_rule_and_passes_it() -> None:
    """Each default has a rule and passes its check."""
    assert DEFAULTS.keys() <= RULES.keys()
    for name, value in DEFAULTS.items():
        assert RULES[name].check(name, value, DEFAULTS) is None
    assert {setting.name for setting in settings.settings()} <= RULES.keys()


@pytest.mark.parametrize(
    ("url", "excluded"),
    [
        ("http://shop:8000/health", True),
        ("https://shop/healthz/", True),
        ("http://shop/ready?verbose=1", True),
        ("/metrics", True),
        ("/livez", True),
        ("http://shop/healthcare", False),
        ("http://shop/api/health", False),
        ("http://shop/?next=/health", False),
        ("http://health/orders", False),
        ("/", False),
    ],
)
def test_default_excluded_urls_match_only_health_routes(url: str, excluded: bool) -> None:
    """Upstream's matcher with the default excludes only health routes at the root of a server."""
    assert parse_excluded_urls(DEFAULTS["OTEL_PYTHON_EXCLUDED_URLS"]).url_disabled(url) is excluded


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_EXPORTER_OTLP_HEADERS": "api-key=s3cret,s3cret"},
        {"OTEL_EXPORTER_OTLP_TRACES_HEADERS": "s3cret"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:s3cret@collector:99999/x?key=s3cret"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "user:s3cret/x@collector:4318"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://u:s3cret@c:4318", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "x"},
        {"OTEL_EXPORTER_OTLP_HEADER": "api-key=s3cret"},
    ],
)
def test_line_about_bad_value_shows_no_secret(environ: dict[str, str]) -> None:
    """Headers, passwords, queries of URLs and misspelled variables do not appear in the lines."""
    lines = prepare(dict(environ))
    assert len(lines) == 1
    assert "s3cret" not in lines[0]


@pytest.mark.parametrize(
    ("name", "value", "package"),
    [
        ("OTEL_PROPAGATORS", "b3multi", "opentelemetry-propagator-b3"),
        ("OTEL_PROPAGATORS", "jaeger", "opentelemetry-propagator-jaeger"),
        ("OTEL_METRICS_EXPORTER", "prometheus", "opentelemetry-exporter-prometheus"),
        ("OTEL_TRACES_EXPORTER", "zipkin", "opentelemetry-exporter-zipkin"),
        ("OTEL_TRACES_EXPORTER", "jaeger", ""),
        ("OTEL_TRACES_EXPORTER", "prometheus", ""),
    ],
)
def test_missing_component_is_named_with_its_package(name: str, value: str, package: str) -> None:
    """The line names the package to install where one exists."""
    (line,) = prepare({name: value})
    assert f"has '{value}', which is not installed" in line
    assert re.findall(r"pip install ([\w-]+)", line) == ([package] if package else [])


def test_garbage_in_every_variable_raises_nothing() -> None:
    """Long, unprintable and undecodable values give short printable lines, and no error."""
    for value in GARBAGE:
        environ = dict.fromkeys([*RULES, "OTEL_" + "X" * 1000, "OTEL_PYTHON_X_EXCLUDED_URLS", "OTEL_"], value)
        lines = prepare(environ)
        assert len(lines) > 60
        for line in lines:
            assert len(line) < 400
            assert line.isprintable()
            assert "could not be checked" not in line
            assert "failed" not in line
        assert prepare(dict(environ)) == []


def test_child_of_repaired_environment_has_no_lines(tmp_path: Path) -> None:
    """A child with the repaired environment of its parent has no lines, not even hints."""
    script = (
        "import os, subprocess, sys; sys.path.insert(0, sys.argv[1])\n"
        "from otel_distro.environment import prepare\n"
        "print(len(prepare(os.environ)), flush=True)\n"
        "if sys.argv[2:]: subprocess.run([sys.executable, '-S', *sys.argv[2:]], check=True)"
    )
    environ = {
        "OTEL_BSP_MAX_QUEUE_SIZE": "abc",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317",
        "OTEL_SERVICE_NAME": os.fsdecode(b"caf\xe9"),
    }
    command = [sys.executable, "-S", "-c", script, ROOT, "-c", script, ROOT]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["3", "0"]


def test_grpc_without_its_package_falls_back_to_http(tmp_path: Path) -> None:
    """GRPC needs its library; without it one line names the package and HTTP is used."""
    script = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "from otel_distro.environment import prepare\n"
        "print(*prepare({'OTEL_EXPORTER_OTLP_PROTOCOL': 'grpc'}))"
    )
    package = tmp_path / "grpc" / "_cython"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    command = [sys.executable, "-S", "-E", "-c", script, ROOT]
    without = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "needs the package grpcio; using" in without.stdout
    assert without.stdout.strip().endswith("; using http/protobuf")
    installed = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60)
    assert installed.stdout.strip() == ""


@pytest.fixture
def grpc_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a package on the path under the name of gRPC's library."""
    (tmp_path / "grpc" / "_cython").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("grpc_installed")
def test_endpoint_over_grpc_has_its_own_rules() -> None:
    """Over gRPC an address needs no scheme, port 4317 is right, and 4318 gets a hint."""
    environ = {"OTEL_EXPORTER_OTLP_PROTOCOL": "GRPC", "OTEL_EXPORTER_OTLP_ENDPOINT": " collector:4317"}
    assert prepare(environ) == []
    assert environ["OTEL_EXPORTER_OTLP_PROTOCOL"] == "grpc"
    assert environ["OTEL_EXPORTER_OTLP_ENDPOINT"] == "collector:4317"
    (line,) = prepare({**environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"})
    assert "4317" in line
    (line,) = prepare({**environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:0"})
    assert line.endswith("; using http://localhost:4317")


@pytest.mark.usefixtures("grpc_installed")
def test_exporter_named_for_grpc_gets_its_protocol() -> None:
    """The default protocol does not contradict an exporter whose name implies gRPC."""
    environ = {"OTEL_TRACES_EXPORTER": "otlp_proto_grpc", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4317"}
    assert prepare(environ) == []
    assert environ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] == "grpc"
    assert environ["OTEL_EXPORTER_OTLP_PROTOCOL"] == "http/protobuf"


def test_readable_certificate_gives_no_line(tmp_path: Path) -> None:
    """A certificate that can be read gives no line."""
    file = tmp_path / "ca.pem"
    file.touch()
    assert prepare({"OTEL_EXPORTER_OTLP_CERTIFICATE": str(file)}) == []


def test_rules_cover_every_variable_of_opentelemetry() -> None:
    """Every variable that the installed OpenTelemetry packages declare has a rule."""
    from opentelemetry import environment_variables as api
    from opentelemetry.instrumentation import environment_variables as instrumentation
    from opentelemetry.sdk import environment_variables as sdk

    names = {
        value
        for module in (api, instrumentation, sdk)
        for key, value in vars(module).items()
        if re.fullmatch("_?OTEL_[A-Z0-9_]+", key) and isinstance(value, str)
    }
    assert len(names) > 80
    assert names <= RULES.keys()
    assert len(BAD) > 60


def test_repaired_environment_is_accepted_by_the_sdk() -> None:
    """The SDK builds from each repaired environment without an error or a warning.

    Unrepaired values are tried too, to prove that the SDK would fail.
    """
    environs = [{name: value} for name, value, _ in BAD] + [
        *(dict(row[0]) for row in BAD_TOGETHER),
        *(dict(row[0]) for row in HINTS),
        *(dict(row[0]) for row in QUIET),
    ]
    for environ in environs:
        prepare(environ)
    unrepaired = [
        {"OTEL_BSP_MAX_QUEUE_SIZE": "10"},
        {"OTEL_SPAN_EVENT_COUNT_LIMIT": "x"},
        {"OTEL_METRICS_EXEMPLAR_FILTER": "sometimes"},
        {"OTEL_METRIC_EXPORT_INTERVAL": "0"},
        {"OTEL_TRACES_EXPORTER": "otpl"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json", "OTEL_TRACES_EXPORTER": "otlp"},
        {"OTEL_PROPAGATORS": "w3c"},
        {"OTEL_PYTHON_TRACER_PROVIDER": "nosuch"},
        {"OTEL_PYTHON_EXCLUDED_URLS": "("},
    ]
    child = subprocess.run(
        [sys.executable, str(Path(__file__).parents[2] / "support" / "build_sdk.py")],
        input=json.dumps(environs + unrepaired),
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert child.returncode == 0, child.stderr
    complaints = json.loads(child.stdout)
    assert complaints[: len(environs)] == [[]] * len(environs)
    assert all(complaints[len(environs) :])
