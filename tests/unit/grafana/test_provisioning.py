"""The provisioning files agree with each other, with the dashboards, and with the stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from grafana.targets import SOURCES
from tests.support.grafana_names import FILES, GRAFANA, load

PROVISIONING = GRAFANA / "provisioning"


def read(name: str) -> dict[str, Any]:
    """Return a provisioning file."""
    content: dict[str, Any] = yaml.safe_load((PROVISIONING / name).read_text(encoding="utf-8"))
    return content


def data_sources() -> dict[str, dict[str, Any]]:
    """Return the provisioned data sources by uid."""
    return {source["uid"]: source for source in read("datasources/datasources.yaml")["datasources"]}


def references(value: Any) -> set[str]:
    """Return every uid of a data source anywhere in ``value``."""
    if isinstance(value, dict):
        own = {value["datasourceUid"]} if "datasourceUid" in value else set()
        return own.union(*(references(v) for v in value.values()))
    return set[str]().union(*(references(v) for v in value)) if isinstance(value, list) else set()


def test_data_sources_have_fixed_uids() -> None:
    """Four sources have the uids that links and dashboards use; Prometheus is the default."""
    expected = {
        "prometheus": "http://prometheus:9090",
        "loki": "http://loki:3100",
        "tempo": "http://tempo:3200",
        "alertmanager": "http://alertmanager:9093",
    }
    assert expected == {uid: source["url"] for uid, source in data_sources().items()}
    assert all(uid == source["type"] for uid, source in data_sources().items())
    assert [uid for uid, source in data_sources().items() if source.get("isDefault")] == ["prometheus"]


def test_link_between_sources_has_provisioned_uids() -> None:
    """Each uid that a source names is provisioned; Grafana does not report unknown ones."""
    named = references(list(data_sources().values()))
    assert {"prometheus", "loki", "tempo"} == named


def test_correlations_are_all_provisioned() -> None:
    """Metric to trace, log to trace, trace to log, trace to metric, service graph, node graph."""
    prometheus, loki, tempo = (data_sources()[uid]["jsonData"] for uid in ("prometheus", "loki", "tempo"))
    assert {"trace_id", "traceID"} == {d["name"] for d in prometheus["exemplarTraceIdDestinations"]}
    (derived,) = loki["derivedFields"]
    assert (
        derived["matcherType"],
        derived["matcherRegex"],
        derived["datasourceUid"],
    ) == ("label", "trace_id", "tempo")
    assert tempo["tracesToLogsV2"]["datasourceUid"] == "loki"
    assert tempo["tracesToMetrics"]["datasourceUid"] == tempo["serviceMap"]["datasourceUid"] == "prometheus"
    assert tempo["nodeGraph"]["enabled"]


def test_variables_of_links_are_escaped_for_provisioning() -> None:
    """Variables of links have two dollars: Grafana replaces $NAME by the environment."""
    for file in PROVISIONING.rglob("*.yaml"):
        assert "$" not in file.read_text(encoding="utf-8").replace("$$", ""), file


def test_dashboards_preselect_provisioned_sources() -> None:
    """The preselected sources of a dashboard are those of the bundle, with their names."""
    for file in FILES:
        chosen = {v["query"]: v["current"] for v in load(file)["templating"]["list"] if v["type"] == "datasource"}
        assert {kind: {"text": data_sources()[kind]["name"], "value": kind} for kind in SOURCES} == chosen


def test_dashboards_are_provisioned_read_only() -> None:
    """One folder, no saving from the page, and a removed file removes its dashboard."""
    (provider,) = read("dashboards/dashboards.yaml")["providers"]
    assert (provider["folder"], provider["type"]) == ("OTel Python", "file")
    assert (provider["allowUiUpdates"], provider["disableDeletion"]) == (False, False)
    assert provider["options"] == {"path": "/var/lib/grafana/dashboards"}


def test_dashboard_uids_and_titles_are_unique() -> None:
    """Uids and titles are unique: a duplicate makes Grafana refuse later changes silently."""
    boards = [load(file) for file in FILES]
    for key in ("uid", "title"):
        assert len(boards) == len({board[key] for board in boards})


def test_provisioning_folders_all_exist() -> None:
    """A missing folder is an error line at each start; each holds a file that Grafana accepts."""
    folders = {path.name for path in PROVISIONING.iterdir() if path.is_dir()}
    assert {"alerting", "dashboards", "datasources", "plugins"} == folders
    files: list[Path] = [path for path in PROVISIONING.rglob("*") if path.is_file()]
    assert folders == {path.parent.name for path in files}
    assert all(yaml.safe_load(path.read_text(encoding="utf-8"))["apiVersion"] == 1 for path in files)
