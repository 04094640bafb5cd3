"""Audit events: what they carry, that they never raise, and that every one is in the audit file before the call returns."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace

from otel_distro import audit, schema
from otel_distro._otel import events
from otel_distro._otel.sdk import SeverityNumber
from otel_distro._runtime import diagnostics
from otel_distro.redaction import MASK, Redactor
from tests.support.audit_chain import KEY, verify

if TYPE_CHECKING:
    from pathlib import Path

    from otel_distro.testing import Telemetry


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another test had said is said again."""
    monkeypatch.setattr(diagnostics, "_last", {})


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The audit file of this test, in a folder that is not there yet."""
    file = tmp_path / "log" / "audit.jsonl"
    monkeypatch.setenv("OTEL_DISTRO_AUDIT_FILE", str(file))
    return file


def lines(path: Path) -> list[dict[str, Any]]:
    """Return what the lines of a file say."""
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def states(telemetry: Telemetry) -> dict[str, float]:
    """Collect, and return the state of the chain."""
    found = telemetry.metric(schema.AUDIT_CHAIN_STATUS.name)
    return {point.attributes[schema.AUDIT_CHAIN_STATE.name]: point.value for point in found}


def test_event_says_who_did_what_to_what(telemetry: Telemetry) -> None:
    """The example of the documentation: name, severity, sentence, attributes, trace, and one step of the counter."""
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
    """A failure is WARN, all else is INFO; ``attributes`` take names with dots, what is empty is left out."""
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
def test_bad_name_costs_one_line(
    telemetry: Telemetry, capfd: pytest.CaptureFixture[str], given: Any, sent: str
) -> None:
    """The event is sent under the nearest good name or none, keeps what it was given, and one line says so."""
    audit.event(given)
    audit.event(given)

    for found in telemetry.logs():
        assert found.log_record.event_name == sent
        assert (found.log_record.attributes or {})[schema.EVENT_ORIGINAL_NAME.name] == str(given)
    assert len(telemetry.logs()) == 2
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_names_without_end_become_one(
    telemetry: Telemetry, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is made of data, as many as come, ends in one name and one line."""
    monkeypatch.setattr(events, "_names", set())
    words = ["".join(chr(97 + int(digit)) for digit in f"{number:03d}") for number in range(600)]
    for word in words:
        audit.event(f"user.{word}")

    names = {found.log_record.event_name for found in telemetry.logs()}
    assert len(names) == 501
    assert "audit.unnamed" in names
    assert len(capfd.readouterr().err.splitlines()) == 1


class Hostile:
    """Raises wherever it is looked at."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __bool__ = __len__ = __str__


def test_it_never_raises(
    telemetry: Telemetry, path: Path, capfd: pytest.CaptureFixture[str], swallowed: list[str]
) -> None:
    """Hostile values, a bad outcome and surrogates come out as text, here and in the file."""
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


def test_line_is_redacted_and_private(telemetry: Telemetry, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file has what Loki gets, under its names; secrets are hidden; only the owner can read it."""
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


def test_line_is_bounded(path: Path) -> None:
    """However much an event is given, its line stays one that can be read."""
    many: dict[str, Any] = {f"field_{number}": number for number in range(1000)}
    audit.event("a.b", reason="x" * 10_000_000, big=["y" * 1000] * 1000, **many)
    assert path.stat().st_size < 100_000
    assert verify(path)[0] == 0


def test_file_is_written_without_telemetry(path: Path) -> None:
    """Where no telemetry runs in the process, the audit file is written all the same."""
    audit.event("a.b")
    assert [line["event_name"] for line in lines(path)] == ["audit.chain.start", "audit.a.b"]


def test_change_is_told_once_and_stays_visible(telemetry: Telemetry, path: Path) -> None:
    """A line that is changed while the file is in use: found by reading on, one audit event, the state stays broken."""
    audit.watch()
    for _ in range(10):
        audit.event("a.b")
    assert states(telemetry) == {"intact": 1, "broken": 0}

    data = path.read_bytes()
    path.write_bytes(data.replace(b'"audit_name":"a.b"', b'"audit_name":"a.c"', 1))
    assert states(telemetry) == {"intact": 0, "broken": 1}
    audit.event("a.b")
    assert states(telemetry) == {"intact": 0, "broken": 1}

    told = [found.log_record for found in telemetry.logs() if found.log_record.event_name == "audit.chain.broken"]
    assert [record.severity_text for record in told] == ["WARN"]
    assert "line 2 was changed" in str(told[0].body)
    assert [line["event_name"] for line in lines(path)][-3:] == ["audit.chain.start", "audit.chain.broken", "audit.a.b"]
    status, said = verify(path)
    assert status == 1
    assert f"{path}:2: this line was changed" in said
    assert f"{path}:12: this line is where the chain was found broken and was begun anew" in said
    assert "2 findings" in said


@pytest.mark.parametrize("damage", ["shorter", "head gone", "head changed", "longer"])
def test_next_event_finds_what_is_wrong_at_the_end(telemetry: Telemetry, path: Path, damage: str) -> None:
    """Lines that are missing at the end, a foreign line there and a head that is another one are found by the next event."""
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


def test_key_of_the_settings(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a key in a file the lines are sealed with it, and only who has it can verify them."""
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


def test_key_file_that_is_none(path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """A key that cannot be read costs one line; the file is written without one."""
    monkeypatch.setenv("OTEL_DISTRO_AUDIT_KEY_FILE", "/nowhere/key")
    audit.event("a.b")
    audit.event("a.b")
    assert capfd.readouterr().err == (
        "otel-distro: OTEL_DISTRO_AUDIT_KEY_FILE=/nowhere/key: No such file or directory; the audit file is written "
        "without a key\n"
    )
    assert lines(path)[0]["algorithm"] == "sha256"


@pytest.mark.parametrize("kind", ["link", "folder", "below a file"])
def test_path_that_cannot_be_written(
    telemetry: Telemetry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    """One line says so, what a link points to is not touched, and the events are sent."""
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
