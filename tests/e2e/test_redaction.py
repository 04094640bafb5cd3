"""No secret of a careless program reaches the receiver or the disk; all other text is unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_distro import schema
from otel_distro.redaction import MASK
from tests.support.processes import BIN
from tests.support.redaction_corpus import CANARY, GITHUB, NEAR_MISSES, PLANTED
from tests.support.release import ANY_VALUES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.processes import Completed
    from tests.support.programs import Launcher
    from tests.support.receiver import Receiver

CHANNELS = (
    "cause",
    "exception",
    "set-cookie",
    "userinfo",
    "path",
    "query",
    "header",
    "cookie",
    "literal",
    "parameter",
    "argument",
    "baggage",
    "environment",
    "file",
)
"""The places where the libraries of the program handle a secret."""

REAL = {channel: f"{CANARY}{number:03}" for number, channel in enumerate(CHANNELS, 500)}
REAL["path"] = f"{GITHUB[:-4]}Path"
REAL["argument"] = f"api_key={REAL['argument']}"
ARGV = f"{CANARY}800"
RESOURCE = f"{CANARY}801"
HEADER = f"{CANARY}802"
SECRETS = {*(entry.secret for entry in PLANTED), *REAL.values(), ARGV, RESOURCE}


def run(launcher: Launcher, folder: Path, **changes: str) -> Completed:
    """Run the program with a secret in every place that it exposes."""
    entries = [(entry.key, entry.value) for entry in PLANTED] + [(entry.key, entry.value) for entry in NEAR_MISSES]
    file = folder / "entries"
    file.write_text(repr((entries, REAL)), encoding="utf-8")
    everything: dict[str, Any] = {
        f"OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_{side}_{part}": ".*"
        for side in ("SERVER", "CLIENT")
        for part in ("REQUEST", "RESPONSE")
    }
    return launcher.run(
        "secretive.py",
        file,
        *("--db-password", ARGV, "--author", "jane", "--port=80"),
        OTEL_RESOURCE_ATTRIBUTES=f"shop.token={RESOURCE},host.id=5105105105105100,team=core",
        OTEL_EXPORTER_OTLP_HEADERS=f"x-api-key={HEADER}",
        **everything | changes,
    )


def found(data: bytes) -> set[str]:
    """Return the secrets that are in ``data``."""
    return {secret for secret in SECRETS if secret.encode() in data}


def listed(value: Any) -> Any:
    """Return a value as it is received: OTLP has no tuples."""
    if isinstance(value, (list, tuple)):
        return [listed(element) for element in value]
    return {key: listed(element) for key, element in value.items()} if isinstance(value, dict) else value


def test_redaction_off_sends_every_secret(launcher: Launcher, receiver: Receiver, tmp_path: Path) -> None:
    """With OTEL_DISTRO_REDACT=off each secret arrives: the other test looks in the right places."""
    assert run(launcher, tmp_path, OTEL_DISTRO_REDACT="off").returncode == 0
    assert found(b"".join(receiver.bodies)) == SECRETS
    assert not receiver.points(schema.REDACTION_HIDDEN.name)


def test_redaction_masks_every_secret_and_no_near_miss(launcher: Launcher, receiver: Receiver, tmp_path: Path) -> None:
    """No secret is in the spool on disk or in a request; near misses are unchanged."""
    assert len(PLANTED) >= 40
    assert len(NEAR_MISSES) >= 40
    receiver.status = 503
    ended = run(launcher, tmp_path)
    assert ended.returncode == 0, ended.stderr
    on_disk = b"".join(file.read_bytes() for file in (tmp_path / "state").rglob("*") if file.is_file())
    assert NEAR_MISSES[0].value.encode() in on_disk
    assert found(on_disk) == set()
    assert HEADER.encode() not in on_disk
    assert not receiver.bodies

    receiver.status = 200
    drained = launcher.run(str(BIN / "otel-distro"), "drain", command="bare")
    assert drained.returncode == 0, drained.stdout + drained.stderr
    assert found(b"".join(receiver.bodies)) == set()
    check_near_misses(receiver)
    check_surroundings(receiver)


def check_near_misses(receiver: Receiver) -> None:
    """Check that near misses of secrets arrived unchanged in every signal."""
    spans = {span.attributes["number"]: span for span in receiver.spans() if "number" in span.attributes}
    logs = {log.attributes["number"]: log for log in receiver.logs() if "number" in log.attributes}
    bodies = {log.body["number"]: log.body for log in receiver.logs() if isinstance(log.body, dict)}
    points = {point.attributes["number"]: point for point in receiver.points("careless")}
    for number, entry in enumerate(NEAR_MISSES, len(PLANTED)):
        key, value = entry.key or "text", listed(entry.value)
        span, log, body = spans[number], logs[number], bodies[number]
        assert log.attributes.get(key) == value
        assert body["outer"] == [{key: value}]
        if isinstance(value, str):
            assert span.attributes[key] == span.events[0].attributes[key] == value
            assert points[number].attributes[key] == value
            if not entry.key:
                assert span.name == span.events[0].name == log.body == value
    assert len(spans) == len(logs) == len(bodies) == len(PLANTED) + len(NEAR_MISSES)
    # Before 1.45 the SDK raises for lists and mappings as attributes of a measurement, which is lost.
    values: list[Any] = [*(entry.value for entry in PLANTED), *(entry.value for entry in NEAR_MISSES)]
    assert len(points) == sum(ANY_VALUES or type(value) not in (list, dict) for value in values)


def check_surroundings(receiver: Receiver) -> None:
    """Check that the text around the secrets is still readable."""
    (client,) = [span for span in receiver.spans() if span.kind == 3 and "url.full" in span.attributes]
    (server,) = [span for span in receiver.spans() if span.kind == 2]
    assert client.attributes["url.full"].endswith(f"/pay/{MASK}?page=2&api_key={MASK}")
    assert server.attributes["url.query"] == f"page=2&api_key={MASK}"
    assert server.attributes["http.request.header.x_api_key"] == [MASK]
    assert server.attributes["http.request.header.x_author"] == ["Jane Doe"]
    statements = [span.attributes["db.query.text"] for span in receiver.spans() if "db.query.text" in span.attributes]
    assert "SELECT ?, ? AS seven" in statements
    (uncaught,) = [log for log in receiver.logs() if log.attributes.get("exception.type") == "ConnectionError"]
    assert uncaught.attributes["exception.message"] == f"mysql://{MASK}@db/shop"
    assert "in fail\n" in uncaught.attributes["exception.stacktrace"]
    (root,) = receiver.spans("all")
    assert root.attributes["process.command_args"][-4:] == [MASK, "--author", "jane", "--port=80"]
    assert (server.resource["shop.token"], server.resource["team"]) == (MASK, "core")
    assert server.resource["host.id"] == "5105105105105100"
    hidden = {kind for point in receiver.points(schema.REDACTION_HIDDEN.name) for kind in point.attributes.values()}
    assert {"key", "card", "jwt", "sql", "argument", "userinfo", "token"} <= hidden
