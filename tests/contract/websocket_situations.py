"""The situations of websockets, see :mod:`tests.contract.situations`."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from tests.contract.evidence import Evidence

if TYPE_CHECKING:
    from tests.contract.client import Client

Steps = Generator[None, Evidence, None]


def websocket(client: Client) -> Steps:
    """A websocket is one span with the template, and the lines of its messages are in it."""
    call = client.converse("/ws/blue", "one", "two", "three")
    evidence = yield
    assert call.body == "onetwothree"
    check_websocket(evidence, call.number, "/ws/{room}")
    evidence.check_no_error(call)
    span = evidence.span(call)
    lines = [log for text in ("one", "two", "three") for log in evidence.lines(f"ws blue {text}")]
    assert [(log.trace_id, log.span_id) for log in lines] == [(span.trace_id, span.span_id)] * 3


def check_websocket(evidence: Evidence, number: int, template: str) -> None:
    """Check name and route of the span of a websocket."""
    span = evidence.span(evidence.ours.calls[number])
    route = span.attributes.get("http.route")
    assert route in evidence.pair.framework.routes(template)
    assert span.name == f"GET {route}" if route else span.name == "GET"


def websocket_refused(client: Client) -> Steps:
    """A websocket that is refused is no error."""
    call = client.converse("/ws-refused/blue")
    evidence = yield
    assert call.status == 403
    assert "blue" not in evidence.span(call).name
    evidence.check_no_error(call)


def websocket_closed_by_client(client: Client) -> Steps:
    """A websocket that the client closes at once is no error."""
    call = client.converse("/ws/short")
    evidence = yield
    check_websocket(evidence, call.number, "/ws/{room}")
    evidence.check_no_error(call)


def websocket_client_gone(client: Client) -> Steps:
    """A websocket whose connection breaks ends its span without an error."""
    call = client.converse("/ws/gone", "one", gone=True)
    evidence = yield
    check_websocket(evidence, call.number, "/ws/{room}")
    evidence.check_no_error(call)


def websocket_fails(client: Client) -> Steps:
    """A websocket that fails is an error, once."""
    call = client.converse("/ws-fails/blue", "one")
    evidence = yield
    check_websocket(evidence, call.number, "/ws-fails/{room}")
    evidence.check_error(call, "BrokenSocket")


WEBSOCKETS = (websocket, websocket_refused, websocket_closed_by_client, websocket_client_gone, websocket_fails)
