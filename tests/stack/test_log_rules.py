"""Loki's alerts fire when they should and do not fire otherwise.

In the ring ``loki`` a real Loki evaluates them. On the store that is built here the test applies
the same expressions to the stored lines, so a rule for a label that no line has fails there, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from otel_distro import schema
from tests.stack.log_rules import ALERTS, evaluate
from tests.stack.rings import LOGS
from tests.support.otlp import Service
from tests.support.programs import Launcher

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stack.stack import Stack

GUESSER, FORGETFUL = "203.0.113.9", "198.51.100.4"


def firing(stack: Stack, alert: str, service: Service) -> list[dict[str, Any]]:
    """Return the labels with which an alert would fire now for a service."""
    if stack.logs.name != "loki":
        return evaluate(ALERTS[alert], stack.lines(service.name, seconds=300))
    answer = stack.loki.instant(ALERTS[alert])
    return [entry["metric"] for entry in answer if entry["metric"]["service_name"] == service.name]


def send_attempts(stack: Stack, service: Service, event: schema.Event, address: str, times: int, outcome: str) -> None:
    """Send audit events of a client."""
    attributes = {
        schema.AUDIT_NAME.name: event.name.removeprefix("audit."),
        schema.AUDIT_OUTCOME.name: outcome,
        schema.CLIENT_ADDRESS.name: address,
    }
    for _ in range(times):
        stack.send("logs", service.log(event.brief, event=event.name, attributes=attributes))


@LOGS
def test_log_rules_brute_force_fires_for_a_client_refused_often(stack: Stack) -> None:
    """A client refused more than 20 times fires by its address; mistakes or logins do not."""
    shop = Service()
    send_attempts(stack, shop, schema.AUDIT_HTTP_REFUSED, GUESSER, 11, "failure")
    send_attempts(stack, shop, schema.AUDIT_AUTH_LOGIN, GUESSER, 10, "failure")
    send_attempts(stack, shop, schema.AUDIT_AUTH_LOGIN, FORGETFUL, 3, "failure")
    send_attempts(stack, shop, schema.AUDIT_AUTH_LOGIN, FORGETFUL, 30, "success")
    fired = stack.wait_for(lambda: firing(stack, "BruteForce", shop))
    assert [labels["client_address"] for labels in fired] == [GUESSER]
    stack.wait_for_number(54, lambda: stack.lines(shop.name))
    assert firing(stack, "BruteForce", shop) == fired


@LOGS
def test_log_rules_sensitive_file_fires_with_its_path(stack: Stack) -> None:
    """A sensitive file that is opened fires with its path; other audit events do not."""
    shop, calm = Service(), Service()
    event, path = schema.AUDIT_FILE_SENSITIVE, {schema.FILE_PATH.name: "/etc/shadow"}
    stack.send("logs", calm.log("started", event=schema.AUDIT_PROCESS_START.name, attributes=path))
    stack.send("logs", shop.log("opened", event=event.name, attributes=path))
    fired = stack.wait_for(lambda: firing(stack, "SensitiveFile", shop))
    assert [labels["file_path"] for labels in fired] == ["/etc/shadow"]
    assert stack.wait_for(lambda: stack.lines(calm.name))
    assert not firing(stack, "SensitiveFile", calm)


@LOGS
def test_log_rules_sensitive_file_fires_for_a_real_program(stack: Stack, tmp_path: Path) -> None:
    """The audit hook in a program under `opentelemetry-instrument` fires the same alert."""
    opened = tmp_path / ".env"
    opened.write_text("A=1\n")
    shop = Service()
    program = f"open({str(opened)!r}).close(); open({str(tmp_path / 'state')!r} + '.txt', 'w').close()"
    launcher = Launcher(tmp_path, stack.otlp_http)
    ended = launcher.run("-c", program, OTEL_SERVICE_NAME=shop.name, OTEL_DISTRO_AUDIT_KINDS="files")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    fired = stack.wait_for(lambda: firing(stack, "SensitiveFile", shop))
    assert [labels["file_path"] for labels in fired] == [str(opened)]


@LOGS
def test_log_rules_fatal_log_fires_for_critical_lines_only(stack: Stack) -> None:
    """A critical line fires, an error does not."""
    shop, calm = Service(), Service()
    stack.send("logs", calm.log("out of stock", severity=17, text="ERROR"))
    stack.send("logs", shop.log("out of money", severity=21, text="CRITICAL"))
    assert stack.wait_for(lambda: firing(stack, "FatalLog", shop))
    assert stack.wait_for(lambda: stack.lines(calm.name))
    assert not firing(stack, "FatalLog", calm)


def test_log_rules_have_the_form_that_the_evaluation_parses() -> None:
    """Each alert can be evaluated and does not fire on no lines; another form is an error."""
    assert {"BruteForce", "SensitiveFile", "FatalLog"} <= ALERTS.keys()
    for rule in ALERTS.values():
        assert evaluate(rule, []) == []
        with pytest.raises(ValueError, match="form"):
            evaluate(rule.replace("sum by", "max by"), [])
