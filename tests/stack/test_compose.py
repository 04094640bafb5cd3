"""The security properties of the compose file, read from the file itself."""

from __future__ import annotations

import re
from importlib.metadata import distribution
from typing import Any

import pytest
import yaml

from tests.stack.build import ROOT
from tests.stack.programs import COMPOSE, compose

SERVICES: dict[str, dict[str, Any]] = compose()["services"]
PUBLISHED = {"127.0.0.1:4317:4317", "127.0.0.1:4318:4318", "127.0.0.1:3000:3000"}


def test_compose_publishes_three_ports_on_loopback_only() -> None:
    """OTLP by gRPC and HTTP and Grafana are reachable from this machine, nothing else."""
    assert {port for service in SERVICES.values() for port in service.get("ports", ())} == PUBLISHED
    assert not [name for name, service in SERVICES.items() if service.get("network_mode") == "host"]


def test_compose_stores_have_no_route_to_the_internet() -> None:
    """Services without a published port are only on the internal network."""
    assert compose()["networks"]["backend"]["internal"] is True
    for name, service in SERVICES.items():
        if not service.get("ports") and name != "volume-init":
            assert service["networks"] == ["backend"], name


@pytest.mark.parametrize("name", SERVICES)
def test_compose_image_is_pinned_to_an_exact_version(name: str) -> None:
    """Every tag has three numbers; the Collector's version is the one that the tests build."""
    image, _, tag = SERVICES[name]["image"].partition(":")
    assert re.fullmatch(r"v?\d+\.\d+\.\d+", tag)
    if "collector" in image:
        assert f"version: {tag}\n" in (ROOT / "collector" / "builder.yaml").read_text()


@pytest.mark.parametrize("name", SERVICES)
def test_compose_container_has_minimal_privileges(name: str) -> None:
    """No root, no capabilities, a read-only root file system, limits.

    The exception is the container that creates a folder and ends.
    """
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert not any("docker.sock" in volume for volume in service.get("volumes", ()))
    if name == "volume-init":
        assert service["cap_add"] == ["CHOWN"]
        assert service["network_mode"] == "none"
    else:
        assert not service["user"].startswith("0:")
        assert "cap_add" not in service


def test_compose_go_programs_have_a_soft_memory_limit() -> None:
    """Containers with half a gibibyte or more set GOMEMLIMIT below their limit.

    Prometheus reads the container's limit itself.
    """
    for name, service in SERVICES.items():
        limit = int(service["mem_limit"][:-1]) * {"m": 1, "g": 1024}[service["mem_limit"][-1]]
        if limit >= 512 and name != "prometheus":
            assert limit * 0.75 < int(service["environment"]["GOMEMLIMIT"].removesuffix("MiB")) < limit * 0.9, name


def test_compose_every_service_has_a_health_check() -> None:
    """Each long-running service has a health check; a second container checks the Collector."""
    unasked = {name for name, service in SERVICES.items() if not service.get("healthcheck")}
    assert unasked == {"volume-init", "otel-collector"}
    assert "http://otel-collector:13133/" in SERVICES["otel-collector-health"]["healthcheck"]["test"]


def test_compose_grafana_requires_the_generated_password() -> None:
    """The admin's password comes from a secret file, and there is no anonymous access."""
    env = SERVICES["grafana"]["environment"]
    assert env["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/run/secrets/grafana_admin_password"
    assert "GF_SECURITY_ADMIN_PASSWORD" not in env
    assert env["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert env["GF_USERS_ALLOW_SIGN_UP"] == "false"
    secret = compose()["secrets"]["grafana_admin_password"]["file"]
    assert secret.startswith("./secrets/")
    assert "secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_compose_grafana_makes_no_outgoing_requests() -> None:
    """Reports, update checks and plugin installation are off."""
    env = SERVICES["grafana"]["environment"]
    for name in (
        "GF_ANALYTICS_REPORTING_ENABLED",
        "GF_ANALYTICS_CHECK_FOR_UPDATES",
        "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES",
        "GF_NEWS_NEWS_FEED_ENABLED",
        "GF_SNAPSHOTS_EXTERNAL_ENABLED",
        "GF_PLUGINS_PREINSTALL_AUTO_UPDATE",
    ):
        assert env[name] == "false", name
    assert env["GF_PLUGINS_PREINSTALL_DISABLED"] == "true"
    home = env["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (ROOT / "grafana" / "dashboards" / home.removeprefix("/var/lib/grafana/dashboards/")).is_file()


def test_compose_mounts_exist_and_are_read_only() -> None:
    """Every file and folder mounted from the tree exists and is mounted read-only."""
    mounts = [v for service in SERVICES.values() for v in service.get("volumes", ()) if v.startswith("./")]
    assert len(mounts) >= 8
    for mount in mounts:
        source, _, mode = mount.split(":")
        assert (ROOT / source).exists(), source
        assert mode == "ro", mount


def test_wheel_contains_the_mounts_of_the_compose_files() -> None:
    """The installed bundle has each mount; of the Collector's folder only YAML files."""
    installed = {str(file) for file in distribution("otel-distro").files or ()}
    bundle = {file.removeprefix("otel_distro/bundle/") for file in installed if file.startswith("otel_distro/bundle/")}
    overlay = yaml.safe_load((ROOT / "docker-compose.auditd.yml").read_text(encoding="utf-8"))["services"]
    for service in (*SERVICES.values(), *overlay.values()):
        for mount in service.get("volumes", ()):
            if mount.startswith("./"):
                path = mount.split(":")[0].removeprefix("./")
                assert any(file == path or file.startswith(f"{path}/") for file in bundle), path
    assert not [file for file in bundle if file.startswith("collector/") and not file.endswith(".yaml")]


def test_compose_named_volumes_are_declared_and_used() -> None:
    """Every named volume is declared, and every declared one is used."""
    used = {v.split(":")[0] for service in SERVICES.values() for v in service.get("volumes", ()) if v[0] != "."}
    assert used == set(compose()["volumes"])


def test_compose_listens_on_all_addresses_in_containers_only() -> None:
    """`0.0.0.0` appears only as LISTEN_HOST of a container in the compose file."""
    assert all("LISTEN_HOST" in line for line in COMPOSE.read_text().splitlines() if "0.0.0.0" in line)
    for file in [*sorted((ROOT / "collector").glob("*.yaml")), *sorted((ROOT / "backends").rglob("*.yaml"))]:
        assert "0.0.0.0" not in file.read_text(), file
