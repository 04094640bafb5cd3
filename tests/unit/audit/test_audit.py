"""Audit events: fields, bad input, and the audit file, written before the call returns."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from opentelemetry import context, trace

from otel_distro import audit, schema
from otel_distro._otel import events
from otel_distro._otel.request_context import REQUEST_KEY
from otel_distro._otel.sdk import SeverityNumber
from otel_distro._runtime import diagnostics
from otel_distro.redaction import MASK, Redactor
from tests.support.audit_chain import KEY, verify

if TYPE_CHECKING:
    from pathlib import Path

    from otel_distro.testing import Telemetry


@pytest.fixture(autouse=True)
def reset_diagnostics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reset the rate limit of messages."""
    monkeypatch.setattr(diagnostics, "_last", {})


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The audit file of this test, in a folder that does not exist yet."""
    file = tmp_path / "log" / "audit.jsonl"
    monkeypatch.setenv("OTEL_DISTRO_AUDIT_FILE", str(file))
    return file


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the parsed lines of a file."""
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def states(telemetry: Telemetry) -> dict[str, float]:
    """Collect metrics and return the state of the chain."""
    found = telemetry.metric(schema.AUDIT_CHAIN_STATUS.name)
    return {point.attributes[schema.AUDIT_CHAIN_STATE.name]: point.value for point in found}


def test_event_has_severity_body_attributes_and_trace(telemetry: Telemetry) -> None:
    """The example of the documentation, and one step of the counter."""
    with trace.get_tracer("app").start_as_current_span("request") as span:
        audit.event("auth.login", outcome="failure", actor=7, target="admin-console", reason="bad password", tries=3)

    (found,) = telemetry.logs()
    record = found.log_record
    assert (record.event_name, record.severity_number, record.severity_text) == (
        "audit.auth.login",
        SeverityNumber.WARN,
        "WARN",
    )
    assert record.body == "auth.login failed (actor 7, target admin-console): bad password"
    assert record.attributes == {
        "audit.name": "auth.login",
        "audit.outcome": "failure",
        "audit.actor": "7",
        "audit.target": "admin-console",
        "audit.reason": "bad password",
        "audit.source": "application",
        "tries": 3,
    }
    assert record.trace_id == span.get_span_context().trace_id
    (point,) = telemetry.metric(schema.AUDIT_EVENTS.name)
    assert point.value == 1
    assert point.attributes == {
        "audit.name": "auth.login",
        "audit.outcome": "failure",
        "audit.source": "application",
    }


