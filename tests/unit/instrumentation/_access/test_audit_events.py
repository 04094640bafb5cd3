"""Client addresses and rate limits of the audit events for refused requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from otel_distro import schema
from otel_distro.instrumentation._access.audit_events import AccessAudit

if TYPE_CHECKING:
    from otel_distro.testing import Telemetry


@pytest.mark.parametrize(
    ("address", "forwarded", "trusted", "client"),
    [
        ("192.0.2.7", ["203.0.113.9"], False, "192.0.2.7"),
        ("192.0.2.7", ["203.0.113.9"], True, "203.0.113.9"),
        ("192.0.2.7", ["6.6.6.6, 203.0.113.9:4711"], True, "203.0.113.9"),
        ("192.0.2.7", ["6.6.6.6", "[2001:db8::5]:80"], True, "2001:db8::5"),
        ("192.0.2.7", ["6.6.6.6, <script>"], True, "192.0.2.7"),
        ("192.0.2.7", ["x" * 10**6], True, "192.0.2.7"),
        ("192.0.2.7", [], True, "192.0.2.7"),
        ("::ffff:192.0.2.7", [], False, "192.0.2.7"),
        ("", [], False, ""),
        (None, [], False, ""),
        ("a\nb" + "c" * 99, [], False, "a\N{REPLACEMENT CHARACTER}b" + "c" * 60 + "…"),
    ],
)
def test_client_address_is_the_peer_or_the_last_forwarded(
    monkeypatch: pytest.MonkeyPatch, address: object, forwarded: list[str], trusted: bool, client: str
) -> None:
    """The peer address; behind a trusted proxy the last address of ``X-Forwarded-For``."""
    monkeypatch.setenv("OTEL_DISTRO_AUDIT_TRUST_PROXY", str(trusted).lower())
    assert AccessAudit().client(address, forwarded) == client


def test_events_of_one_client_are_rate_limited(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    """One client cannot fill the log or hide another; suppressed events are counted."""
    monkeypatch.setenv("OTEL_DISTRO_AUDIT_RATE_LIMIT", "3")
    access = AccessAudit()
    for client in ["192.0.2.7"] * 10 + ["192.0.2.8"]:
        access.refused(401, method="BREW", path="/" + "p" * 10**6, route="", client=client)
    found: list[dict[str, Any]] = [dict(log.log_record.attributes or {}) for log in telemetry.logs()]
    assert [each["client.address"] for each in found] == ["192.0.2.7"] * 3 + ["192.0.2.8"]
    assert (len(found[0]["url.path"]), found[0]["http.request.method"]) == (256, "_OTHER")
    (point,) = telemetry.metric(schema.AUDIT_EVENTS_RATE_LIMITED.name)
    assert (point.value, dict(point.attributes)) == (7, {"audit.name": "http.refused"})
