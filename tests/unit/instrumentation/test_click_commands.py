"""Commands of click in process: their spans, and what leaves none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner
from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_instrumentation

from otel_distro._startup import commands
from otel_distro.instrumentation import click_commands
from otel_distro.instrumentation.click_commands import ClickInstrumentor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_distro.testing import Telemetry


@pytest.fixture(autouse=True)
def instrumented(telemetry: Telemetry) -> Iterator[None]:
    """Instrument click for the time of a test."""
    instrumentor = ClickInstrumentor()
    instrumentor.instrument()
    yield
    instrumentor.uninstrument()


@click.group(chain=True, invoke_without_command=True)
def group() -> None:
    """Group of commands, or a command of its own."""


@group.command()
def leaf() -> None:
    """Show the current span."""
    click.echo(trace.get_current_span().get_span_context().span_id)


def names(telemetry: Telemetry) -> list[str]:
    """Return the names of the spans."""
    return [span.name for span in telemetry.spans()]


def test_uninstrumented_click_is_the_original() -> None:
    """``uninstrument()`` restores the method."""
    replaced = click.Command.invoke
    ClickInstrumentor().uninstrument()
    assert click.Command.invoke is replaced.__wrapped__  # type: ignore[attr-defined]
    ClickInstrumentor().instrument()


def test_group_without_subcommand_is_a_command(telemetry: Telemetry) -> None:
    """A group that runs itself has a span."""
    CliRunner().invoke(group, [], prog_name="tool")
    assert names(telemetry) == ["tool"]


def test_chained_commands_have_a_span_each(telemetry: Telemetry) -> None:
    """The group that calls them has none."""
    CliRunner().invoke(group, ["leaf", "leaf"], prog_name="tool")
    assert names(telemetry) == ["leaf", "leaf"]


def test_command_inside_of_a_span_belongs_to_its_trace(telemetry: Telemetry) -> None:
    """The work of the command is in the outer span, beside the command."""
    with trace.get_tracer("test").start_as_current_span("outer") as outer:
        result = CliRunner().invoke(leaf)
    command = telemetry.spans()[0]
    assert command.parent is not None
    assert int(result.output) == command.parent.span_id == outer.get_span_context().span_id


def test_suppressed_command_has_no_span(telemetry: Telemetry) -> None:
    """``suppress_instrumentation()`` applies."""
    with suppress_instrumentation():
        CliRunner().invoke(leaf)
    assert names(telemetry) == []


def test_command_of_a_known_server_has_no_span(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other commands of its package have one."""
    monkeypatch.setitem(commands.SERVERS, __name__.partition(".")[0], ("serve",))
    CliRunner().invoke(click.command("serve")(lambda: None))
    CliRunner().invoke(click.command("routes")(lambda: None))
    assert names(telemetry) == ["routes"]


def test_command_that_served_http_has_no_span(telemetry: Telemetry) -> None:
    """Where requests were measured, the command's duration is the life of a server."""

    @click.command()
    def serve() -> None:
        meter = telemetry.providers[1].get_meter("test")
        meter.create_histogram("http.server.request.duration").record(0.1, {})

    CliRunner().invoke(serve)
    assert names(telemetry) == []


def test_bug_of_the_instrumentor_does_not_reach_the_command(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch, swallowed: list[str]
) -> None:
    """The command runs, without a span."""
    monkeypatch.setattr(click_commands, "_exit_code", lambda _: 1 / 0)
    assert CliRunner().invoke(leaf).output == "0\n"
    assert names(telemetry) == []
    assert swallowed == ["recording a command: ZeroDivisionError: division by zero"]
    swallowed.clear()