@pytest.mark.parametrize(("outcome", "severity"), [("success", 9), ("failure", 13), ("unknown", 9)])
def test_severity_follows_the_outcome(telemetry: Telemetry, outcome: Any, severity: int) -> None:
    """A failure is WARN, others are INFO; empty attributes are left out."""
    audit.event(
        "auth.login", outcome=outcome, source="http", attributes={"client.address": "192.0.2.1", "user.id": None}
    )

    (found,) = telemetry.logs()
    assert found.log_record.severity_number == SeverityNumber(severity)
    assert found.log_record.attributes == {
        "audit.name": "auth.login",
        "audit.outcome": outcome,
        "audit.source": "http",
        "client.address": "192.0.2.1",
    }


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("Auth.Login", "audit.auth.login"),
        ("log in!", "audit.log_in"),
        ("auth..login", "audit.auth.login"),
        ("auth.login.user-4711", "audit.unnamed"),
        ("auth.login.4711", "audit.unnamed"),
        ("user.deadbeefdeadbeef", "audit.unnamed"),
        ("", "audit.unnamed"),
        ("ключ", "audit.unnamed"),
        ("a" * 101, "audit.unnamed"),
        (4711, "audit.unnamed"),
    ],
)
def test_bad_name_is_repaired_and_reported_once(
    telemetry: Telemetry, capfd: pytest.CaptureFixture[str], given: Any, sent: str
) -> None:
    """The event has the nearest good name or ``unnamed``, and keeps the given one."""
    audit.event(given)
    audit.event(given)

    for found in telemetry.logs():
        assert found.log_record.event_name == sent
        assert (found.log_record.attributes or {})[schema.EVENT_ORIGINAL_NAME.name] == str(given)
    assert len(telemetry.logs()) == 2
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_names_beyond_the_limit_become_unnamed(
    telemetry: Telemetry, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names that are made of data end in one name and one message."""
    monkeypatch.setattr(events, "_names", set())
    words = ["".join(chr(97 + int(digit)) for digit in f"{number:03d}") for number in range(600)]
    for word in words:
        audit.event(f"user.{word}")

    names = {found.log_record.event_name for found in telemetry.logs()}
    assert len(names) == 501
    assert "audit.unnamed" in names
    assert len(capfd.readouterr().err.splitlines()) == 1


class Hostile:
    """Raises in every conversion."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __bool__ = __len__ = __str__


def test_hostile_values_are_recorded_as_text(
    telemetry: Telemetry, path: Path, capfd: pytest.CaptureFixture[str], swallowed: list[str]
) -> None:
    """Values that raise, a bad outcome and surrogates, exported and in the file."""
    bad: Any = Hostile()
    audit.event("a.b", outcome=bad, actor=bad, target="\ud800", reason=b"\xff", x=bad, y=[bad], z={bad: 1})
    audit.event("a.b", outcome="perhaps", attributes=bad)  # type: ignore[arg-type]

    first, second = (found.log_record.attributes or {} for found in telemetry.logs())
    assert (first["audit.outcome"], second["audit.outcome"]) == ("unknown", "unknown")
    assert first["audit.actor"] == first["x"] == "<unprintable>"
    assert swallowed
    swallowed.clear()
    assert "outcome '<unprintable>' is not one of" in capfd.readouterr().err
    assert [line["event_name"] for line in lines(path)][-1] == "audit.a.b"
    assert verify(path)[0] == 0


def test_line_is_redacted_and_readable_by_owner_only(
    telemetry: Telemetry, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file has the fields that Loki shows; secrets are redacted; the mode is 0600."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    old = os.umask(0)
    try:
        with trace.get_tracer("app").start_as_current_span("request") as span:
            audit.event("auth.login", actor="bob", reason="token=ghp_abcdefghijklmnopqrstuvwxyz0123456789", hash="x")
    finally:
        os.umask(old)

    start, line = lines(path)
    assert (start["chain"], start["cause"], start["algorithm"]) == ("start", "new", "sha256")
    assert "ghp_" not in path.read_text(encoding="utf-8")
    expected = {
        "sequence": 2,
        "previous": start["hash"],
        "severity_text": "INFO",
        "severity_number": 9,
        "event_name": "audit.auth.login",
        "service_name": "shop",
        "audit_name": "auth.login",
        "audit_actor": "bob",
        "hash_extracted": "x",
        "trace_id": f"{span.get_span_context().trace_id:032x}",
        "span_id": f"{span.get_span_context().span_id:016x}",
    }
    assert {key: line[key] for key in expected} == expected
    (found,) = telemetry.logs()
    attributes = found.log_record.attributes or {}
    assert (attributes["audit.chain.sequence"], attributes["audit.chain.hash"]) == (2, line["hash"])
    for name in ("audit.jsonl", "audit.jsonl.head"):
        assert stat.S_IMODE((path.parent / name).stat().st_mode) == 0o600


def test_line_of_large_event_is_truncated(path: Path) -> None:
    """The line of an event with large fields stays below the maximum length."""
    many: dict[str, Any] = {f"field_{number}": number for number in range(1000)}
    audit.event("a.b", reason="x" * 10_000_000, big=["y" * 1000] * 1000, **many)
    assert path.stat().st_size < 100_000
    assert verify(path)[0] == 0


def test_file_is_written_without_telemetry(path: Path) -> None:
    """In a process without telemetry the audit file is written too."""
    audit.event("a.b")
    assert [line["event_name"] for line in lines(path)] == ["audit.chain.start", "audit.a.b"]


def test_change_is_reported_once_and_state_stays_broken(telemetry: Telemetry, path: Path) -> None:
    """A line changed while the file is in use is found at collection, as one audit event."""
    audit.watch()
    for _ in range(10):
        audit.event("a.b")
    assert states(telemetry) == {"intact": 1, "broken": 0}

    data = path.read_bytes()
    path.write_bytes(data.replace(b'"audit_name":"a.b"', b'"audit_name":"a.c"', 1))
    assert states(telemetry) == {"intact": 0, "broken": 1}
    audit.event("a.b")
    assert states(telemetry) == {"intact": 0, "broken": 1}

    reports = [found.log_record for found in telemetry.logs() if found.log_record.event_name == "audit.chain.broken"]
    assert [record.severity_text for record in reports] == ["WARN"]
    assert "line 2 was changed" in str(reports[0].body)
    assert [line["event_name"] for line in lines(path)][-3:] == ["audit.chain.start", "audit.chain.broken", "audit.a.b"]
    status, said = verify(path)
    assert status == 1
    assert f"{path}:2: this line was changed" in said
    assert f"{path}:12: this line marks where the chain was found broken and restarted" in said
    assert "2 findings" in said


@pytest.mark.parametrize("damage", ["shorter", "head gone", "head changed", "longer"])
def test_damage_at_the_end_is_found_by_the_next_event(telemetry: Telemetry, path: Path, damage: str) -> None:
    """Missing or additional lines at the end, and a changed or missing head."""
    for _ in range(3):
        audit.event("a.b")
    head = path.with_name("audit.jsonl.head")
    if damage == "shorter":
        os.truncate(path, path.stat().st_size - 10)
    elif damage == "longer":
        path.write_bytes(path.read_bytes() + b"{}\n")
    elif damage == "head gone":
        head.unlink()
    else:
        head.write_bytes(head.read_bytes().replace(b"intact", b"intect"))
    audit.event("c.d")

    assert [found.log_record.event_name for found in telemetry.logs()][-2:] == ["audit.c.d", "audit.chain.broken"]
    assert lines(path)[-1]["event_name"] == "audit.chain.broken" if damage != "shorter" else True
    status, said = verify(path)
    assert status == 1
    assert "the chain was found broken" in said


def test_key_file_of_the_settings_seals_the_lines(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a key file the lines are sealed with the key, and need it for verification."""
    key = tmp_path / "key"
    key.write_bytes(KEY + b"\n")
    monkeypatch.setenv("OTEL_DISTRO_AUDIT_KEY_FILE", str(key))
    audit.event("a.b")
    assert lines(path)[0]["algorithm"] == "hmac-sha256"
    assert verify(path)[0] == 0
    monkeypatch.delenv("OTEL_DISTRO_AUDIT_KEY_FILE")
    status, said = verify(path)
    assert (status, "give it with --key-file" in said) == (2, True)
    assert verify("--key-file", key, path)[0] == 0
    named = ["opentelemetry-instrument", "--distro_audit_key", "correct horse", "python"]
    assert Redactor().argv(named) == [*named[:2], MASK, *named[3:]]


def test_unreadable_key_file_is_reported_once(
    path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One message; the audit file is written without a key."""
    monkeypatch.setenv("OTEL_DISTRO_AUDIT_KEY_FILE", "/nowhere/key")
    audit.event("a.b")
    audit.event("a.b")
    assert capfd.readouterr().err == (
        "otel-distro: OTEL_DISTRO_AUDIT_KEY_FILE=/nowhere/key: No such file or directory; the audit file is written "
        "without a key [OD623]\n"
    )
    assert lines(path)[0]["algorithm"] == "sha256"


@pytest.mark.parametrize("kind", ["link", "folder", "below a file"])
def test_unwritable_path_is_reported_and_events_are_sent(
    telemetry: Telemetry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    """One message; the target of a link is unchanged."""
    file, target = tmp_path / "audit.jsonl", tmp_path / "target"
    target.write_text("mine", encoding="utf-8")
    if kind == "link":
        file.symlink_to(target)
    elif kind == "folder":
        file.mkdir()
    else:
        file = target / "audit.jsonl"
    monkeypatch.setenv("OTEL_DISTRO_AUDIT_FILE", str(file))
    audit.event("a.b")
    audit.event("a.b")
    assert [found.log_record.event_name for found in telemetry.logs()] == ["audit.a.b"] * 2
    assert len(capfd.readouterr().err.splitlines()) == 1
    assert target.read_text(encoding="utf-8") == "mine"


class Request(NamedTuple):
    """As an instrumentation of requests stores it."""

    client_address: str
    route: str = ""
    span: trace.Span = trace.INVALID_SPAN


def event_in(request: object) -> None:
    """Record an event while ``request`` is answered."""
    token = context.attach(context.set_value(REQUEST_KEY, request))
    try:
        audit.event("order.cancel", actor=7)
    finally:
        context.detach(token)


def test_event_in_a_request_has_the_address_of_its_client(telemetry: Telemetry, path: Path) -> None:
    """In the record and in the audit file; outside of a request it has no address."""
    event_in(Request("192.0.2.7"))
    event_in(Request(""))
    audit.event("order.cancel", actor=7)
    found = [(each.log_record.attributes or {}).get("client.address") for each in telemetry.logs()]
    assert found == ["192.0.2.7", None, None]
    written = [line.get("client_address") for line in lines(path) if "chain" not in line]
    assert written == ["192.0.2.7", None, None]


def test_event_with_its_own_address_keeps_it(telemetry: Telemetry) -> None:
    """The application may know better, behind a proxy for example."""
    token = context.attach(context.set_value(REQUEST_KEY, Request("192.0.2.7")))
    try:
        audit.event("order.cancel", attributes={"client.address": "198.51.100.9"})
    finally:
        context.detach(token)
    assert (telemetry.logs()[0].log_record.attributes or {})["client.address"] == "198.51.100.9"


def test_event_in_a_broken_request_is_recorded(telemetry: Telemetry, swallowed: list[str]) -> None:
    """Without the address; the failure is reported."""
    event_in(object())
    assert telemetry.logs()[0].log_record.body == "order.cancel succeeded (actor 7)"
    assert swallowed[0].startswith("the client of an audit event: AttributeError")
    swallowed.clear()
