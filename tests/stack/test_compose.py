"""What the compose file promises about safety, read from the file itself."""

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


def test_only_three_ports_are_published_and_only_on_loopback() -> None:
    """OTLP by gRPC and HTTP and Grafana are reachable from this machine, everything else only from inside."""
    assert {port for service in SERVICES.values() for port in service.get("ports", ())} == PUBLISHED
    assert not [name for name, service in SERVICES.items() if service.get("network_mode") == "host"]


def test_stores_have_no_way_out() -> None:
    """What needs no published port stands on a network without a way to the internet, and nowhere else."""
    assert compose()["networks"]["backend"]["internal"] is True
    for name, service in SERVICES.items():
        if not service.get("ports") and name != "volume-init":
            assert service["networks"] == ["backend"], name


@pytest.mark.parametrize("name", SERVICES)
def test_image_is_an_exact_version(name: str) -> None:
    """Every image is pinned to a version with three numbers; the Collector's minor is the one the tests build."""
    image, _, tag = SERVICES[name]["image"].partition(":")
    assert re.fullmatch(r"v?\d+\.\d+\.\d+", tag)
    if "collector" in image:
        assert f"version: {tag}\n" in (ROOT / "collector" / "builder.yaml").read_text()


@pytest.mark.parametrize("name", SERVICES)
def test_container_has_no_more_rights_than_it_needs(name: str) -> None:
    """No root (but for the one that makes a folder and ends), no capabilities, a read-only root, limits."""
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


def test_go_programs_know_their_memory_limit() -> None:
    """What may use half a gibibyte or more collects its garbage before the container's limit; Prometheus sees it by itself."""
    for name, service in SERVICES.items():
        limit = int(service["mem_limit"][:-1]) * {"m": 1, "g": 1024}[service["mem_limit"][-1]]
        if limit >= 512 and name != "prometheus":
            assert limit * 0.75 < int(service["environment"]["GOMEMLIMIT"].removesuffix("MiB")) < limit * 0.9, name


def test_every_part_is_asked_how_it_is() -> None:
    """Each long-running part has a health check of its own; the Collector, which cannot, has a neighbour that asks."""
    unasked = {name for name, service in SERVICES.items() if not service.get("healthcheck")}
    assert unasked == {"volume-init", "otel-collector"}
    assert "http://otel-collector:13133/" in SERVICES["otel-collector-health"]["healthcheck"]["test"]


def test_grafana_lets_nobody_in_without_the_generated_password() -> None:
    """The admin's password comes from a secret file, nothing sets it in clear, and there is no anonymous access."""
    env = SERVICES["grafana"]["environment"]
    assert env["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/run/secrets/grafana_admin_password"
    assert "GF_SECURITY_ADMIN_PASSWORD" not in env
    assert env["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert env["GF_USERS_ALLOW_SIGN_UP"] == "false"
    secret = compose()["secrets"]["grafana_admin_password"]["file"]
    assert secret.startswith("./secrets/")
    assert "secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_grafana_calls_nobody() -> None:
    """Nothing is reported, looked for or installed over the network."""
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


def test_mounts_exist() -> None:
    """Every file and folder that the compose file mounts from the tree is there, and is mounted read-only."""
    mounts = [v for service in SERVICES.values() for v in service.get("volumes", ()) if v.startswith("./")]
    assert len(mounts) >= 8
    for mount in mounts:
        source, _, mode = mount.split(":")
        assert (ROOT / source).exists(), source
        assert mode == "ro", mount


def test_wheel_carries_what_the_compose_files_mount() -> None:
    """Each file and folder is in the installed bundle; of the Collector's folder there are settings, not the generator."""
    installed = {str(file) for file in distribution("otel-distro").files or ()}
    bundle = {file.removeprefix("otel_distro/bundle/") for file in installed if file.startswith("otel_distro/bundle/")}
    overlay = yaml.safe_load((ROOT / "docker-compose.auditd.yml").read_text(encoding="utf-8"))["services"]
    for service in (*SERVICES.values(), *overlay.values()):
        for mount in service.get("volumes", ()):
            if mount.startswith("./"):
                path = mount.split(":")[0].removeprefix("./")
                assert any(file == path or file.startswith(f"{path}/") for file in bundle), path
    assert not [file for file in bundle if file.startswith("collector/") and not file.endswith(".yaml")]


def test_named_volumes_are_declared() -> None:
    """Every named volume is declared, and every declared one is used."""
    used = {v.split(":")[0] for service in SERVICES.values() for v in service.get("volumes", ()) if v[0] != "."}
    assert used == set(compose()["volumes"])


def test_listening_on_all_addresses_is_said_inside_containers_only() -> None:
    """`0.0.0.0` stands in the compose file as LISTEN_HOST inside a container and nowhere else, and in no other file."""
    assert all("LISTEN_HOST" in line for line in COMPOSE.read_text().splitlines() if "0.0.0.0" in line)
    for file in [*sorted((ROOT / "collector").glob("*.yaml")), *sorted((ROOT / "backends").rglob("*.yaml"))]:
        assert "0.0.0.0" not in file.read_text(), file
